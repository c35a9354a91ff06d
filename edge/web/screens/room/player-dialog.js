// @ts-check
// What a host can do for one player, and with them: give more time or full points, remove them.

import { button, create } from "../../parts/dom.js";
import { explain, t } from "../../parts/text.js";

/** @type {Pick<import("../../client/rooms.js").SeatExtraTime, "extraTime" | "fullPoints">} */
const NOTHING = { extraTime: "NONE", fullPoints: false };

/**
 * @param {import("../../app.js").App} app
 * @param {import("../../client/rooms.js").Room} room
 * @param {import("../../client/rooms.js").Player} player
 */
export async function playerDialog(app, { pin, roomId }, { seatId, nickname }) {
  const error = create("p", { className: "error", role: "alert" });
  const given = await givenTo(app, roomId, seatId).catch((failure) => {
    error.textContent = explain(failure);
    return NOTHING;
  });
  const time = create("select", { id: "extra-time" }, ...Object.entries(t.room.extraTimes).map(([value, text]) => create("option", { value, selected: value === given.extraTime }, text)));
  const fullPoints = create("input", { type: "checkbox", checked: given.fullPoints });
  const attempt = (/** @type {() => Promise<unknown>} */ act) => async () => {
    try {
      await act();
      dialog.close();
    } catch (failure) {
      error.textContent = explain(failure);
    }
  };
  const save = attempt(async () => {
    if (time.value === given.extraTime && fullPoints.checked === given.fullPoints) return;
    await app.rooms.setExtraTime(pin, seatId, time.value, fullPoints.checked);
    app.announce([t.room.extraTimeGiven(nickname, t.room.extraTimes[time.value]), ...(fullPoints.checked ? [t.room.fullPoints] : [])].join(". "));
  });
  const dialog = create(
    "dialog",
    { className: "card room-dialog", "aria-labelledby": "player-title" },
    create("h2", { id: "player-title" }, create("bdi", {}, nickname)),
    create("div", { className: "field" }, create("label", { htmlFor: "extra-time" }, t.room.extraTime), time),
    create("label", { className: "check" }, fullPoints, create("span", {}, t.room.fullPoints)),
    create("small", {}, t.room.extraTimeRule),
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

/** What the player has now: they may have brought it, or another host may have given it. @param {import("../../app.js").App} app @param {string} roomId @param {string} seatId */
async function givenTo(app, roomId, seatId) {
  const { extraTimes } = await app.rooms.results(roomId);
  return extraTimes.find((each) => each.seatId === seatId) ?? NOTHING;
}
