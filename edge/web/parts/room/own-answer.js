// @ts-check
// A player's answer to the open question of a room: written, sent until the server has it, and shown. It is kept in this tab until
// then, so that a reload or a lost connection loses nothing.

import { ApiError } from "../../client/index.js";
import { answerForm } from "../answer-form.js";
import { linesOf } from "../answers.js";
import { create } from "../dom.js";
import { onKeys } from "../keys.js";
import { explain, t } from "../text.js";
import { choicesOf, hasChoices } from "./choices.js";

const PREFIX = "topten:room:";

/**
 * @typedef {import("../../client/attempts.js").Answer} Answer
 * @typedef {import("../../client/rooms.js").Room} Room
 * @typedef {{ questionId: string, answer: Answer | undefined, isSent: boolean }} Kept
 */

export class OwnAnswer {
  /**
   * @param {import("../../app.js").App} app
   * @param {string} pin
   * @param {string} seatId
   * @param {(error?: unknown) => void} onChange called when an answer is sent, recorded or refused
   */
  constructor(app, pin, seatId, onChange) {
    this.app = app;
    this.pin = pin;
    this.key = PREFIX + seatId;
    this.onChange = onChange;
    /** @type {any} the last recorded answer */
    this.recorded = null;
    /** The question whose answer is on its way. */
    this.sending = "";
    this.waits = false;
    /** Why the last answer was not recorded; empty if it was. */
    this.fault = "";
    this.offKeys = () => {};
  }

  /** The answer to a question that is recorded or on its way, in the form of the page or the API. @param {any} question @returns {any} */
  of(question) {
    if (this.#isRecorded(question)) return this.recorded;
    return this.sending === question.id ? this.#kept(question).answer : undefined;
  }

  /** What the player sees of the open question: the form, or the answer that they have given. @param {Room} room @returns {HTMLElement[]} */
  elements(room) {
    const { question } = room;
    const { answer, isSent } = this.#kept(question);
    if (!this.#isRecorded(question) && isSent && answer !== undefined) this.#send(question, answer);
    if (this.of(question) === undefined) return [this.#form(question)];
    const status = this.#isRecorded(question) ? t.room.answerIsIn : this.waits ? t.room.answerWaits : t.room.answerIsSent;
    return [...this.given(room), create("p", { className: "lead sending" }, status)];
  }

  /** The given answer: among the options, or in words. @param {Room} room @returns {HTMLElement[]} */
  given(room) {
    const answer = this.of(room.question);
    if (hasChoices(room.question)) return [choicesOf(room, answer)];
    if (answer === undefined) return [];
    const lines = linesOf(room.question, answer).map((line) => create("p", { className: "given-answer", dir: "auto" }, line));
    return [create("div", {}, create("p", { className: "hint" }, t.room.yourAnswer), ...lines)];
  }

  /** The form is no longer shown. */
  leave() {
    this.offKeys();
    this.offKeys = () => {};
  }

  /** @param {any} question */
  #form(question) {
    let { answer } = this.#kept(question);
    const submit = create("button", { type: "submit", disabled: answer === undefined }, t.room.answer);
    const inner = answerForm(question, answer, (given) => {
      answer = given;
      submit.disabled = given === undefined;
      this.#keep({ questionId: question.id, answer, isSent: false });
    }, this.app.announce);
    const send = () => {
      if (answer === undefined || (inner.check && !inner.check())) return;
      this.#keep({ questionId: question.id, answer, isSent: true });
      this.onChange();
    };
    const form = create("form", { className: "answer-form" }, inner.element, create("p", { className: "fault" }, this.fault), create("div", { className: "row question-foot" }, submit));
    form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      send();
    });
    this.leave();
    this.offKeys = onKeys(/^(?:[1-9]|Enter)$/, (key) => (key === "Enter" ? send() : inner.press?.(Number(key))));
    return form;
  }

  /** @param {any} question @param {Answer} answer */
  async #send(question, answer) {
    if (this.sending === question.id) return;
    this.sending = question.id;
    this.waits = false;
    this.fault = "";
    const wait = () => {
      this.waits = true;
      this.onChange();
    };
    try {
      this.recorded = await this.app.rooms.answer(this.pin, question.id, answer, wait);
      this.sending = "";
      this.app.announce(t.room.answerIsIn);
      this.onChange();
    } catch (error) {
      sessionStorage.removeItem(this.key);
      const isLate = error instanceof ApiError && error.reason === "QUESTION_LOCKED";
      this.sending = "";
      this.fault = isLate ? t.room.tooLate : explain(error);
      this.app.announce(this.fault);
      this.onChange(error);
    }
  }

  /** @param {any} question */
  #isRecorded(question) {
    return this.recorded?.questionId === question.id;
  }

  /** @param {any} question @returns {Kept} */
  #kept(question) {
    const kept = JSON.parse(sessionStorage.getItem(this.key) ?? "null");
    return kept?.questionId === question.id ? kept : { questionId: question.id, answer: undefined, isSent: false };
  }

  /** @param {Kept} kept */
  #keep(kept) {
    sessionStorage.setItem(this.key, JSON.stringify(kept));
  }
}
