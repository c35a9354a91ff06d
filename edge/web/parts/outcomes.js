// @ts-check
// How each question of an attempt was judged: in words, by a shape and by a color.

import { linesOf } from "./answers.js";
import { create } from "./dom.js";
import { t } from "./text.js";

/**
 * @param {import("../client/attempts.js").Result} result
 * @param {any[]} questions those of the version that was judged; empty if it is not known
 * @param {Record<string, import("../client/attempts.js").Answer>} answers the player's; empty if they are not on this device
 * @returns {HTMLElement[]} the list; empty if the quiz tells nothing about single questions
 */
export function outcomeList({ outcomes = [] }, questions, answers) {
  if (!outcomes.length) return [];
  const items = outcomes.map(({ questionId, verdict, points, correct, explanation }, index) => {
    const question = questions.find((each) => each.id === questionId);
    const given = answers[questionId];
    const facts = [
      question && given !== undefined && fact(t.yourAnswer, linesOf(question, given)),
      question && correct && verdict !== "RIGHT" && fact(t.rightAnswer, linesOf(question, correct)),
      explanation && fact(t.explanation, [explanation]),
    ].filter(Boolean);
    return create(
      "li",
      { className: "outcome", dataset: { verdict } },
      create("h3", { dir: "auto" }, question?.text ?? t.questionNumber(index + 1)),
      create("p", { className: "verdict" }, `${/** @type {any} */ (t.verdicts)[verdict]} · ${t.points(points)}`),
      facts.length > 0 && create("dl", {}, ...facts.flat()),
    );
  });
  return [create("section", { className: "card" }, create("h2", {}, t.outcomes), create("ol", { className: "outcomes" }, ...items))];
}

/** @param {string} name @param {string[]} lines */
const fact = (name, lines) => [create("dt", {}, name), ...lines.map((line) => create("dd", { dir: "auto" }, line))];
