// @ts-check
// How players find a room: its PIN, the address where they join, and a code to scan.

import { create } from "../dom.js";
import { t } from "../text.js";
import { spaced } from "./words.js";

/**
 * @param {import("../../app.js").App} app
 * @param {string} pin
 */
export function invitation(app, pin) {
  const address = create("bdi", {}, `${location.host}/j/${pin}`);
  const code = create("div", { className: "code" });
  const closed = create("p", { className: "notice", hidden: true }, t.room.doorClosed);
  const element = create(
    "section",
    { className: "invitation", "aria-label": t.room.howToJoin },
    create("p", { className: "at" }, t.room.joinAt, " ", address),
    code,
    create("p", { className: "pin" }, create("span", { className: "visually-hidden" }, `${t.room.pin} `), spaced(pin)),
    closed,
  );
  app.rooms.invitation(pin).then(
    ({ joinUrl, qrSvg }) => {
      address.textContent = joinUrl.replace(/^https?:\/\//, "");
      code.replaceChildren(...new DOMParser().parseFromString(qrSvg, "text/html").body.children);
    },
    () => undefined, // the PIN alone is enough
  );
  return {
    element,
    /** @param {import("../../client/rooms.js").Room} room */
    show({ phase, joiningLocked }) {
      closed.hidden = !joiningLocked;
      element.hidden = phase === "ENDED";
    },
  };
}
