// @ts-check
// A question as everybody in a room sees it. An option has a text, a shape with a number, and a color; at the reveal it also
// says whether it was right and how many selected it.

import { linesOf } from "../answers.js";
import { create } from "../dom.js";
import { t } from "../text.js";

/** @typedef {import("../../client/rooms.js").Room} Room */

const WITHOUT_CHOICE = ["NUMERIC", "SHORT_TEXT", "ORDERING", "MATCHING"];

/** Whether the players select options. @param {any} question */
export const hasChoices = (question) => !WITHOUT_CHOICE.includes(question.kind);

/** The options that a form's answer, or one of the API, selects. @param {any} answer @returns {string[]} */
const selectedIn = (answer) => (typeof answer === "string" ? [answer] : (answer?.selectedOptions ?? (answer?.selectedOption ? [answer.selectedOption] : [])));

/**
 * The options of a question, or what takes their place for kinds without any.
 * @param {Room} room
 * @param {any} [own] the player's answer
 * @returns {HTMLElement}
 */
export function choicesOf(room, own) {
  const { question, rightAnswer, distribution, answered } = room;
  const isRevealed = room.phase === "REVEAL";
  if (!hasChoices(question)) return isRevealed ? rightLines(question, rightAnswer) : given(question);
  const right = selectedIn(rightAnswer);
  const selected = selectedIn(own);
  const items = question.options.map((/** @type {any} */ option, /** @type {number} */ index) => {
    const count = distribution.find((each) => each.optionId === option.id)?.count ?? 0;
    const isRight = right.includes(option.id);
    const item = create(
      "li",
      { className: "choice", dataset: isRevealed ? { right: String(isRight) } : {} },
      create("kbd", { "aria-hidden": "true" }, t.number(index + 1)),
      create("bdi", {}, option.text),
      selected.includes(option.id) && create("span", { className: "you" }, t.you),
      isRight && create("span", { className: "right" }, t.verdicts.RIGHT),
      isRevealed && create("span", { className: "votes" }, create("span", { "aria-hidden": "true" }, t.number(count)), create("span", { className: "visually-hidden" }, t.players(count))),
      isRevealed && create("span", { className: "share", "aria-hidden": "true" }),
    );
    item.style.setProperty("--share", String(answered ? count / answered : 0));
    return item;
  });
  return create("ol", { className: "choices", dataset: { count: String(items.length) } }, ...items);
}

/** What is to be put in order or matched; for a text or a number, where to write it. @param {any} question */
function given(question) {
  const list = (/** @type {any[]} */ options) => create("ul", { className: "given" }, ...options.map((each) => create("li", {}, create("bdi", {}, each.text))));
  if (question.kind === "ORDERING") return create("div", { className: "givens" }, create("p", { className: "hint" }, t.orderRule), list(question.options));
  if (question.kind === "MATCHING") return create("div", { className: "givens pairs" }, list(question.options), list(question.targets));
  return create("p", { className: "hint write" }, t.room.write);
}

/** @param {any} question @param {any} answer */
const rightLines = (question, answer) =>
  create(
    "div",
    { className: "right-answer" },
    create("p", { className: "hint" }, t.room.rightAnswer),
    ...(answer ? linesOf(question, answer) : []).map((line) => create("p", { className: "right-line", dir: "auto" }, line)),
  );

/** Why the right answer is right, once that is shown. @param {Room} room */
export const explanationOf = ({ explanation }) => explanation && create("p", { className: "explanation", dir: "auto" }, explanation);

/** The question itself, with its picture. @param {any} question @param {"h1" | "h2"} [heading] */
export const questionText = (question, heading = "h1") => [
  create(heading, { id: "question", dir: "auto" }, question.text),
  question.media && create("img", { className: "picture", src: question.media.url, alt: question.media.alt }),
];
