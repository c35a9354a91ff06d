// @ts-check
// Everybody in a room, to be found by name and acted on.

import { button, create } from "../../parts/dom.js";
import { explain, t } from "../../parts/text.js";
import { playerDialog } from "./player-dialog.js";

const SHOWN = 50;

/**
 * @param {import("../../app.js").App} app
 * @param {import("../../client/rooms.js").Room} room
 */
export async function playersDialog(app, room) {
  const search = create("input", { id: "player-search", type: "search", autocomplete: "off", spellcheck: false });
  const list = create("ul", { className: "everybody" });
  const count = create("p", { className: "hint", role: "status" }, t.loading);
  const close = button(t.room.done, () => dialog.close(), { className: "second" });
  const dialog = create(
    "dialog",
    { className: "card room-dialog", "aria-labelledby": "players-title" },
    create("h2", { id: "players-title" }, t.room.everybody),
    create("div", { className: "field" }, create("label", { htmlFor: "player-search" }, t.room.findPlayer), search),
    count,
    list,
    create("div", { className: "row" }, close),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  /** @type {import("../../client/rooms.js").RoomEntry[]} */
  let players = [];
  const show = () => {
    const wanted = keyOf(search.value.trim());
    const found = players.filter(({ nickname }) => keyOf(nickname).includes(wanted));
    count.textContent = found.length > SHOWN ? t.room.firstOf(SHOWN, found.length) : t.players(found.length);
    list.replaceChildren(...found.slice(0, SHOWN).map(row));
  };
  const row = (/** @type {import("../../client/rooms.js").RoomEntry} */ player) => {
    const act = create("button", { type: "button", className: "second player-row" }, create("bdi", { className: "name" }, player.nickname), create("span", {}, t.points(player.points)));
    act.addEventListener("click", () => {
      dialog.close();
      playerDialog(app, room, player);
    });
    return create("li", {}, act);
  };
  search.addEventListener("input", show);
  try {
    ({ players } = await app.rooms.results(room.roomId));
    show();
  } catch (error) {
    count.replaceWith(create("p", { className: "error", role: "alert" }, explain(error)));
  }
}

/** A name as it is compared: without case and accents. @param {string} name */
const keyOf = (name) => name.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
