// @ts-check
// Going on with another device, for guests, who cannot sign in there: one device shows a code, the other one takes the seat by it.

import { create, whileBusy } from "../dom.js";
import { explain, t } from "../text.js";

const HALF = 4;

/** What asks for a code and shows it. @param {import("../../app.js").App} app @param {string} pin */
export function otherDevice(app, pin) {
  const shown = create("p", { role: "status" });
  const button = create("button", { type: "button", className: "second" }, t.room.showCode);
  const show = async () => {
    try {
      const { code } = await app.rooms.seatCode(pin);
      shown.replaceChildren(t.room.codeIs, " ", create("strong", {}, `${code.slice(0, HALF)} ${code.slice(HALF)}`));
    } catch (error) {
      shown.textContent = explain(error);
    }
  };
  button.addEventListener("click", () => whileBusy(button, show));
  return create("details", {}, create("summary", {}, t.room.otherDevice), create("p", { className: "hint" }, t.room.codeUse), create("div", { className: "row" }, button), shown);
}

/**
 * What takes a code. `take` says why it was not taken, or nothing.
 * @param {(code: string) => Promise<string>} take
 */
export function codeForm(take) {
  const fault = create("p", { id: "code-fault", className: "fault", role: "alert" });
  const code = create("input", { id: "seat-code", autocomplete: "off", autocapitalize: "characters", spellcheck: false, maxLength: 32, "aria-describedby": "code-fault code-rule" });
  const submit = create("button", { type: "submit", className: "second" }, t.room.takeSeat);
  const form = create("form", { className: "sign-in", noValidate: true }, create("div", { className: "field" }, create("label", { htmlFor: "seat-code" }, t.room.code), code, create("small", { id: "code-rule" }, t.room.codeRule)), fault, create("div", { className: "row" }, submit));
  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    whileBusy(submit, async () => {
      const problem = await take(code.value.trim());
      fault.textContent = problem;
      code.setAttribute("aria-invalid", String(Boolean(problem)));
      if (problem) code.focus();
    });
  });
  return create("details", {}, create("summary", {}, t.room.withCode), form);
}
