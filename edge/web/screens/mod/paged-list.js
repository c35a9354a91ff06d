// @ts-check
// A list of rows, a page at a time. The row that has the focus is in the address, so that reload and Back keep the place.

import { button, create } from "../../parts/dom.js";
import { t } from "../../parts/text.js";

// How many pages are read to find the row of the address again.
const MAX_PAGES = 10;

/**
 * @typedef {{ edges: { node: any }[], pageInfo: { hasNextPage: boolean, endCursor: string | null } }} Page
 */

export class PagedList {
  /**
   * @param {object} options
   * @param {(after: string | null) => Promise<Page>} options.read
   * @param {(node: any) => [string, ...(Node | string | false | null)[]]} options.row the key of a row, and its content
   * @param {string} options.empty what is shown in place of no rows
   */
  constructor({ read, row, empty }) {
    this.read = read;
    this.row = row;
    /** @type {string | null} */
    this.cursor = null;
    this.opened = 0;
    this.list = create("ul", { className: "row-list" });
    this.empty = create("p", { className: "hint", hidden: true }, empty);
    this.more = button(t.more, () => this.#next(), { className: "quiet small", hidden: true });
    this.element = create("section", { className: "card" }, this.empty, this.list, this.more);
    this.list.addEventListener("focusin", (/** @type {FocusEvent} */ event) => {
      const row = /** @type {HTMLElement} */ (event.target).closest("li");
      if (row?.dataset.row) keepPlace(row.dataset.row);
    });
  }

  /** Read the first page, and on to the row of the address. Throws an ApiError. */
  async open() {
    this.cursor = null;
    const opened = ++this.opened;
    const at = placeOf();
    const first = await this.read(null);
    if (opened !== this.opened) return; // opened again in the meantime
    this.list.replaceChildren();
    this.#append(first);
    for (let pages = 1; at && !this.#find(at) && !this.more.hidden && pages < MAX_PAGES; pages += 1) await this.#next();
  }

  /** Move the focus to the row of the address, if there is one. */
  focus() {
    this.#find(placeOf())?.focus();
  }

  focusFirst() {
    /** @type {HTMLElement | null} */ (this.list.firstElementChild)?.focus();
  }

  /** Put the rows on top that the list does not have yet; return how many those are. Throws an ApiError. */
  async refresh() {
    const { edges } = await this.read(null);
    const fresh = edges.map(({ node }) => this.#element(node)).filter((row) => !this.#find(row.dataset.row ?? ""));
    for (const row of fresh) row.classList.add("changed");
    this.list.prepend(...fresh);
    this.#tidy();
    return fresh.length;
  }

  async #next() {
    const { opened } = this;
    const page = await this.read(this.cursor);
    if (opened === this.opened) this.#append(page);
  }

  /** @param {Page} page */
  #append({ edges, pageInfo }) {
    this.list.append(...edges.map(({ node }) => this.#element(node)));
    this.cursor = pageInfo.endCursor;
    this.more.hidden = !pageInfo.hasNextPage;
    this.#tidy();
  }

  #tidy() {
    this.empty.hidden = this.list.childElementCount > 0;
  }

  /** @param {any} node @returns {HTMLElement} */
  #element(node) {
    const [key, ...cells] = this.row(node);
    return create("li", { tabIndex: -1, dataset: { row: key } }, ...cells);
  }

  /** @param {string} key @returns {HTMLElement | undefined} */
  #find(key) {
    return /** @type {HTMLElement[]} */ ([...this.list.children]).find((row) => row.dataset.row === key);
  }
}

const placeOf = () => new URLSearchParams(location.search).get("at") ?? "";

/** @param {string} key */
function keepPlace(key) {
  const query = new URLSearchParams(location.search);
  query.set("at", key);
  history.replaceState(history.state, "", `?${query}`);
}
