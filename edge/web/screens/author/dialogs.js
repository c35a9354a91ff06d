// @ts-check
// What an author is asked before a quiz is scheduled, copied, exported, judged again or archived.

import { ApiError } from "../../client/index.js";
import { create } from "../../parts/dom.js";
import { bytesOf, download } from "../../parts/download.js";
import { t } from "../../parts/text.js";
import { notesOf } from "../mod/acts.js";
import { ask } from "../mod/dialog.js";
import { slug } from "./document.js";
import { QUIZ } from "./drafts.js";
import { timeInput, timeOf } from "./quiz-form.js";

const SCHEDULE = `mutation ($input: ScheduleQuizInput!) { scheduleQuiz(input: $input) ${QUIZ} }`;
const ARCHIVE = `mutation ($id: ID!) { archiveQuiz(id: $id) ${QUIZ} }`;
const COPY = "mutation ($id: ID!, $copy: ID!) { duplicateQuiz(id: $id, copyId: $copy) { quiz { id } } }";
const EXPORT = "query ($id: ID!, $format: QuizFileFormat!) { exportQuiz(id: $id, format: $format) { name base64 lost } }";
const REJUDGE = "mutation ($id: ID!, $dryRun: Boolean!, $reason: String) { rejudgeQuiz(quizId: $id, dryRun: $dryRun, reason: $reason) { actions changed playerCount points closedPeriodsUnchanged } }";
const FORMATS = ["JSON", "GIFT", "AIKEN", "CSV", "XLSX", "MOODLE", "QTI"];

/** @param {any} session @param {import("./drafts.js").Draft} draft @param {(quiz: any, text: string) => Promise<void>} take */
export async function schedule(session, draft, take) {
  await draft.flush();
  const { quiz } = draft;
  /** @type {any} */
  let changed = null;
  await ask({
    title: t.author.scheduleOf(quiz.title),
    why: t.author.scheduleWhy,
    verb: t.author.schedule.replace("…", ""),
    done: "",
    reason: null,
    changes: [],
    fields: [
      { name: "opensAt", label: t.author.opens, rule: t.author.opensRule, input: timeInput(quiz.opensAt) },
      { name: "closesAt", label: t.author.closes, rule: t.author.closesRule, input: timeInput(quiz.closesAt) },
    ],
    send: async ({ opensAt, closesAt }) => {
      const input = { quizId: quiz.id, opensAt: timeOf(opensAt), closesAt: timeOf(closesAt), version: quiz.version };
      changed = (await session.request(SCHEDULE, { input })).scheduleQuiz;
      return { changes: [] };
    },
  });
  if (changed) await take(changed, t.author.scheduled);
}

/** @param {import("../../app.js").App} app @param {import("./drafts.js").Draft} draft */
export async function copy(app, draft) {
  await draft.flush();
  const { id, title } = draft.quiz;
  let made = "";
  await ask({
    title: t.author.copyOf(title),
    verb: t.author.copyVerb,
    done: "",
    reason: null,
    changes: [],
    fields: [{ name: "copyId", label: t.author.id, rule: t.author.idRule, input: create("input", { value: slug(`${id.slice(0, 58)}-copy`), maxLength: 64 }) }],
    send: async ({ copyId }) => {
      try {
        await app.session.request(COPY, { id, copy: copyId });
      } catch (error) {
        if (error instanceof ApiError && error.reason === "VERSION_CONFLICT") throw new ApiError("INVALID_ARGUMENT", `copyId: ${t.author.idTaken}`);
        throw error;
      }
      made = copyId;
      return { changes: [] };
    },
  });
  if (made) await app.router.go(`/author/q/${encodeURIComponent(made)}`);
}

/** @param {any} session @param {import("./drafts.js").Authored} quiz @param {(text: string) => void} notify */
export async function exportFile(session, quiz, notify) {
  const format = create("select", {}, ...FORMATS.map((each) => create("option", { value: each }, t.author.formats[each])));
  await ask({
    title: t.author.exportOf(quiz.title),
    why: t.author.exportWhy,
    verb: t.author.download,
    done: "",
    reason: null,
    changes: [],
    fields: [{ name: "format", label: t.author.format, input: format }],
    send: async (values) => {
      const { name, base64, lost } = (await session.request(EXPORT, { id: quiz.id, format: values.format })).exportQuiz;
      download(bytesOf(base64), name);
      notify(lost.length ? t.author.lost(name, lost) : t.author.exported(name));
      return { changes: [] };
    },
  });
}

/** @param {any} session @param {import("./drafts.js").Authored} quiz @param {(text: string) => void} notify */
export async function rejudge(session, quiz, notify) {
  const result = create("output", {});
  await ask({
    title: t.author.rejudgeOf(quiz.title),
    why: t.author.rejudgeWhy,
    verb: t.author.rejudgeVerb,
    done: "",
    reasonRule: t.author.rejudgeRule,
    changes: [{ label: t.author.effect, before: "", after: () => result.textContent || "…" }],
    prepare: async () => {
      const found = (await session.request(REJUDGE, { id: quiz.id, dryRun: true })).rejudgeQuiz;
      result.textContent = withNotes(t.author.wouldChange(found), found);
    },
    send: async ({ reason }) => {
      const found = (await session.request(REJUDGE, { id: quiz.id, dryRun: false, reason })).rejudgeQuiz;
      notify(withNotes(t.author.rejudged(found), found));
      return { changes: [] };
    },
  });
}

/** @param {string} text @param {{ closedPeriodsUnchanged: string[] | null }} found */
const withNotes = (text, { closedPeriodsUnchanged }) => [text, ...notesOf({ boardsChanged: [], closedPeriodsUnchanged })].join(" ");

/** @param {any} session @param {import("./drafts.js").Authored} quiz @param {(quiz: any, text: string) => Promise<void>} take */
export async function archive(session, quiz, take) {
  /** @type {any} */
  let archived = null;
  await ask({
    title: t.author.archiveOf(quiz.title),
    why: t.author.archiveWhy,
    verb: t.author.archive.replace("…", ""),
    done: "",
    reason: null,
    changes: [],
    send: async () => {
      archived = (await session.request(ARCHIVE, { id: quiz.id })).archiveQuiz;
      return { changes: [] };
    },
  });
  if (archived) await take(archived, t.author.archived);
}
