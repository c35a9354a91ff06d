// @ts-check
// Who hosts a room: add an account by its name, and remove one again.

import { ApiError } from "../../client/index.js";
import { button, create, whileBusy } from "../../parts/dom.js";
import { explain, t } from "../../parts/text.js";

/** @typedef {import("../../client/rooms.js").Host} Host */

/**
 * @param {import("../../app.js").App} app
 * @param {string} pin
 * @param {() => void} onLeft called once the account itself hosts the room no longer
 */
export async function hostsDialog(app, pin, onLeft) {
  const own = app.session.user?.userId;
  const list = create("ul", { className: "hosts" });
  const status = create("p", { className: "hint", role: "status" }, t.loading);
  const fault = create("p", { className: "fault", id: "host-fault" });
  const name = create("input", { id: "host-name", autocomplete: "off", spellcheck: false, maxLength: 64, "aria-describedby": "host-fault host-rule" });
  const add = create("button", { type: "submit" }, t.room.addHost);
  const form = create(
    "form",
    { className: "sign-in", noValidate: true },
    create("div", { className: "field" }, create("label", { htmlFor: "host-name" }, t.room.hostName), name, fault, create("small", { id: "host-rule" }, t.room.hostRule)),
    create("div", { className: "row" }, add, button(t.room.done, () => dialog.close(), { className: "second" })),
  );
  const dialog = create("dialog", { className: "card room-dialog", "aria-labelledby": "hosts-title" }, create("h2", { id: "hosts-title" }, t.room.hosts), create("p", { className: "hint" }, t.room.hostsWhy), list, status, form);

  /** Say what is wrong beside the field, or nothing. @param {unknown} [error] */
  const show = (error) => {
    fault.textContent = error === undefined ? "" : faultOf(error, name.value.trim());
    if (error === undefined) name.removeAttribute("aria-invalid");
    else name.setAttribute("aria-invalid", "true");
    name.focus();
  };
  const refresh = async () => {
    const hosts = await app.rooms.hosts(pin);
    list.replaceChildren(...hosts.map(row));
  };
  /** Do something about a host, and say so. @param {() => Promise<unknown>} act @param {string} done */
  const attempt = async (act, done) => {
    try {
      await act();
      await refresh();
      show();
      status.textContent = done;
    } catch (error) {
      show(error);
    }
  };
  const row = (/** @type {Host} */ { userId, opened, user }) => {
    const isOwn = userId === own;
    const shown = user?.username ?? t.room.erasedHost;
    const text = isOwn ? t.room.stopHosting : t.room.removeHost;
    const act = isOwn ? () => leave(userId) : () => attempt(() => app.rooms.removeHost(pin, userId), t.room.hostRemoved(shown));
    const note = [isOwn && t.you, opened && t.room.openedRoom].filter(Boolean).join(" · ");
    return create("li", {}, create("bdi", { className: "name" }, shown), create("span", { className: "hint" }, note), !opened && button(text, act, { className: "second small", "aria-label": isOwn ? text : t.room.removeHostOf(shown) }));
  };
  const leave = async (/** @type {string} */ userId) => {
    try {
      await app.rooms.removeHost(pin, userId);
    } catch (error) {
      return show(error);
    }
    dialog.close();
    onLeft();
  };

  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    const wanted = name.value.trim();
    if (!wanted) return show(new ApiError("PLAYER_NOT_FOUND", ""));
    whileBusy(add, () =>
      attempt(async () => {
        await app.rooms.addHost(pin, wanted);
        name.value = "";
      }, t.room.hostAdded(wanted)),
    );
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  name.focus();
  try {
    await refresh();
    status.textContent = "";
  } catch (error) {
    status.textContent = explain(error);
  }
}

/** @param {unknown} error @param {string} name what was typed */
function faultOf(error, name) {
  const reason = error instanceof ApiError ? error.reason : "";
  if (reason === "PLAYER_NOT_FOUND" || reason === "INVALID_ARGUMENT") return t.extraTime.noAccount(name);
  return reason === "LIMIT_REACHED" ? t.room.hostsFault : explain(error);
}
