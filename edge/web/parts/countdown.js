// @ts-check
// The time that is left, by the server's clock. It can be hidden, and screen readers hear of it at a few moments only.

import { serverNow } from "../client/index.js";
import { create } from "./dom.js";
import { t } from "./text.js";

const HIDDEN = "topten:countdown-hidden";
// Seconds before the end at which it is announced; from the last but one on it is marked as ending.
const MOMENTS = [300, 60, 30, 10];
const ENDING = 60;
const EVERY = 200;

/**
 * @param {string} deadline
 * @param {(text: string) => void} announce
 * @param {() => void} onEnd called once, when the time is up
 */
export function countdown(deadline, announce, onEnd) {
  const left = () => Math.ceil((Date.parse(deadline) - serverNow()) / 1_000);
  const clock = create("span", { className: "countdown-time", role: "timer", "aria-label": t.timeLeftLabel });
  const toggle = create("button", { type: "button", className: "quiet small", onclick: () => hide(!isHidden) });
  const element = create("p", { className: "countdown" }, clock, toggle);
  let isHidden = sessionStorage.getItem(HIDDEN) === "1";
  let shown = left();

  /** @param {boolean} hidden */
  function hide(hidden) {
    isHidden = hidden;
    sessionStorage.setItem(HIDDEN, hidden ? "1" : "0");
    clock.hidden = hidden;
    toggle.textContent = hidden ? t.showTime : t.hideTime;
  }

  function tick() {
    const seconds = left();
    const passed = MOMENTS.filter((moment) => seconds <= moment && moment < shown);
    shown = seconds;
    clock.textContent = t.duration(Math.max(0, seconds));
    element.classList.toggle("ending", seconds <= ENDING);
    if (seconds <= 0) {
      clearInterval(timer);
      onEnd();
    } else if (passed.length) announce(t.timeLeft(Math.min(...passed)));
  }

  const timer = setInterval(tick, EVERY);
  hide(isHidden);
  clock.textContent = t.duration(Math.max(0, shown));
  return { element, stop: () => clearInterval(timer) };
}
