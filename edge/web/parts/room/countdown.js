// @ts-check
// How long a question is open: by the times of the server alone, whatever the clock of this device says.

import { serverNow } from "../../client/index.js";
import { create } from "../dom.js";
import { t } from "../text.js";

const TICK = 100;

/** A ring that empties around the seconds that are left. At the host's pace there is none. */
export class Countdown {
  constructor() {
    this.seconds = create("span", { "aria-hidden": "true" });
    this.words = create("span", { className: "visually-hidden" });
    this.element = create("div", { className: "countdown", role: "timer", hidden: true }, this.seconds, this.words);
    this.until = this.total = 0;
    /** @type {number | undefined} */
    this.clock = undefined;
  }

  /**
   * @param {import("../../client/rooms.js").Room} room
   * @param {string | null} [deadline] the player's own, if it is not that of the room
   */
  show({ phase, askedAt, deadline: everybodys }, deadline = everybodys) {
    this.close();
    this.element.hidden = phase !== "QUESTION" || !deadline;
    if (phase !== "QUESTION" || !deadline) return;
    this.until = Date.parse(deadline);
    this.total = Math.max(1, this.until - Date.parse(askedAt ?? deadline));
    this.clock = setInterval(() => this.#tick(), TICK);
    this.#tick();
  }

  close() {
    clearInterval(this.clock);
  }

  #tick() {
    const left = Math.max(0, this.until - serverNow());
    const seconds = Math.ceil(left / 1_000);
    this.element.style.setProperty("--left", String(Math.min(1, left / this.total)));
    if (this.seconds.textContent === t.number(seconds)) return;
    this.seconds.textContent = t.number(seconds);
    this.element.style.setProperty("--digits", String(t.number(seconds).length));
    this.words.textContent = t.room.secondsLeft(seconds);
    this.element.classList.toggle("last", seconds <= 5);
  }
}
