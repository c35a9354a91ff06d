// @ts-check
// Attempts at timed quizzes. The server starts them, measures their time and keeps their answers, which are sent to it as they
// change; while it or the network is away they wait in this browser. What nobody hands in, the server does at the end.

import { answerInput } from "./attempts.js";
import { untilHeard } from "./connection.js";

const SAVE_AFTER = 400;
const ANSWER = "questionId selectedOption selectedOptions text matches { option target }";
const QUESTION = "id text kind points options { id text } targets { id text } media { url alt }";
const START = `mutation ($id: ID!) { startAttempt(quizId: $id) { id quizVersion deadline acceptsUntil answers { ${ANSWER} } quiz { title questions { ${QUESTION} } } } }`;
const SAVE = "mutation ($id: ID!, $answers: [AnswerInput!]!, $cleared: [ID!]) { saveAnswers(attemptId: $id, answers: $answers, clearedQuestionIds: $cleared) { id } }";

/**
 * @typedef {import("./attempts.js").Answer} Answer
 * @typedef {import("./attempts.js").Attempt} Attempt
 */

export class TimedAttempts {
  /** @type {Set<string>} */
  #saving = new Set();

  /** @param {import("./session.js").Session} session @param {import("./attempts.js").Attempts} attempts */
  constructor(session, attempts) {
    this.session = session;
    this.attempts = attempts;
  }

  /** The player's open attempt at a timed quiz that this browser knows; null if it knows none. What is not saved yet is sent. @param {string} quizId */
  open(quizId) {
    const attempt = this.attempts.openAt(quizId, true);
    if (attempt?.unsaved?.length) this.#save(attempt.actionId); // the page was reloaded before it was sent
    return attempt;
  }

  /**
   * Start an attempt, or go on with the open one, whichever device it was started on. Throws an ApiError.
   * @param {string} quizId
   * @returns {Promise<Attempt>}
   */
  async start(quizId) {
    const started = (await this.session.request(START, { id: quizId })).startAttempt;
    const known = this.open(quizId);
    if (known && known.actionId !== started.id) this.attempts.discard(known);
    const own = known?.actionId === started.id ? known : null;
    /** @type {Attempt} */
    const attempt = {
      actionId: started.id,
      attemptId: started.id,
      userId: this.session.user?.userId ?? "",
      quizId,
      title: started.quiz.title,
      quizVersion: started.quizVersion,
      questions: started.quiz.questions,
      deadline: started.deadline,
      acceptsUntil: started.acceptsUntil,
      before: own?.before,
      unsaved: own?.unsaved ?? [],
      answers: Object.fromEntries(started.answers.map((/** @type {any} */ each) => [each.questionId, answerOf(each)])),
    };
    for (const id of attempt.unsaved ?? []) put(attempt.answers, id, own?.answers[id]);
    this.attempts.keep(attempt);
    this.#save(attempt.actionId);
    return attempt;
  }

  /** Keep an attempt whose answer to a question was changed, and send the answer to the server soon. @param {Attempt} attempt @param {string} questionId */
  changed(attempt, questionId) {
    attempt.unsaved = [...new Set([...(attempt.unsaved ?? []), questionId])];
    this.attempts.keep(attempt);
    this.#save(attempt.actionId);
  }

  /** Send what is not saved, one request after the other: the server keeps the answer that it receives last. @param {string} actionId */
  async #save(actionId) {
    if (this.#saving.has(actionId)) return;
    this.#saving.add(actionId);
    try {
      for (;;) {
        await new Promise((resolve) => setTimeout(resolve, SAVE_AFTER));
        const attempt = this.attempts.get(actionId);
        if (!attempt?.unsaved?.length || attempt.handedInAt) return;
        await this.#send(attempt, attempt.unsaved);
      }
    } finally {
      this.#saving.delete(actionId);
    }
  }

  /** @param {Attempt} attempt @param {string[]} ids */
  async #send(attempt, ids) {
    const sent = ids.map((id) => [id, JSON.stringify(attempt.answers[id])]);
    const given = ids.filter((id) => attempt.answers[id] !== undefined);
    const variables = {
      id: attempt.attemptId,
      answers: given.map((id) => answerInput(id, attempt.answers[id])),
      cleared: ids.filter((id) => !given.includes(id)),
    };
    // What is refused is not complete yet, or too late: it stays here, and is handed in with the attempt.
    await untilHeard(() => this.session.request(SAVE, variables)).catch(() => undefined);
    const now = this.attempts.get(attempt.actionId);
    if (!now || now.handedInAt) return;
    const done = sent.filter(([id, text]) => JSON.stringify(now.answers[id]) === text).map(([id]) => id);
    this.attempts.keep({ ...now, unsaved: now.unsaved?.filter((id) => !done.includes(id)) });
  }
}

/** @param {Record<string, Answer>} answers @param {string} id @param {Answer | undefined} answer */
function put(answers, id, answer) {
  if (answer === undefined) delete answers[id];
  else answers[id] = answer;
}

/** An answer of the server as a client keeps it. @param {any} saved @returns {Answer} */
function answerOf({ selectedOption, selectedOptions, text, matches }) {
  if (selectedOption) return selectedOption;
  if (selectedOptions) return { selectedOptions };
  return matches ? { matches } : { text };
}
