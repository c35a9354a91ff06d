// @ts-check
// A player in a room: the lobby, each question with its answer and outcome, the board, the podium. The server tells the times,
// the place and the points.

import { ApiError } from "../../client/index.js";
import { linesOf } from "../../parts/answers.js";
import { create, link } from "../../parts/dom.js";
import { choicesOf, explanationOf, hasChoices, questionText } from "../../parts/room/choices.js";
import { Countdown } from "../../parts/room/countdown.js";
import { followRoom } from "../../parts/room/live.js";
import { otherDevice } from "../../parts/room/other-device.js";
import { OwnAnswer } from "../../parts/room/own-answer.js";
import { podiumOf, RoomBoard } from "../../parts/room/standings.js";
import { isNextStep, spaced, summaryOf } from "../../parts/room/words.js";
import { t } from "../../parts/text.js";
import { showOutside } from "./outside.js";

// The stream brings the place. If it has not done so by then it is read: not by everybody in a large room at the same moment.
const MISSING_AFTER = 2_500;
const SPREAD_PER_PLAYER = 5;
const MAX_SPREAD = 2_000;
const GONE = new Set(["ROOM_CLOSED", "PLAYER_NOT_FOUND"]);

/**
 * @typedef {import("../../app.js").App} App
 * @typedef {import("../../client/rooms.js").Outcome} Outcome
 * @typedef {import("../../client/rooms.js").Room} Room
 */

/** Show the seat of a player until the screen is left. @param {App} app @param {string} pin @param {Outcome} outcome */
export function play(app, pin, outcome) {
  const seat = new Seat(app, pin, outcome);
  return () => seat.close();
}

class Seat {
  /** @param {App} app @param {string} pin @param {Outcome} outcome */
  constructor(app, pin, outcome) {
    this.app = app;
    this.pin = pin;
    this.outcome = outcome;
    /** The version of the room to which the outcome belongs; 0 if that is not known. */
    this.outcomeAt = 0;
    /** Whether the player is yet to be told of the last step, with the outcome. */
    this.isUntold = false;
    this.isClosed = false;
    this.answer = new OwnAnswer(app, pin, outcome.seatId, (error) => this.#onAnswer(error));
    this.answer.recorded = outcome.answer;
    this.board = new RoomBoard(outcome.seatId);
    this.countdown = new Countdown();
    this.place = create("strong", {});
    this.progress = create("span", { className: "count" });
    this.stage = create("section", { className: "stage", tabIndex: -1 });
    this.live = followRoom(app, pin, (room, before) => this.#onRoom(room, before), (own) => this.#onOutcome(own, own.version), () => this.#askWhy());
    const head = create("div", { className: "room-head" }, this.progress, this.live.element, this.countdown.element);
    const own = create("p", { className: "own-place ranked" }, create("bdi", { className: "name" }, outcome.nickname), this.place);
    app.fill(create("div", { className: "room seat" }, head, own, this.stage, app.isGuest && otherDevice(app, pin)));
    this.#showPlace();
  }

  close() {
    this.isClosed = true;
    this.answer.leave();
    this.live.close();
    this.countdown.close();
  }

  /** @param {Room} room @param {Room | null} before */
  #onRoom(room, before) {
    this.room = room;
    this.app.title(room.title);
    this.progress.textContent = room.phase === "ENDED" ? room.title : room.questionNumber ? t.progress(room.questionNumber, room.questionCount) : t.room.pinIs(spaced(this.pin));
    const isNext = isNextStep(room, before);
    if (isNext && room.phase === "QUESTION") this.answer.fault = "";
    if (isNext) this.#show();
    else this.#update(room);
    this.#showCountdown();
    if (isNext && before && room.phase !== "REVEAL" && room.phase !== "PODIUM") this.#announce();
    if (room.version === before?.version) return;
    this.isUntold ||= isNext;
    this.#ensureOutcome(room);
  }

  /** Read the outcome of a transition if the stream does not bring it, as at its end, or because the seat is gone. @param {Room} room */
  async #ensureOutcome({ version, phase, players }) {
    const after = (phase === "ENDED" ? 0 : MISSING_AFTER) + Math.random() * Math.min(MAX_SPREAD, SPREAD_PER_PLAYER * players);
    await new Promise((resolve) => setTimeout(resolve, after));
    if (this.isClosed || this.room?.version !== version || this.outcomeAt === version) return;
    try {
      this.#onOutcome(await this.app.rooms.outcome(this.pin), version);
    } catch (error) {
      this.#leaveIfOutside(error); // otherwise the room goes on, and there is another outcome after the next change
    }
  }

  /** The stream has ended before the room: the seat tells why. */
  #askWhy() {
    this.app.rooms.outcome(this.pin).catch((error) => this.#leaveIfOutside(error));
  }

  /** What the last transition means for this player: points, extra time. @param {Outcome} outcome @param {number} version of the room */
  #onOutcome(outcome, version) {
    const room = this.room;
    if (this.isClosed || room?.version !== version) return;
    this.outcome = outcome;
    this.outcomeAt = version;
    this.answer.recorded = outcome.answer ?? this.answer.recorded;
    this.#showPlace();
    this.#showCountdown();
    if (!["REVEAL", "PODIUM", "ENDED"].includes(room.phase)) return;
    this.#show();
    if (this.isUntold && room.phase !== "ENDED") this.#announce();
    this.isUntold = false;
  }

  /** @param {unknown} [error] */
  #onAnswer(error) {
    this.#leaveIfOutside(error);
    if (!this.isClosed && ["QUESTION", "LOCKED"].includes(this.room?.phase ?? "")) this.#show();
  }

  /** The host has removed the player, the room is over, or the seat is that of another device now. @param {unknown} error */
  #leaveIfOutside(error) {
    if (this.isClosed || !(error instanceof ApiError) || !GONE.has(error.reason) || this.room?.phase === "ENDED") return;
    this.close();
    showOutside(this.app, this.pin, error, true);
  }

  #announce() {
    const room = /** @type {Room} */ (this.room);
    const { rank, points } = this.outcome;
    const own = rank === null ? "" : t.ownStanding(rank, points);
    const right = () => (room.rightAnswer && this.outcome.verdict !== "RIGHT" ? `. ${t.room.rightAnswer}: ${linesOf(room.question, room.rightAnswer).join(", ")}` : "");
    if (room.phase === "REVEAL") this.app.announce(this.#verdict() + right());
    else this.app.announce(["BOARD", "PODIUM"].includes(room.phase) ? `${own} ${summaryOf(room)}` : summaryOf(room));
  }

  #showPlace() {
    const { rank, points } = this.outcome;
    this.place.textContent = rank === null ? t.points(points) : `${t.rankOf(rank)} · ${t.points(points)}`;
  }

  /** Show the player's own deadline, which is later than that of the room with extra time. */
  #showCountdown() {
    const room = /** @type {Room} */ (this.room);
    const { extraTime, deadline } = this.outcome;
    if (extraTime === "NONE") this.countdown.show(room);
    else this.countdown.show(room, this.outcomeAt === room.version ? deadline : null);
  }

  /** Fill the stage for the phase. The focus stays on it if it was within. */
  #show() {
    const room = /** @type {Room} */ (this.room);
    const hadFocus = this.stage.contains(document.activeElement);
    this.answer.leave();
    this.stage.dataset.phase = room.phase;
    this.stage.replaceChildren(...this.#content(room).filter(Boolean));
    if (hadFocus) this.stage.focus({ preventScroll: true });
    this.#update(room);
  }

  /** Show what changes within a phase. @param {Room} room */
  #update(room) {
    const { phase, players, answered } = room;
    if (phase === "BOARD" || phase === "ENDED") this.board.show(room);
    const count = this.stage.querySelector(".answered");
    if (count) count.textContent = phase === "LOBBY" ? t.players(players) : t.room.answered(answered, players);
  }

  /** @param {Room} room @returns {any[]} */
  #content(room) {
    const count = create("p", { className: "hint answered" });
    switch (room.phase) {
      case "LOBBY":
        return [create("h1", {}, t.room.youAreIn), create("p", { className: "lead" }, t.room.waitForHost(room.title)), count];
      case "QUESTION":
        return [...this.#question(room), ...this.answer.elements(room), this.outcome.fullPoints && create("p", { className: "hint" }, t.room.fullPoints), count];
      case "LOCKED":
        return [...this.#question(room), ...this.answer.given(room), create("p", { className: "lead" }, this.answer.of(room.question) === undefined ? `${t.room.locked} ${this.answer.fault || t.room.unanswered}` : t.room.locked), count];
      case "REVEAL":
        return [this.#outcome(room), ...this.#question(room, "h2"), ...this.answer.given(room), !hasChoices(room.question) && choicesOf(room), explanationOf(room)];
      case "BOARD":
        return [create("h1", {}, t.room.board), this.board.element];
      case "PODIUM":
        return [create("h1", {}, t.room.podium), podiumOf(room), this.#ownSentence()];
      default:
        return [create("h1", {}, t.room.ended), this.#ownSentence(), this.board.element, create("div", { className: "row" }, link("/", this.app.isGuest ? t.createAccount : t.toQuizzes, { className: "button" }))];
    }
  }

  /** @param {Room} room @param {"h1" | "h2"} [heading] */
  #question({ title, question }, heading) {
    return [create("p", { className: "hint" }, create("bdi", {}, title), ` · ${t.points(question.points)}`), ...questionText(question, heading)];
  }

  #verdict() {
    return `${/** @type {any} */ (t.verdicts)[this.outcome.verdict ?? "UNANSWERED"]} · ${t.points(this.outcome.pointsAwarded)}`;
  }

  /** How the answer was judged: in a word, by a shape and by a color. Its place is taken before it is known. @param {Room} room */
  #outcome({ version }) {
    const isKnown = this.outcomeAt === version;
    const verdict = isKnown ? (this.outcome.verdict ?? "UNANSWERED") : "";
    return create("div", { className: "outcome own-outcome", dataset: { verdict } }, create("h1", { className: "verdict" }, isKnown ? this.#verdict() : t.loading));
  }

  #ownSentence() {
    const { rank, points } = this.outcome;
    return create("p", { className: "own-sentence" }, rank === null ? t.points(points) : t.ownStanding(rank, points));
  }
}
