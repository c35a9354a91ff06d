// @ts-check
// Keys that act wherever the focus is, but for those that a field, a button or a link has a use for.

/**
 * Call `press` for keys until the returned function is called.
 * @param {RegExp} keys which keys, as `KeyboardEvent.key` names them
 * @param {(key: string) => void} press
 * @returns {() => void}
 */
export function onKeys(keys, press) {
  const listen = (/** @type {KeyboardEvent} */ event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const target = /** @type {Element} */ (event.target);
    if (target.closest("dialog, a, button, select, .field") || !keys.test(event.key)) return;
    event.preventDefault();
    press(event.key);
  };
  addEventListener("keydown", listen);
  return () => removeEventListener("keydown", listen);
}
