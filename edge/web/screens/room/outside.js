// @ts-check
// Why somebody has no seat in a room, with a way on.

import { ApiError } from "../../client/index.js";
import { create, link } from "../../parts/dom.js";
import { spaced, whyOutside } from "../../parts/room/words.js";
import { refusal, t } from "../../parts/text.js";

/**
 * @param {import("../../app.js").App} app
 * @param {string} pin
 * @param {unknown} error
 * @param {boolean} [hadSeat] whether the player was in the room before
 */
export async function showOutside(app, pin, error, hadSeat = false) {
  const room = app.session.user ? await app.rooms.read(pin).catch(() => null) : null;
  const why = error instanceof ApiError && error.block ? refusal(error) : [whyOutside(error, room, hadSeat)];
  app.fill(
    create(
      "section",
      { className: "card outside" },
      create("p", { className: "hint" }, t.room.pinIs(spaced(pin))),
      create("div", { role: "alert" }, create("h1", {}, ...why)),
      create("div", { className: "row" }, link("/", t.room.otherPin, { className: "button second" })),
    ),
  );
}
