// @ts-check
// The dialog of an act: it shows what is before and after, and asks for what the act needs, as a rule a reason.

import { ApiError } from "../../client/index.js";
import { create, whileBusy } from "../../parts/dom.js";
import { explain, t } from "../../parts/text.js";

/**
 * @typedef {Record<string, string>} Values what stands in the fields, by name
 * @typedef {{ label: string, before: string, after: (values: Values) => string }} Change
 * @typedef {{ eventId?: string | null, changes: [string, string, string][], notes?: string[], undo?: Act | null }} Outcome
 *   the changes are what, before, and after
 * @typedef {object} Field
 * @property {string} name
 * @property {string} label
 * @property {string} [rule]
 * @property {HTMLElement} input
 * @property {(values: Values) => string} [fault] what is wrong, empty if nothing is
 * @property {(values: Values) => boolean} [shown]
 * @typedef {object} Act
 * @property {string} title
 * @property {string} verb
 * @property {string} done what is said when it is done
 * @property {string} [why]
 * @property {string | null} [reason] what the field of the reason has at first; null for an act that needs none
 * @property {string} [reasonRule]
 * @property {string} [reasonLabel]
 * @property {Change[]} changes
 * @property {Field[]} [fields]
 * @property {(refresh: () => void) => Promise<void>} [prepare] called when the dialog is open; `refresh` shows the changes again
 * @property {(values: Values) => Promise<Outcome>} send
 */

const MAX_REASON = 500;

/**
 * Ask for what an act needs, and do it. Resolves with the outcome, or with null if the moderator cancels.
 * @param {Act} act
 * @returns {Promise<Outcome | null>}
 */
export function ask(act) {
  const fields = [...(act.fields ?? []), ...(act.reason === null ? [] : [reasonField(act)])];
  const elements = new Map(fields.map((field) => [field, fieldElement(field)]));
  const error = create("p", { className: "error", role: "alert" });
  const changes = create("dl", { className: "changes" });
  const submit = create("button", { type: "submit" }, act.verb);
  const cancel = create("button", { type: "button", className: "second" }, t.mod.cancel);
  const form = create("form", { method: "dialog", noValidate: true }, ...elements.values(), error, create("div", { className: "row" }, submit, cancel));
  const title = create("h2", { id: "act" }, act.title);
  const dialog = create("dialog", { className: "card act", "aria-labelledby": "act" }, title, act.why && create("p", { className: "hint" }, act.why), changes, form);

  const values = () => Object.fromEntries(fields.map(({ name, input }) => [name, /** @type {HTMLInputElement} */ (input).value.trim()]));
  const refresh = () => {
    const now = values();
    changes.replaceChildren(...act.changes.flatMap(({ label, before, after }) => [create("dt", {}, label), beforeAfter(before, after(now))]));
    for (const [field, element] of elements) element.hidden = field.shown?.(now) === false;
  };
  /** @param {Map<Field, string>} faults @returns {boolean} whether there are any */
  const show = (faults) => {
    for (const [field, element] of elements) {
      const fault = faults.get(field) ?? "";
      element.querySelector(".fault").textContent = fault;
      if (fault) field.input.setAttribute("aria-invalid", "true");
      else field.input.removeAttribute("aria-invalid");
    }
    const first = fields.find((field) => faults.get(field));
    first?.input.focus();
    return first !== undefined;
  };
  const faultsOf = () => {
    const now = values();
    return new Map(fields.flatMap((field) => (elements.get(field).hidden ? [] : [/** @type {[Field, string]} */ ([field, field.fault?.(now) ?? ""])])));
  };

  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(null);
    });
    cancel.addEventListener("click", () => dialog.close());
    form.addEventListener("input", refresh);
    form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      error.textContent = "";
      if (show(faultsOf())) return;
      whileBusy(submit, async () => {
        try {
          const outcome = await act.send(values());
          resolve(outcome);
          dialog.close();
        } catch (failure) {
          const fault = faultOf(fields, failure);
          if (fault) show(new Map([fault]));
          else error.textContent = said(failure);
        }
      });
    });
    document.body.append(dialog);
    refresh();
    dialog.showModal();
    (fields[0]?.input ?? submit).focus();
    act.prepare?.(refresh).then(refresh, (failure) => (error.textContent = said(failure)));
  });
}

/** What was and what is, in one line. @param {string} before @param {string} after */
export function beforeAfter(before, after) {
  return create("dd", {}, create("bdi", { className: "before" }, before), after && arrow(), create("bdi", { className: "after" }, after));
}

/** What stands between before and after. */
export const arrow = () => create("span", { className: "arrow" }, create("span", { className: "visually-hidden" }, ` ${t.mod.to} `));

/** The field that a refusal is about, and what is wrong with it. @param {Field[]} fields @param {unknown} failure @returns {[Field, string] | null} */
function faultOf(fields, failure) {
  if (!(failure instanceof ApiError)) return null;
  const name = failure.reason === "USERNAME_TAKEN" ? "username" : failure.field.split(".").pop();
  const field = fields.find((each) => each.name === name);
  return field ? [field, failure.reason === "USERNAME_TAKEN" ? t.nameTaken : failure.rule] : null;
}

/** A refusal says why better than the general sentence about its reason. @param {unknown} failure */
const said = (failure) => (failure instanceof ApiError && failure.reason === "PERMISSION_DENIED" ? failure.message : explain(failure));

/** @param {Act} act @returns {Field} */
const reasonField = ({ reason, reasonLabel = t.mod.reason, reasonRule = t.mod.reasonRule }) => ({
  name: "reason",
  label: reasonLabel,
  rule: reasonRule,
  input: create("textarea", { rows: 2, maxLength: MAX_REASON, value: reason ?? "", required: true }),
  fault: (values) => (values.reason ? "" : t.mod.reasonFault),
});

/** @param {Field} field */
function fieldElement({ name, label, rule = "", input }) {
  const id = `act-${name}`;
  input.id = id;
  input.setAttribute("aria-describedby", `${id}-fault ${id}-rule`);
  return create(
    "div",
    { className: "field" },
    create("label", { htmlFor: id }, label),
    input,
    create("p", { id: `${id}-fault`, className: "fault" }),
    create("small", { id: `${id}-rule` }, rule),
  );
}
