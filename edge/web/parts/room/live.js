// @ts-check
// A room as a screen follows it: every state of it, and whether it is live.

import { create } from "../dom.js";
import { t } from "../text.js";

/**
 * @typedef {import("../../client/rooms.js").OwnOutcome} OwnOutcome
 * @typedef {import("../../client/rooms.js").Room} Room
 */

/**
 * Follow a room until `close()`. The element says whether it is live; a change of that is announced.
 * @param {import("../../app.js").App} app
 * @param {string} pin
 * @param {(room: Room, before: Room | null) => void} onRoom
 * @param {(own: OwnOutcome) => void} [onOwn] called with what the player of a seat is shown, after the room at its version
 * @param {() => void} [onRemoved] called when the player is shown the room no more, although it goes on
 */
export function followRoom(app, pin, onRoom, onOwn, onRemoved) {
  const element = create("span", { className: "state" });
  /** @type {import("../../client/stream.js").State} */
  let state = { name: "connecting", heardAt: 0 };
  /** @type {Room | null} */
  let room = null;
  let wasLive = false;
  const watch = app.rooms.watch(pin);
  const tick = () => {
    const since = state.heardAt && state.name === "lost" ? ` · ${t.ago(Math.round((Date.now() - state.heardAt) / 1_000))}` : "";
    const text = t.room.states[state.name] + since;
    element.dataset.state = state.name;
    if (element.textContent !== text) element.textContent = text;
  };
  const clock = setInterval(tick, 1_000);
  const follow = async () => {
    for await (const { frame, me, state: next } of watch) {
      if (next) {
        const isLive = (state = next).name === "live";
        if (isLive !== wasLive && room && state.name !== "closed") app.announce(t.room.states[state.name]);
        wasLive = isLive;
        tick();
      }
      if (frame) {
        const before = room;
        room = frame;
        onRoom(frame, before);
      }
      if (me) onOwn?.(me);
      if (next?.name === "closed" && room && room.phase !== "ENDED") onRemoved?.();
    }
  };
  tick();
  follow();
  return {
    element,
    close() {
      clearInterval(clock);
      watch.return();
    },
  };
}
