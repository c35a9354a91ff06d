// @ts-check
// Answers in words, and whether they are complete.

import { t } from "./text.js";

/** @typedef {import("../client/attempts.js").Answer} Answer */

const NUMBER = /^[+-]?\d{1,18}([.,]\d{1,12})?$/;

/** Whether the server reads a text as a number. @param {string} text */
export const isNumber = (text) => NUMBER.test(text.trim().replace("\u2212", "-"));

/**
 * Whether a question needs no more from the player.
 * @param {any} question
 * @param {Answer | undefined} answer
 */
export const isComplete = (question, answer) =>
  answer !== undefined && (typeof answer === "string" || !("matches" in answer) || answer.matches.length === question.options.length);

/**
 * The lines in which an answer is shown: one for each match, otherwise one.
 * @param {any} question
 * @param {any} answer an Answer, or one of the API's, whose other forms are null
 * @returns {string[]}
 */
export function linesOf(question, answer) {
  const optionOf = (/** @type {string} */ id) => textIn(question.options, id);
  if (typeof answer === "string") return [optionOf(answer)];
  if (answer.selectedOption) return [optionOf(answer.selectedOption)];
  if (answer.matches) {
    return answer.matches.map((/** @type {any} */ match) => `${optionOf(match.option)} – ${textIn(question.targets, match.target)}`);
  }
  if (answer.selectedOptions) {
    const texts = answer.selectedOptions.map(optionOf);
    return question.kind === "ORDERING" ? texts.map((/** @type {string} */ text, /** @type {number} */ index) => `${t.number(index + 1)}. ${text}`) : texts;
  }
  return [answer.text];
}

/** @param {any[]} options @param {string} id @returns {string} */
const textIn = (options, id) => options.find((each) => each.id === id)?.text ?? id;
