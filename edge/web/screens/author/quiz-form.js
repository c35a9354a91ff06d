// @ts-check
// The form of what is true of the whole quiz: title, tags, attempts, time limit, feedback, scoring, rooms, schedule.

import { create } from "../../parts/dom.js";
import { t } from "../../parts/text.js";
import { checkbox, field, group, select, textArea, textInput } from "./fields.js";

const COUNTS = ["best", "first", "last", "average", "sum"];
const FEEDBACK = ["none", "outcomes", "answers", "answers_after_last_attempt", "answers_after_close"];
const PRESETS = ["standard", "negative", "streak", "timed"];
const OWN = "own";
const DEFAULT_GRACE = 10;

/**
 * @param {import("./document.js").Quiz} quiz
 * @param {import("./question-form.js").Editing} editing
 */
export function quizForm(quiz, editing) {
  /** @param {string} key @param {any} value */
  const set = (key, value) => {
    if (value === undefined || value === "") delete quiz[key];
    else quiz[key] = value;
    editing.changed();
  };
  const tags = (quiz.tags ?? []).join(", ");
  const names = (/** @type {string[]} */ values, /** @type {Record<string, string>} */ words) => /** @type {[string, string][]} */ (values.map((each) => [each, words[each]]));
  const attempts = quiz.attempts ?? {};
  const setAttempts = (/** @type {Record<string, any>} */ change) => set("attempts", { max: 0, counts: "best", ...quiz.attempts, ...change });
  const { limitSeconds, graceSeconds } = quiz.timing ?? {};
  const grace = field(
    t.author.grace,
    textInput(String(graceSeconds ?? DEFAULT_GRACE), (value) => set("timing", { ...quiz.timing, graceSeconds: wholeNumber(value) }), { inputMode: "numeric" }),
    { place: "timing.graceSeconds", rule: t.author.graceRule },
  );
  grace.hidden = !quiz.timing;
  /** Without a limit there is no timing at all. @param {string} value */
  const setLimit = (value) => {
    grace.hidden = !value;
    set("timing", value ? { graceSeconds: DEFAULT_GRACE, ...quiz.timing, limitSeconds: wholeNumber(value) } : undefined);
  };
  const scoring = typeof quiz.scoring === "object" ? OWN : (quiz.scoring ?? "standard");
  return create(
    "div",
    { className: "question-form" },
    field(t.author.title, textInput(quiz.title ?? "", (value) => set("title", value), { maxLength: 120, dataset: { key: "title" } }), { place: "title" }),
    field(t.author.description, textArea(quiz.description ?? "", (value) => set("description", value), { maxLength: 1000 }), { place: "description" }),
    field(t.author.tags, textInput(tags, (value) => set("tags", split(value))), { place: "tags", rule: t.author.tagsRule }),
    create(
      "div",
      { className: "pair" },
      field(
        t.author.attempts,
        textInput(String(attempts.max ?? 0), (value) => setAttempts({ max: wholeNumber(value) }), { inputMode: "numeric" }),
        { place: "attempts.max", rule: t.author.attemptsRule },
      ),
      field(t.author.counts, select(names(COUNTS, t.author.counting), attempts.counts ?? "best", (value) => setAttempts({ counts: value })), { place: "attempts.counts" }),
      field(
        t.author.cooldown,
        textInput(String(attempts.cooldownSeconds ?? 0), (value) => setAttempts({ cooldownSeconds: wholeNumber(value) }), { inputMode: "numeric" }),
        { place: "attempts.cooldownSeconds", rule: t.author.cooldownRule },
      ),
    ),
    create(
      "div",
      { className: "pair", dataset: { place: "timing" } },
      field(t.author.limit, textInput(String(limitSeconds ?? ""), setLimit, { inputMode: "numeric" }), { place: "timing.limitSeconds", rule: t.author.limitRule }),
      grace,
    ),
    field(t.author.feedback, select(names(FEEDBACK, t.author.feedbacks), quiz.feedback ?? "none", (value) => set("feedback", value)), { place: "feedback" }),
    field(
      t.author.scoring,
      select(names(scoring === OWN ? [OWN, ...PRESETS] : PRESETS, t.author.presets), scoring, (value) => value !== OWN && set("scoring", value)),
      { place: "scoring" },
    ),
    group("roomsCountOnBoards", checkbox(t.author.roomsCount, quiz.roomsCountOnBoards === true, (on) => set("roomsCountOnBoards", on || undefined))),
    create(
      "div",
      { className: "pair" },
      field(t.author.opens, timeInput(quiz.opensAt, (value) => set("opensAt", value)), { place: "opensAt", rule: t.author.opensRule }),
      field(t.author.closes, timeInput(quiz.closesAt, (value) => set("closesAt", value)), { place: "closesAt", rule: t.author.closesRule }),
    ),
  );
}

/** @param {string} text @returns {string[] | undefined} */
function split(text) {
  const tags = text.split(",").map((each) => each.trim()).filter(Boolean);
  return tags.length ? [...new Set(tags)] : undefined;
}

/** What a field of a whole number says; as it was typed if it is none, which the server then names as a fault. @param {string} value */
const wholeNumber = (value) => (/^\d{1,7}$/.test(value) ? Number(value) : value);

/** A time on the author's clock. @param {string | null | undefined} value @param {(value: string | undefined) => void} onInput */
export const timeInput = (value, onInput = () => {}) =>
  create("input", {
    type: "datetime-local",
    value: value ? localTime(new Date(value)) : "",
    oninput: (/** @type {any} */ event) => onInput(timeOf(event.target.value) ?? undefined),
  });

/** @param {Date} date */
function localTime(date) {
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** The time that a field says, null for none. @param {string} value */
export const timeOf = (value) => (value ? new Date(value).toISOString() : null);
