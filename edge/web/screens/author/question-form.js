// @ts-check
// The form of a question: what all kinds have. What is particular to a kind is in `keys.js`.

import { create } from "../../parts/dom.js";
import { t } from "../../parts/text.js";
import { KINDS, kindOf, withKind } from "./document.js";
import { field, select, textArea, textInput } from "./fields.js";
import { keyForm } from "./keys.js";

/**
 * What a form may do: `changed` notes a change of a text, `redraw` shows the form again after a change of its structure, with
 * the focus on the element with this key or, without one, where it was.
 * @typedef {object} Editing
 * @property {() => void} changed
 * @property {(key?: string) => void} redraw
 * @property {(text: string) => void} announce
 */

/**
 * @param {import("./document.js").Quiz} quiz
 * @param {number} index
 * @param {Editing} editing
 */
export function questionForm(quiz, index, editing) {
  const questions = /** @type {import("./document.js").Question[]} */ (quiz.questions);
  const question = questions[index];
  const path = `questions[${index}]`;
  /** @param {string} key @returns {(value: string) => void} */
  const set = (key) => (value) => {
    if (value) question[key] = value;
    else delete question[key];
    editing.changed();
  };
  const kind = select(
    KINDS.map((each) => [each, t.author.kinds[each]]),
    kindOf(question),
    (value) => {
      questions[index] = withKind(question, value);
      editing.redraw("kind");
    },
    { dataset: { key: "kind" } },
  );
  const points = textInput(String(question.points ?? 10), (value) => {
    question.points = /^\d{1,6}$/.test(value) ? Number(value) : value;
    editing.changed();
  }, { inputMode: "numeric" });
  const text = textArea(question.text, (value) => {
    question.text = value;
    editing.changed();
  }, { maxLength: 500, dataset: { key: "text" } });
  const explanation = textArea(question.explanation, set("explanation"), { maxLength: 1000 });
  return create(
    "div",
    { className: "question-form" },
    field(t.author.text, text, { place: `${path}.text` }),
    create(
      "div",
      { className: "pair" },
      field(t.author.kind, kind, { place: `${path}.kind` }),
      field(t.author.points, points, { place: `${path}.points`, rule: t.author.pointsRule }),
    ),
    keyForm(question, path, editing),
    field(t.author.explanation, explanation, { place: `${path}.explanation`, rule: t.author.explanationRule }),
    pictureFields(question, path, editing),
  );
}

/** @param {import("./document.js").Question} question @param {string} path @param {Editing} editing */
function pictureFields(question, path, editing) {
  const set = (/** @type {string} */ key) => (/** @type {string} */ value) => {
    question.media = { url: "", alt: "", ...question.media, [key]: value };
    if (!question.media.url && !question.media.alt) delete question.media;
    editing.changed();
  };
  return create(
    "details",
    { className: "picture-fields", open: Boolean(question.media) },
    create("summary", {}, t.author.picture),
    field(t.author.pictureUrl, textInput(question.media?.url, set("url"), { type: "url", inputMode: "url" }), { place: `${path}.media.url`, rule: t.author.pictureUrlRule }),
    field(t.author.pictureAlt, textInput(question.media?.alt, set("alt")), { place: `${path}.media.alt`, rule: t.author.pictureAltRule }),
  );
}
