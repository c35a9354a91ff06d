// @ts-check
// Addresses: every state of the page has one, so that reload, Back and a link lead to it.

/**
 * @typedef {Record<string, string> & { query?: never }} Params
 * @typedef {(params: any, query: URLSearchParams) => void | (() => void) | Promise<void | (() => void)>} Screen a screen
 *   fills the page and returns what to do when it is left
 */

export class Router {
  /**
   * @param {[RegExp, Screen][]} routes patterns of the whole path, with named groups
   * @param {Screen} otherwise
   */
  constructor(routes, otherwise) {
    this.routes = routes;
    this.otherwise = otherwise;
    this.visit = 0;
    /** @type {void | (() => void)} */
    this.leave = undefined;
    addEventListener("popstate", () => this.show());
    addEventListener("click", (event) => this.#follow(event));
  }

  /** Go to an address of the page. @param {string} path @param {{ replace?: boolean }} [options] */
  go(path, { replace = false } = {}) {
    history[replace ? "replaceState" : "pushState"](null, "", path);
    return this.show();
  }

  /** Show the screen of the current address. */
  async show() {
    const visit = ++this.visit;
    this.leave?.();
    this.leave = undefined;
    const [screen, params] = this.#match();
    const leave = await screen(params, new URLSearchParams(location.search));
    if (visit === this.visit) this.leave = leave;
    else leave?.(); // the player went on while it was being made
  }

  /** @returns {[Screen, object]} */
  #match() {
    for (const [pattern, screen] of this.routes) {
      const match = pattern.exec(location.pathname);
      if (!match) continue;
      try {
        const groups = Object.entries(match.groups ?? {}).map(([name, value]) => [name, decodeURIComponent(value ?? "")]);
        return [screen, Object.fromEntries(groups)];
      } catch {
        break; // a `%` that encodes nothing
      }
    }
    return [this.otherwise, {}];
  }

  /** @param {MouseEvent} event */
  #follow(event) {
    const anchor = /** @type {Element} */ (event.target).closest?.("a[href^='/']");
    if (!anchor || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    this.go(anchor.getAttribute("href") ?? "/");
  }
}
