// @ts-check
// Options that the player puts in order: by buttons, or by Alt and an arrow key on an option.

import { button, create } from "./dom.js";
import { t } from "./text.js";

/**
 * @param {any} question
 * @param {string[] | undefined} order the options of the player's order; undefined before there is one
 * @param {(options: string[]) => void} onOrder
 * @param {(text: string) => void} announce
 * @returns {import("./answer-form.js").Form}
 */
export function orderingForm(question, order, onOrder, announce) {
  const list = create("ol", { className: "ordering", "aria-labelledby": "question", "aria-describedby": "answer-hint" });
  const keep = button(t.keepOrder, () => answer(), { className: "second" });
  const kept = create("p", { className: "hint" }, t.orderKept);
  const items = (order ?? question.options.map((/** @type {any} */ option) => option.id)).map(itemOf);

  function answer() {
    show(true);
    onOrder(items.map((/** @type {HTMLElement} */ item) => item.dataset.option ?? ""));
  }

  /** Put the items in their order, with what can be done with each. @param {boolean} isAnswered */
  function show(isAnswered) {
    list.replaceChildren(...items);
    for (const [index, item] of items.entries()) {
      const [up, down] = item.querySelectorAll("button");
      up.ariaDisabled = String(index === 0);
      down.ariaDisabled = String(index === items.length - 1);
    }
    keep.hidden = isAnswered;
    kept.hidden = !isAnswered;
  }

  /** @param {HTMLElement} item @param {number} by */
  function move(item, by) {
    const from = items.indexOf(item);
    const to = from + by;
    if (to < 0 || to >= items.length) return;
    const focused = document.activeElement;
    items.splice(from, 1);
    items.splice(to, 0, item);
    answer();
    if (focused instanceof HTMLElement && item.contains(focused)) focused.focus(); // which moving has taken away
    announce(t.moved(textOf(item.dataset.option ?? ""), to + 1, items.length));
  }

  /** @param {string} id @returns {string} */
  function textOf(id) {
    return question.options.find((/** @type {any} */ option) => option.id === id)?.text ?? id;
  }

  /** @param {string} id */
  function itemOf(id) {
    const text = textOf(id);
    const mover = (/** @type {number} */ by, /** @type {string} */ label, /** @type {string} */ className) =>
      create("button", { type: "button", className: `quiet mover ${className}`, "aria-label": label, onclick: () => move(item, by) });
    const item = create("li", { dataset: { option: id }, onkeydown: onKey }, create("bdi", {}, text), mover(-1, t.moveUp(text), "up"), mover(1, t.moveDown(text), "down"));
    /** @param {KeyboardEvent} event */
    function onKey(event) {
      const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!event.altKey || !by) return;
      event.preventDefault();
      move(item, by);
    }
    return item;
  }

  show(order !== undefined);
  return {
    element: create("div", { className: "options" }, create("p", { className: "hint", id: "answer-hint" }, t.orderRule, create("span", { className: "keys" }, ` ${t.orderKeys}`)), list, create("div", { className: "order-foot" }, keep, kept)),
  };
}
