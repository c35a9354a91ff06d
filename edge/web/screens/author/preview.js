// @ts-check
// A question as players see it: by the player's own component, with nowhere to hand an answer in.

import { answerForm } from "../../parts/answer-form.js";
import { create } from "../../parts/dom.js";
import { questionText } from "../../parts/question-text.js";
import { t } from "../../parts/text.js";
import { shown } from "./document.js";

/**
 * @param {import("./document.js").Quiz} quiz
 * @param {import("./document.js").Question} question
 */
export function preview(quiz, question) {
  const seen = shown(question, t.author.truth);
  const form = create(
    "div",
    { className: "preview-question" },
    questionText(quiz.title ?? "", seen),
    answerForm(seen, undefined, () => {}, () => {}).element,
  );
  return form;
}
