// @ts-check
// `/j/:pin`: take a seat in a room, with a nickname and no password, and play. A player who has a seat comes back to it.

import { ApiError } from "../../client/index.js";
import { create, loadStyle, whileBusy } from "../../parts/dom.js";
import { codeForm } from "../../parts/room/other-device.js";
import { spaced, whyOutside } from "../../parts/room/words.js";
import { signInForm } from "../../parts/sign-in.js";
import { refusal, t } from "../../parts/text.js";
import { showOutside } from "./outside.js";
import { play } from "./seat.js";

// What the server takes as the name of a guest; a nickname may have more.
const NOT_IN_NAMES = /[^\p{L}\p{M}\p{N}_.-]+/gu;
const MAX_NICKNAME = 24;

/** @typedef {import("../../app.js").App} App */

/** @param {App} app @param {{ pin: string }} params */
export async function showJoin(app, { pin: text }) {
  const pin = text.replace(/[\s-]/g, "");
  app.title(t.room.join);
  await Promise.all([loadStyle("rooms.css"), loadStyle("seat.css")]);
  if (!app.session.user) return showForm(app, pin);
  try {
    return play(app, pin, await app.rooms.outcome(pin));
  } catch (error) {
    if (!(error instanceof ApiError) || error.isTemporary || error.reason === "UNAUTHENTICATED") return app.fail(error);
    if (error.reason !== "PLAYER_NOT_FOUND") return showOutside(app, pin, error, true);
  }
  const room = await app.rooms.read(pin).catch(() => null);
  if (room?.phase === "ENDED") return showOutside(app, pin, new ApiError("ROOM_CLOSED", ""));
  showForm(app, pin, room);
}

/**
 * @param {App} app
 * @param {string} pin
 * @param {{ title: string, nicknames: string } | null} [room] null while nobody is signed in, who may read no room
 */
function showForm(app, pin, room = null) {
  const { user } = app.session;
  const fault = create("p", { id: "nickname-fault", className: "fault", role: "alert" });
  const nickname = create("input", {
    id: "nickname",
    value: user?.username ?? "",
    maxLength: 100,
    autocomplete: "nickname",
    "aria-describedby": "nickname-fault nickname-rule",
    spellcheck: false,
  });
  const isChosen = !room || room.nicknames === "CHOSEN";
  const submit = create("button", { type: "submit" }, t.room.join);
  const working = create("p", { className: "hint", role: "status" });
  const form = create(
    "form",
    { className: "sign-in", noValidate: true },
    isChosen && create("div", { className: "field" }, create("label", { htmlFor: "nickname" }, t.room.nickname), nickname, create("small", { id: "nickname-rule" }, user ? t.room.nicknameRule : t.room.nicknameRuleOfGuests)),
    fault,
    create("div", { className: "row" }, submit),
    working,
  );
  const say = (/** @type {(string | Node)[]} */ ...words) => {
    fault.replaceChildren(...words);
    nickname.setAttribute("aria-invalid", String(words.length > 0));
    if (words.length && isChosen) nickname.focus();
  };
  const enter = async () => {
    const name = nickname.value.trim();
    if (isChosen && (!name || [...name].length > MAX_NICKNAME)) return say(t.room.nicknameFault);
    say();
    try {
      if (!app.session.user) await continueAs(app, name);
      await app.rooms.join(pin, name, () => (working.textContent = t.room.computing));
    } catch (error) {
      working.textContent = "";
      const reason = error instanceof ApiError ? error.reason : "";
      if (reason === "ROOM_CLOSED" || reason === "ROOM_NOT_FOUND") return showOutside(app, pin, error);
      return say(...(reason === "PLAYER_BLOCKED" ? refusal(error) : [whyOutside(error, null)]));
    }
    await app.signedIn();
  };
  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    whileBusy(submit, enter);
  });
  /** @param {string} code */
  const take = async (code) => {
    try {
      if (!app.session.user) await continueAs(app, t.guest);
      await app.rooms.moveSeat(pin, code);
    } catch (error) {
      const reason = error instanceof ApiError ? error.reason : "";
      if (reason === "INVALID_ARGUMENT") return t.room.codeFault;
      if (reason !== "ROOM_CLOSED" && reason !== "ROOM_NOT_FOUND") return whyOutside(error, null);
      await showOutside(app, pin, error);
      return "";
    }
    await app.signedIn();
    return "";
  };
  app.fill(
    create(
      "section",
      { className: "card join" },
      create("p", { className: "hint" }, t.room.pinIs(spaced(pin))),
      create("h1", {}, room ? create("bdi", {}, room.title) : t.room.joinTitle),
      form,
      (!user || app.isGuest) && codeForm(take),
      (!user || app.isGuest) && create("details", {}, create("summary", {}, t.room.withAccount), signInForm(app.session, () => app.signedIn())),
    ),
  );
  (isChosen ? nickname : submit).focus({ preventScroll: true });
}

/** Sign in without a password. The name of the guest is as close to the nickname as its rules allow. @param {App} app @param {string} nickname */
async function continueAs(app, nickname) {
  const name = nickname.normalize("NFC").replace(NOT_IN_NAMES, "-").replace(/^[-.]+|[-.]+$/g, "");
  try {
    await app.session.continueAsGuest(name.length < 2 ? t.guest : name);
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== "INVALID_ARGUMENT") throw error;
    await app.session.continueAsGuest(t.guest);
  }
}
