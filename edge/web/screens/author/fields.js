// @ts-check
// Fields of the editor. Each knows the place in the document that it is about, where its faults are shown.

import { create } from "../../parts/dom.js";
import { t } from "../../parts/text.js";

let last = 0;

/**
 * A labelled field.
 * @param {string} label
 * @param {HTMLElement} input
 * @param {{ place?: string, rule?: string, className?: string, hidesLabel?: boolean }} [options]
 */
export function field(label, input, { place = "", rule = "", className = "", hidesLabel = false } = {}) {
  input.id ||= `field-${++last}`;
  input.setAttribute("aria-describedby", `${input.id}-fault${rule ? ` ${input.id}-rule` : ""}`);
  return create(
    "div",
    { className: `field ${className}`, dataset: { place } },
    create("label", { htmlFor: input.id, className: hidesLabel ? "visually-hidden" : "" }, label),
    input,
    rule && create("small", { id: `${input.id}-rule` }, rule),
    create("p", { id: `${input.id}-fault`, className: "fault" }),
  );
}

/** Anything else that a place has. @param {string} place @param {...Node} content */
export const group = (place, ...content) => create("div", { className: "field", dataset: { place } }, ...content, create("p", { className: "fault" }));

/** @param {string} value @param {(value: string) => void} onInput @param {Record<string, any>} [properties] */
export const textInput = (value, onInput, properties = {}) =>
  create("input", { value: value ?? "", autocomplete: "off", oninput: (/** @type {any} */ event) => onInput(event.target.value), ...properties });

/** A text of several lines, as high as it needs. @param {string} value @param {(value: string) => void} onInput @param {Record<string, any>} [properties] */
export const textArea = (value, onInput, properties = {}) =>
  create("textarea", { value: value ?? "", rows: 2, oninput: (/** @type {any} */ event) => onInput(event.target.value), ...properties });

/** @param {[string, string][]} options values and their names @param {string} value @param {(value: string) => void} onChange @param {Record<string, any>} [properties] */
export function select(options, value, onChange, properties = {}) {
  const element = create("select", { onchange: () => onChange(element.value), ...properties }, ...options.map(([each, name]) => create("option", { value: each }, name)));
  element.value = value;
  return element;
}

/** @param {string} label @param {boolean} checked @param {(checked: boolean) => void} onChange @param {Record<string, any>} [properties] */
export function checkbox(label, checked, onChange, properties = {}) {
  const input = create("input", { type: "checkbox", checked, onchange: () => onChange(input.checked), ...properties });
  return create("label", { className: "check" }, input, label);
}

/**
 * A row of a list with buttons that move and delete it; Alt and an arrow key move it as well.
 * @param {object} options
 * @param {string} options.name what the row is, for its buttons
 * @param {Node[]} options.content
 * @param {((by: number) => void) | null} [options.onMove]
 * @param {(() => void) | null} options.onRemove null if it must stay
 * @param {string} [options.place]
 * @param {string} [options.key] what the focus is on after a move
 */
export function listRow({ name, content, onMove = null, onRemove, place = "", key = "" }) {
  const mover = (/** @type {number} */ by, /** @type {string} */ label, /** @type {string} */ direction) =>
    create("button", { type: "button", className: `quiet mover ${direction}`, "aria-label": label, dataset: { key: `${key}-${direction}` }, onclick: () => onMove?.(by) });
  const remove = create("button", {
    type: "button",
    className: "quiet remove",
    "aria-label": t.author.remove(name),
    "aria-disabled": String(!onRemove),
    onclick: () => onRemove?.(),
  });
  const row = create(
    "li",
    { className: "list-row", dataset: { place } },
    ...content,
    create("span", { className: "row-buttons" }, onMove && mover(-1, t.moveUp(name), "up"), onMove && mover(1, t.moveDown(name), "down"), remove),
  );
  if (onMove) {
    row.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!event.altKey || !by) return;
      event.preventDefault();
      onMove(by);
    });
  }
  return row;
}
