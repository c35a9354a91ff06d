// @ts-check
// Signing in and registering: one form, in the page or in a dialog over it. Enter signs in.

import { ApiError } from "../client/index.js";
import { create, whileBusy } from "./dom.js";
import { explain, refusal, t } from "./text.js";

const FIELDS = /** @type {const} */ (["username", "password", "country"]);
// The server's rule, but for the scripts of letters, which only it knows.
const NAME = /^[\p{L}\p{M}\p{N}_.-]{2,32}$/u;

/**
 * @param {import("../client/index.js").Session} session
 * @param {() => void} onDone called once somebody is signed in
 * @param {{ username?: string, canRegister?: boolean }} [options]
 */
export function signInForm(session, onDone, { username = "", canRegister = true } = {}) {
  const error = create("p", { className: "error", role: "alert" });
  const signIn = create("button", { type: "submit" }, t.signIn);
  const register = create("button", { type: "button", className: "second" }, t.createAccount);
  const inputs = {
    username: field("username", t.name, t.nameRule, { autocomplete: "username", value: username, spellcheck: false }),
    password: field("password", t.password, t.passwordRule, { type: "password", autocomplete: "current-password" }),
    country: field("country", t.countryLabel, t.countryRule, { autocomplete: "country", maxLength: 2 }),
  };
  const form = create("form", { className: "sign-in", noValidate: true }, inputs.username, inputs.password);
  if (canRegister) form.append(inputs.country);
  form.append(error, create("div", { className: "row" }, signIn, canRegister && register));

  /** @param {boolean} isNew */
  async function send(isNew) {
    const [name, password, country] = FIELDS.map((each) => inputs[each].querySelector("input").value);
    /** @type {Partial<Record<typeof FIELDS[number], string>>} */
    const faults = {};
    if (!NAME.test(name)) faults.username = t.nameFault;
    if ([...password].length < 8 || [...password].length > 128) faults.password = t.passwordFault;
    if (isNew && country && !/^[A-Za-z]{2}$/.test(country)) faults.country = t.countryFault;
    if (show(faults)) return;
    try {
      if (isNew) await session.register({ username: name, password, country: country.toUpperCase() || null });
      else await session.login({ username: name, password });
    } catch (failure) {
      show(faultOf(failure));
      if (failure instanceof ApiError && failure.block) error.replaceChildren(...refusal(failure));
      return;
    }
    form.reset();
    onDone();
  }

  /** @param {Record<string, string | undefined>} faults @returns {boolean} whether there are any */
  function show(faults) {
    error.textContent = faults.other ?? "";
    let first = null;
    for (const each of FIELDS) {
      const input = inputs[each].querySelector("input");
      const fault = faults[each] ?? "";
      inputs[each].querySelector(".fault").textContent = fault;
      // What these say, the rule says too.
      inputs[each].querySelector("small").hidden = [t.nameFault, t.passwordFault].includes(fault);
      input.toggleAttribute("aria-invalid", Boolean(fault));
      if (fault) input.setAttribute("aria-invalid", "true");
      if (fault && !first) first = input;
    }
    first?.focus();
    return first !== null || Boolean(faults.other);
  }

  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    if (!register.disabled) whileBusy(signIn, () => send(false));
  });
  register.addEventListener("click", () => {
    if (!signIn.disabled) whileBusy(register, () => send(true));
  });
  return form;
}

/** @param {unknown} failure @returns {Record<string, string>} */
function faultOf(failure) {
  if (!(failure instanceof ApiError)) throw failure;
  const name = failure.field.split(".").pop() ?? "";
  if (failure.reason === "USERNAME_TAKEN") return { username: t.nameTaken };
  if (failure.reason === "CREDENTIALS_INVALID") return { password: t.credentialsFault };
  if (name === "username") return { username: t.nameFault };
  if (name === "password") return { password: t.passwordFault };
  if (name === "country") return { country: t.countryFault };
  return { other: explain(failure) };
}

/**
 * @param {string} name
 * @param {string} label
 * @param {string} rule
 * @param {Record<string, any>} properties
 */
function field(name, label, rule, properties) {
  const id = `field-${name}-${(made += 1)}`;
  return create(
    "div",
    { className: "field" },
    create("label", { htmlFor: id }, label),
    create("input", { id, name, "aria-describedby": `${id}-fault ${id}-rule`, ...properties }),
    create("p", { id: `${id}-fault`, className: "fault" }),
    create("small", { id: `${id}-rule` }, rule),
  );
}

let made = 0;

/**
 * Ask for a new sign-in over whatever is on the page. Resolves once the same player is signed in again; rejects if they
 * sign out instead.
 * @param {import("../client/index.js").Session} session
 * @returns {Promise<void>}
 */
export function signInDialog(session) {
  const before = session.user;
  return new Promise((resolve, reject) => {
    const close = () => {
      dialog.close();
      dialog.remove();
    };
    const done = () => {
      if (before && session.user?.userId !== before.userId) {
        hint.textContent = t.otherPlayer(before.username);
        return;
      }
      close();
      resolve();
    };
    const hint = create("p", {}, t.sessionEndedWhy);
    const leave = create("button", { type: "button", className: "quiet" }, t.signOut);
    leave.addEventListener("click", () => {
      close();
      reject(new ApiError("UNAUTHENTICATED", ""));
    });
    const title = create("h2", { id: "session-ended" }, t.sessionEnded);
    const form = signInForm(session, done, { username: before?.username, canRegister: false });
    const dialog = create("dialog", { className: "card", "aria-labelledby": "session-ended" }, title, hint, form, leave);
    dialog.addEventListener("cancel", (/** @type {Event} */ event) => event.preventDefault());
    document.body.append(dialog);
    dialog.showModal();
    form.querySelector(before ? "[name=password]" : "[name=username]").focus();
  });
}
