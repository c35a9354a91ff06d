// @ts-check
// `/host/:pin`: lead a room. Space goes on; everything can be done by keyboard alone.

import { ApiError } from "../../client/index.js";
import { button, create, link, loadStyle } from "../../parts/dom.js";
import { onKeys } from "../../parts/keys.js";
import { choicesOf, explanationOf, questionText } from "../../parts/room/choices.js";
import { Countdown } from "../../parts/room/countdown.js";
import { invitation } from "../../parts/room/invitation.js";
import { followRoom } from "../../parts/room/live.js";
import { podiumOf, RoomBoard } from "../../parts/room/standings.js";
import { isNextStep, summaryOf, whyOutside } from "../../parts/room/words.js";
import { explain, t } from "../../parts/text.js";
import { playerDialog } from "./player-dialog.js";
import { playersDialog } from "./players-dialog.js";
import { showResults } from "./results.js";

const hosting = () => import("./hosts-dialog.js");
const MORE_SECONDS = 15;
// More names than these would stand between the keyboard and the controls.
const NEWEST = 20;

/**
 * @typedef {import("../../app.js").App} App
 * @typedef {import("../../client/rooms.js").Room} Room
 * @typedef {import("../../client/rooms.js").Command} Command
 */

/** @param {App} app @param {{ pin: string }} params */
export async function showHost(app, { pin }) {
  app.title(t.room.host);
  try {
    const [room] = await Promise.all([app.rooms.read(pin), loadStyle("rooms.css"), loadStyle("host.css")]);
    await app.rooms.results(room.roomId); // which its hosts alone may read
    const desk = new Desk(app, pin);
    return () => desk.close();
  } catch (error) {
    const reason = error instanceof ApiError ? error.reason : "";
    if (reason !== "PERMISSION_DENIED" && reason !== "ROOM_NOT_FOUND") return app.fail(error);
    const why = reason === "PERMISSION_DENIED" ? t.room.notHost : whyOutside(error, null);
    return app.fill(create("section", { className: "card outside" }, create("h1", {}, why), create("div", { className: "row" }, link(`/j/${pin}`, t.room.joinTitle, { className: "button" }))));
  }
}

/** What a host has before them: the room, and what can be done with it. */
class Desk {
  /** @param {App} app @param {string} pin */
  constructor(app, pin) {
    this.app = app;
    this.pin = pin;
    this.board = new RoomBoard();
    this.countdown = new Countdown();
    this.invitation = invitation(app, pin);
    this.progress = create("span", { className: "count" });
    this.stage = create("section", { className: "stage" });
    this.answered = create("p", { className: "answered" });
    this.error = create("p", { className: "error", role: "alert" });
    this.next = control(" ", () => this.#advance("NEXT"), "go");
    this.back = control("b", () => this.#advance("BACK"), "second", t.room.back);
    this.more = control("m", () => this.#advance("EXTEND", MORE_SECONDS), "second", t.room.more(MORE_SECONDS));
    this.skip = control("s", () => this.#advance("REVEAL"), "second", t.room.skip);
    this.freeze = control("f", () => this.#advance(this.room?.frozen ? "UNFREEZE" : "FREEZE"), "second");
    this.lock = control("l", () => this.#lock(), "second");
    this.everybody = control("p", () => this.#everybody(), "second", t.room.everybody);
    this.hosts = control("h", () => this.#hosts(), "second", t.room.hosts);
    this.end = button(t.room.end, () => this.#end(), { className: "quiet" });
    this.controls = create(
      "section",
      { className: "card controls", "aria-label": t.room.controls },
      this.answered,
      this.next,
      create("div", { className: "acts" }, this.back, this.more, this.skip, this.freeze, this.lock, this.everybody, this.hosts, this.end),
      this.error,
    );
    const head = create("div", { className: "room-head" }, this.progress, link(`/screen/${pin}`, t.room.projector, { target: "_blank", className: "button quiet small" }));
    this.live = followRoom(app, pin, (room, before) => this.#onRoom(room, before));
    head.append(this.live.element, this.countdown.element);
    app.fill(create("div", { className: "room host" }, create("div", { className: "host-main" }, head, this.stage), create("div", { className: "host-side" }, this.controls, this.invitation.element)));
    this.offKeys = onKeys(/^[ bmsflph]$/, (key) => this.#key(key));
  }

  close() {
    this.offKeys();
    this.live.close();
    this.countdown.close();
  }

  /** @param {string} key */
  #key(key) {
    const control = { " ": this.next, b: this.back, m: this.more, s: this.skip, f: this.freeze, l: this.lock, p: this.everybody, h: this.hosts }[key];
    if (control && !control.hidden) control.click();
  }

  /** @param {Room} room @param {Room | null} before */
  #onRoom(room, before) {
    this.room = room;
    const isNext = isNextStep(room, before);
    this.app.title(room.title);
    this.countdown.show(room);
    this.progress.textContent = room.questionNumber && room.phase !== "ENDED" ? t.progress(room.questionNumber, room.questionCount) : room.title;
    if (isNext || room.phase === "LOBBY" || (room.phase === "BOARD" && room.version !== before?.version)) this.#show(room);
    if (isNext && before) this.app.announce(summaryOf(room));
    this.#showControls(room);
    this.invitation.show(room);
  }

  /** Fill the stage. A player's name keeps the focus while others come. @param {Room} room */
  #show(room) {
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.seat;
    this.stage.dataset.phase = room.phase;
    this.stage.replaceChildren(...this.#content(room).filter(Boolean));
    if (focused) /** @type {HTMLElement | null} */ (this.stage.querySelector(`[data-seat="${focused}"]`))?.focus();
    if (room.phase === "BOARD" || room.phase === "PODIUM") this.board.show(room);
    if (room.phase === "ENDED") showResults(this.app, room, this.stage);
  }

  /** @param {Room} room @returns {any[]} */
  #content(room) {
    switch (room.phase) {
      case "LOBBY":
        return [create("h1", {}, t.room.lobby(room.players)), this.#players(room.newestPlayers.slice(0, NEWEST), room.players)];
      case "BOARD":
        return [create("h1", {}, t.room.board), this.board.element, this.#players(room.board, room.players)];
      case "PODIUM":
        return [create("h1", {}, t.room.podium), podiumOf(room), this.board.element];
      case "ENDED":
        return [];
      default:
        return [...questionText(room.question), choicesOf(room), explanationOf(room)];
    }
  }

  /** Players, each with what the host can do. @param {import("../../client/rooms.js").Player[]} shown @param {number} count how many there are */
  #players(shown, count) {
    if (!count) return create("p", { className: "lead" }, t.room.waiting);
    const chip = (/** @type {import("../../client/rooms.js").Player} */ player) =>
      create("button", { type: "button", className: "second player-chip", dataset: { seat: player.seatId }, onclick: () => this.#player(player) }, create("bdi", {}, player.nickname));
    const others = count - shown.length;
    return create("div", { className: "player-list" }, create("p", { className: "hint" }, t.room.playersHint), create("ul", { className: "chips" }, ...shown.map((each) => create("li", {}, chip(each)))), others > 0 && create("p", { className: "hint" }, t.room.others(others)));
  }

  /** Show what can be done with a player. @param {import("../../client/rooms.js").Player} player */
  #player(player) {
    if (this.room) playerDialog(this.app, this.room, player);
  }

  /** @param {Room} room */
  #showControls(room) {
    const { phase, answered, players } = room;
    const isLast = room.questionNumber === room.questionCount;
    const verbs = t.room.nextVerbs;
    say(this.next, phase === "BOARD" && isLast ? verbs.LAST : verbs[phase]);
    this.next.hidden = phase === "ENDED";
    this.next.disabled = phase === "LOBBY" && players === 0;
    this.back.hidden = phase !== "BOARD" && phase !== "PODIUM";
    this.more.hidden = phase !== "QUESTION" || !room.deadline;
    this.skip.hidden = phase !== "QUESTION";
    this.freeze.hidden = phase === "LOBBY" || phase === "PODIUM" || phase === "ENDED";
    say(this.freeze, room.frozen ? t.room.unfreezeBoard : t.room.freezeBoard);
    this.lock.hidden = this.hosts.hidden = phase === "ENDED";
    this.end.hidden = phase === "PODIUM" || phase === "ENDED"; // after the podium, that is what comes next
    this.everybody.hidden = players === 0;
    say(this.lock, room.joiningLocked ? t.room.openDoor : t.room.closeDoor);
    this.answered.hidden = phase !== "QUESTION" && phase !== "LOCKED";
    this.answered.textContent = t.room.answered(answered, players);
    this.controls.hidden = phase === "ENDED";
  }

  /** @param {Command} command @param {number} [seconds] */
  #advance(command, seconds) {
    const { room } = this;
    return room && this.#attempt(() => this.app.rooms.advance(room, command, seconds));
  }

  #lock() {
    return this.#attempt(() => this.app.rooms.lock(this.pin, !this.room?.joiningLocked));
  }

  /** Show all players. It is not awaited: a busy button would not get the focus back. */
  #everybody() {
    if (this.room) playersDialog(this.app, this.room);
  }

  /** Show who leads the room. */
  async #hosts() {
    const { hostsDialog } = await hosting();
    hostsDialog(this.app, this.pin, () => this.app.router.show());
  }

  /** Ask before the room is over for everybody. */
  #end() {
    const dialog = create("dialog", { className: "card", "aria-labelledby": "end-title" }, create("h2", { id: "end-title" }, t.room.endTitle), create("p", {}, t.room.endWhy));
    const end = button(t.room.end, async () => {
      await this.#advance("END");
      dialog.close();
    });
    dialog.append(create("div", { className: "row" }, end, button(t.mod.cancel, () => dialog.close(), { className: "second" })));
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  }

  /** @param {() => Promise<unknown>} act */
  async #attempt(act) {
    this.error.textContent = "";
    try {
      await act();
    } catch (error) {
      if (error instanceof ApiError && error.reason === "PERMISSION_DENIED") await this.app.router.show(); // another host has removed this one
      else this.error.textContent = explain(error);
    }
  }
}

/**
 * A button with its key.
 * @param {string} key
 * @param {() => unknown} act
 * @param {string} className
 * @param {string} [text]
 */
function control(key, act, className, text = "") {
  const name = key === " " ? t.room.space : key.toUpperCase();
  const element = button("", act, { className, "aria-keyshortcuts": key === " " ? "Space" : key });
  element.replaceChildren(create("span", {}, text), create("kbd", { "aria-hidden": "true" }, name));
  return element;
}

/** @param {HTMLElement} element @param {string} text */
const say = (element, text) => void (/** @type {HTMLElement} */ (element.firstChild).textContent = text);
