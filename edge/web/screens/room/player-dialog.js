// @ts-check
// What a host can do for one player, and with them: give more time, remove them.

import { button, create } from "../../parts/dom.js";
import { explain, t } from "../../parts/text.js";

/**
 * @param {import("../../app.js").App} app
 * @param {string} pin
 * @param {import("../../client/rooms.js").Player} player
 * @param {Map<string, string>} extraTimes those of all players, by seat
 */
export function playerDialog(app, pin, { seatId, nickname }, extraTimes) {
  const error = create("p", { className: "error", role: "alert" });
  const chosen = extraTimes.get(seatId) ?? "NONE";
  const time = create("select", { id: "extra-time" }, ...Object.entries(t.room.extraTimes).map(([value, text]) => create("option", { value, selected: value === chosen }, text)));
  const attempt = (/** @type {() => Promise<unknown>} */ act) => async () => {
    try {
      await act();
      dialog.close();
    } catch (failure) {
      error.textContent = explain(failure);
    }
  };
  const save = attempt(async () => {
    if (time.value === chosen) return;
    const all = await app.rooms.setExtraTime(pin, seatId, time.value);
    extraTimes.clear();
    for (const each of all) extraTimes.set(each.seatId, each.extraTime);
    app.announce(t.room.extraTimeGiven(nickname, t.room.extraTimes[time.value]));
  });
  const dialog = create(
    "dialog",
    { className: "card room-dialog", "aria-labelledby": "player-title" },
    create("h2", { id: "player-title" }, create("bdi", {}, nickname)),
    create("div", { className: "field" }, create("label", { htmlFor: "extra-time" }, t.room.extraTime), time, create("small", {}, t.room.extraTimeRule)),
    error,
    create("div", { className: "row" }, button(t.room.done, save), button(t.room.remove, attempt(() => app.rooms.kick(pin, seatId)), { className: "second" })),
    create("small", {}, t.room.removeRule),
  );
  dialog.addEventListener("close", () => {
    dialog.remove();
    // After a click, Space goes on again; with a keyboard the focus is back where it was.
    const focused = /** @type {HTMLElement} */ (document.activeElement);
    if (!focused.matches(":focus-visible")) focused.blur();
  });
  document.body.append(dialog);
  dialog.showModal();
}
