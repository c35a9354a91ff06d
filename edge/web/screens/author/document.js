// @ts-check
// A draft as the editor changes it: a quiz file in Topten's JSON, which may be unfinished. Pure.

/**
 * @typedef {{ id: string, text: string }} Choice
 * @typedef {Record<string, any> & { id: string, text: string, kind?: string }} Question
 * @typedef {Record<string, any> & { id: string, title?: string, questions?: Question[] }} Quiz
 */

export const KINDS = ["single_choice", "multiple_choice", "true_false", "numeric", "short_text", "ordering", "matching"];
export const MAX_QUESTIONS = 100;
export const MAX_CHOICES = 10;
export const MAX_ACCEPTED = 20;
const LETTERS = "abcdefghijklmnopqrstuvwxyz";
const COMMON = ["id", "text", "kind", "points", "media", "explanation"];

/** The ID that a title gives. @param {string} title */
export const slug = (title) =>
  title
    .normalize("NFKD")
    .toLowerCase()
    .replace(/[\u0300-\u036f]/g, "")
    .replace(/[^a-z0-9]+/g, "-")
    .slice(0, 64)
    .replace(/^-+|-+$/g, "");

/** The kind of a question, which a file may leave out. @param {Question} question */
export const kindOf = (question) => question.kind ?? "single_choice";

/** @param {{ id: string }[]} others @param {string[]} names */
const freeId = (others, names) => names.find((name) => others.every(({ id }) => id !== name)) ?? crypto.randomUUID();

/** @param {Choice[]} choices @returns {Choice} */
export const newChoice = (choices) => ({ id: freeId(choices, [...LETTERS]), text: "" });

/** A new question of a kind. @param {Quiz} quiz @param {string} kind @returns {Question} */
export function newQuestion(quiz, kind = "single_choice") {
  const id = freeId(quiz.questions ?? [], Array.from({ length: MAX_QUESTIONS + 1 }, (_, index) => `q${index + 1}`));
  return withKind({ id, text: "", points: 10 }, kind);
}

/**
 * A question with another kind. What the new kind has as well stays.
 * @param {Question} question
 * @param {string} kind
 * @returns {Question}
 */
export function withKind(question, kind) {
  const kept = /** @type {Question} */ (Object.fromEntries(COMMON.filter((key) => key in question).map((key) => [key, question[key]])));
  kept.kind = kind;
  /** @type {Choice[]} */
  const options = question.options?.length && question.kind !== "true_false" ? question.options : [{ id: "a", text: "" }, { id: "b", text: "" }];
  const right = [question.correct].flat().filter((id) => options.some((option) => option.id === id));
  switch (kind) {
    case "single_choice":
      return { ...kept, options, correct: right[0] ?? options[0].id };
    case "multiple_choice":
      return { ...kept, options, correct: right.length ? right : [options[0].id] };
    case "true_false":
      return { ...kept, correct: true };
    case "numeric":
      return { ...kept, correct: "" };
    case "short_text":
      return { ...kept, correct: [""] };
    case "ordering":
      return { ...kept, options, correct: options.map(({ id }) => id) };
    default:
      return { ...kept, options, targets: [{ id: "a", text: "" }, { id: "b", text: "" }], correct: { [options[0].id]: "a", [options[1].id]: "b" } };
  }
}

/** Put an item of a list at another place. @template T @param {T[]} list @param {number} from @param {number} to */
export function move(list, from, to) {
  list.splice(to, 0, ...list.splice(from, 1));
}

/** Take an option off a question, and off its key. @param {Question} question @param {number} index */
export function removeOption(question, index) {
  const [{ id }] = question.options.splice(index, 1);
  if (Array.isArray(question.correct)) question.correct = question.correct.filter((/** @type {string} */ each) => each !== id);
  else if (kindOf(question) === "matching") delete question.correct[id];
  else if (question.correct === id) question.correct = question.options[0]?.id ?? "";
  if (question.weights) delete question.weights[id];
}

/** Take a target off a question, and off its key. @param {Question} question @param {number} index */
export function removeTarget(question, index) {
  const [{ id }] = question.targets.splice(index, 1);
  for (const [option, target] of Object.entries(question.correct)) if (target === id) delete question.correct[option];
}

/** The options of an ordering in the right order, those that its key forgets at the end. @param {Question} question @returns {Choice[]} */
export const inRightOrder = (question) => {
  const place = (/** @type {Choice} */ { id }) => (question.correct.includes(id) ? question.correct.indexOf(id) : MAX_CHOICES);
  return [...question.options].sort((one, other) => place(one) - place(other));
};

/**
 * Set the right order of an ordering. Players see the options by their texts, an order that tells nothing.
 * @param {Question} question
 * @param {Choice[]} choices
 */
export function setRightOrder(question, choices) {
  question.correct = choices.map(({ id }) => id);
  question.options = [...choices].sort((one, other) => one.text.localeCompare(other.text) || one.id.localeCompare(other.id));
}

/** Weights that share 100 percent among the right options, and take the same off for each other one. @param {Question} question @returns {Record<string, number>} */
export function evenWeights({ options, correct }) {
  const share = Math.floor(100 / correct.length);
  const rest = 100 - share * correct.length;
  return Object.fromEntries(
    options.map((/** @type {Choice} */ { id }) => {
      const place = correct.indexOf(id);
      return [id, place < 0 ? -share : share + (place === 0 ? rest : 0)];
    }),
  );
}

/** A question as players get it, without its key. @param {Question} question @param {(truth: boolean) => string} nameOf */
export function shown(question, nameOf) {
  const kind = kindOf(question);
  const truths = [true, false].map((truth) => ({ id: String(truth), text: nameOf(truth) }));
  return {
    id: question.id,
    kind: kind.toUpperCase(),
    text: question.text,
    points: Number(question.points ?? 10) || 0,
    options: question.options ?? (kind === "true_false" ? truths : []),
    targets: question.targets ?? [],
    media: question.media?.url ? question.media : null,
  };
}

/** The place of a fault without what an editor does not show on its own: `questions[0].correct.a` is `questions[0].correct`. @param {string} place */
export const shorter = (place) => place.replace(/(\.[^.[]+|\[\d+\])$/, "");
