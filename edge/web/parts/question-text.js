// @ts-check
// What a question asks: its quiz, points, text and picture.

import { create } from "./dom.js";
import { t } from "./text.js";

/**
 * @param {string} title of the quiz
 * @param {any} question
 * @param {...Node} children
 */
export const questionText = (title, question, ...children) =>
  create(
    "div",
    { className: "question-text" },
    create("p", { className: "hint" }, create("bdi", {}, title), ` · ${t.points(question.points)}`),
    create("h1", { id: "question" }, create("bdi", {}, question.text)),
    question.media && create("img", { className: "picture", src: question.media.url, alt: question.media.alt }),
    ...children,
  );
