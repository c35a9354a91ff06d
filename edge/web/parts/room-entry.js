// @ts-check
// The way into a room: a field for its PIN.

import { create } from "./dom.js";
import { t } from "./text.js";

const PIN = /^\d{6,7}$/;

/** @param {import("../app.js").App} app */
export function roomEntry(app) {
  const fault = create("p", { id: "pin-fault", className: "fault", role: "alert" });
  const pin = create("input", { id: "pin", inputMode: "numeric", autocomplete: "off", maxLength: 9, placeholder: "000 000", "aria-describedby": "pin-fault" });
  const field = create("div", { className: "field" }, create("label", { htmlFor: "pin" }, t.room.entry), pin, fault);
  const form = create("form", { className: "card room-entry", noValidate: true }, field, create("button", { type: "submit", className: "second" }, t.room.enter));
  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    const digits = pin.value.replace(/[\s-]/g, "");
    fault.textContent = PIN.test(digits) ? "" : t.room.pinFault;
    pin.setAttribute("aria-invalid", String(fault.textContent !== ""));
    if (fault.textContent) pin.focus();
    else app.router.go(`/j/${digits}`);
  });
  return form;
}
