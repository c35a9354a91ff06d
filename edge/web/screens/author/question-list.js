// @ts-check
// The questions of a quiz beside the form: where each leads, which have faults, and buttons that order them.

import { create, link } from "../../parts/dom.js";
import { t } from "../../parts/text.js";
import { kindOf } from "./document.js";

/**
 * @param {object} options
 * @param {string} options.address of the quiz
 * @param {import("./document.js").Question[]} options.questions
 * @param {number} options.current the question that is shown, from 1; 0 for the quiz as a whole
 * @param {import("./drafts.js").Fault[]} options.faults
 * @param {(index: number, by: number) => void} options.onMove
 */
export function questionList({ address, questions, current, faults, onMove }) {
  const isWrong = (/** @type {(place: string) => boolean} */ matches) => faults.some(({ place }) => matches(place));
  const mark = (/** @type {boolean} */ wrong) => wrong && create("span", { className: "mark", role: "img", "aria-label": t.author.hasFaults });
  const item = (/** @type {import("./document.js").Question} */ question, /** @type {number} */ index) => {
    const name = question.text || t.author.noText;
    const to = link(
      `${address}/${index + 1}`,
      create("span", { className: "n" }, t.number(index + 1)),
      { "aria-current": index + 1 === current ? "page" : null, dataset: { key: `question-${index}` } },
    );
    to.append(create("span", { className: "what" }, create("bdi", {}, name), create("small", {}, t.author.kinds[kindOf(question)] ?? kindOf(question))));
    if (isWrong((place) => place === `questions[${index}]` || place.startsWith(`questions[${index}].`))) to.append(mark(true));
    const mover = (/** @type {number} */ by, /** @type {string} */ label, /** @type {string} */ direction) =>
      create("button", {
        type: "button",
        className: `quiet mover ${direction}`,
        "aria-label": label,
        "aria-disabled": String(index + by < 0 || index + by >= questions.length),
        dataset: { key: `question-${index}-${direction}` },
        onclick: () => onMove(index, by),
      });
    const row = create("li", {}, to, create("span", { className: "row-buttons" }, mover(-1, t.moveUp(t.author.question(index + 1)), "up"), mover(1, t.moveDown(t.author.question(index + 1)), "down")));
    row.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!event.altKey || !by) return;
      event.preventDefault();
      onMove(index, by);
    });
    return row;
  };
  const whole = link(address, t.author.aboutQuiz, { className: "whole", "aria-current": current ? null : "page", dataset: { key: "whole" } });
  const wrong = mark(isWrong((place) => !place.startsWith("questions[")));
  if (wrong) whole.append(wrong);
  return create("ol", { className: "question-list" }, create("li", {}, whole), ...questions.map(item));
}
