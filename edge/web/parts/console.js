// @ts-check
// What the consoles of staff share: their styles, which players never load, and keys that walk through rows.

import { loadStyle } from "./dom.js";

const EDITABLE = "input, textarea, select, dialog, [contenteditable]";

/** Load the styles of consoles, once. */
export const consoleStyle = () => loadStyle("console.css");

/**
 * Let `j` and `k` move the focus through the elements with `data-row`, and Enter open the one that has it: its first link or
 * button. Returns what ends that.
 * @param {HTMLElement} container
 */
export function rowKeys(container) {
  const listen = (/** @type {KeyboardEvent} */ event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest(EDITABLE)) return;
    if (event.key === "Enter" && target.matches("[data-row]")) {
      /** @type {HTMLElement | null} */ (target.querySelector("a, button"))?.click();
      event.preventDefault();
    }
    if (event.key !== "j" && event.key !== "k") return;
    const rows = /** @type {HTMLElement[]} */ ([...container.querySelectorAll("[data-row]")]).filter((row) => row.offsetParent);
    const current = rows.findIndex((row) => row.contains(document.activeElement));
    rows[event.key === "j" ? current + 1 : Math.max(0, current - 1)]?.focus();
    event.preventDefault();
  };
  addEventListener("keydown", listen);
  return () => removeEventListener("keydown", listen);
}
