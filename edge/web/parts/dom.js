// @ts-check

/**
 * Create an element: `create("p", { className: "x" }, "text", child)`. Text is never parsed as markup; names with a dash,
 * and `role`, become attributes.
 * @param {string} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {any}
 */
export function create(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else /** @type {any} */ (element)[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/**
 * A button. It is disabled while the promise of its action is pending, so that a second press does nothing.
 * @param {string} text
 * @param {(event: Event) => unknown} action
 * @param {Record<string, any>} [properties]
 */
export function button(text, action, properties = {}) {
  const element = create("button", { type: "button", ...properties }, text);
  element.addEventListener("click", (/** @type {Event} */ event) => whileBusy(element, () => action(event)));
  return element;
}

/**
 * Disable a button while an action is pending. It loses the focus by that, and gets it back if it was pressed by keyboard and
 * nothing else has taken it.
 * @param {HTMLButtonElement} element
 * @param {() => unknown} action
 */
export async function whileBusy(element, action) {
  if (element.disabled) return;
  const byKeyboard = element.matches(":focus-visible");
  element.disabled = true;
  try {
    await action();
  } finally {
    element.disabled = false;
    if (byKeyboard && [null, document.body].includes(/** @type {HTMLElement | null} */ (document.activeElement))) element.focus({ preventScroll: true });
  }
}

/**
 * A link within the page.
 * @param {string} href
 * @param {string | Node} content
 * @param {Record<string, any>} [properties]
 */
export const link = (href, content, properties = {}) => create("a", { href, ...properties }, content);

/** Load a file of styles that not every screen needs, once. @param {string} name @returns {Promise<unknown>} */
export function loadStyle(name) {
  const href = new URL(`../${name}`, import.meta.url).href;
  const links = /** @type {HTMLLinkElement[]} */ ([...document.querySelectorAll("link[rel=stylesheet]")]);
  if (links.some((each) => each.href === href)) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const element = create("link", { rel: "stylesheet", href });
    element.addEventListener("load", resolve);
    element.addEventListener("error", reject);
    document.head.append(element);
  });
}
