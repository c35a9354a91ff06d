// @ts-check
// Attempts at quizzes. An attempt is kept in this browser until the player signs out, and is handed in until the server has
// said what became of it: under one action id, so that it counts once however often it is sent.

import { ApiError, serverNow, untilHeard } from "./connection.js";

const PREFIX = "topten:attempt:";
const MAX_KEPT = 20;
// How long after the end of an attempt the server has handed it in for sure.
const SERVER_HANDS_IN = 120_000;
const RESULT = "quizId quizVersion duplicate pointsAwarded correctAnswers totalQuestions outcomes { questionId verdict points explanation correct { selectedOption selectedOptions text matches { option target } } }";
const SUBMIT = `mutation ($input: QuizActionInput!) { submitQuizAction(input: $input) { ${RESULT} } }`;
const REVIEW = `query ($actionId: ID!) { reviewAction(actionId: $actionId) { ${RESULT} } }`;

/**
 * An answer in the form that the kind of its question has; a string is the selected option.
 * @typedef {string | { selectedOptions: string[] } | { text: string } | { matches: { option: string, target: string }[] }} Answer
 */

/**
 * @typedef {object} Quiz what an attempt needs to know of a quiz; without version and questions, the current ones are meant
 * @property {string} id
 * @property {string} title
 * @property {number} [version]
 * @property {any[]} [questions]
 */

/**
 * @typedef {object} Result
 * @property {string} quizId
 * @property {number | null} quizVersion
 * @property {number} pointsAwarded
 * @property {number} correctAnswers
 * @property {number} totalQuestions
 * @property {boolean} duplicate
 * @property {{ questionId: string, verdict: string, points: number, explanation: string | null, correct: any }[]} [outcomes]
 */

/**
 * @typedef {object} Attempt
 * @property {string} actionId
 * @property {string} userId
 * @property {string} quizId
 * @property {string} title
 * @property {number} [quizVersion] the version of the quiz that the player sees
 * @property {any[]} [questions] its questions
 * @property {Record<string, Answer>} answers by question
 * @property {string} [attemptId] the attempt that the server has started, of a timed quiz
 * @property {string | null} [deadline] when its time is up; null without a limit
 * @property {string | null} [acceptsUntil] until when the server takes answers
 * @property {string[]} [unsaved] the questions whose answers the server does not have yet
 * @property {boolean} [isTimeUp] whether it was handed in because its time was up
 * @property {string[]} [changed] the questions whose answers were dropped because the quiz was changed; absent if it was not
 * @property {{ rank: number | null, score: number }} [before] the player's standing when the attempt began
 * @property {Result} [result]
 * @property {number} [handedInAt] in milliseconds of the server's clock; absent while the attempt is open
 */

/** The attempts of this browser: the open ones, and the last results. */
export class Attempts {
  /** @type {Map<string, { done: Promise<Attempt>, listeners: Set<(error: import("./connection.js").ApiError) => void> }>} */
  #underWay = new Map();

  /** @param {import("./session.js").Session} session @param {Storage} [storage] */
  constructor(session, storage = localStorage) {
    this.session = session;
    this.storage = storage;
  }

  /**
   * The open attempt of the signed-in player at a quiz; a new one if there is none. If the quiz was changed after it began,
   * the attempt goes on with the new version, and keeps the answers to questions that are still the same.
   * @param {Quiz} quiz
   */
  open(quiz) {
    const userId = this.session.user?.userId ?? "";
    const open = this.openAt(quiz.id);
    /** @type {Attempt} */
    const attempt = open ?? { actionId: crypto.randomUUID(), userId, quizId: quiz.id, title: quiz.title, answers: {} };
    if (attempt.quizVersion !== quiz.version) moveTo(quiz, attempt);
    this.keep(attempt);
    return attempt;
  }

  /**
   * The open attempt of the signed-in player at a quiz that this browser knows; null if there is none.
   * @param {string} quizId
   * @param {boolean} [isTimed] whether one that the server has started is meant
   */
  openAt(quizId, isTimed = false) {
    const userId = this.session.user?.userId ?? "";
    return this.#all().find((each) => each.quizId === quizId && each.userId === userId && !each.handedInAt && Boolean(each.attemptId) === isTimed) ?? null;
  }

  /** @param {string} actionId @returns {Attempt | null} */
  get(actionId) {
    const text = this.storage.getItem(PREFIX + actionId);
    return text && JSON.parse(text);
  }

  /** @param {Attempt} attempt */
  keep(attempt) {
    this.storage.setItem(PREFIX + attempt.actionId, JSON.stringify(attempt));
  }

  /** @param {Attempt} attempt */
  discard(attempt) {
    this.storage.removeItem(PREFIX + attempt.actionId);
  }

  /** Remove everything that belongs to a player, at a sign-out. */
  clear() {
    for (const attempt of this.#all()) this.discard(attempt);
  }

  /**
   * Hand in an attempt and return it with its result. While the server or the network is away it tries again by itself,
   * and calls `onWaiting`. Throws the ApiError of a refusal, after which the attempt is open again.
   * @param {Attempt} attempt
   * @param {(error: import("./connection.js").ApiError) => void} [onWaiting]
   * @returns {Promise<Attempt>}
   */
  handIn(attempt, onWaiting) {
    const listeners = this.#underWay.get(attempt.actionId)?.listeners ?? new Set();
    if (onWaiting) listeners.add(onWaiting);
    const done =
      this.#underWay.get(attempt.actionId)?.done ??
      this.#handIn(attempt, listeners).finally(() => this.#underWay.delete(attempt.actionId));
    this.#underWay.set(attempt.actionId, { done, listeners });
    return done;
  }

  /**
   * Hand in what the signed-in player handed in before and the server has not said a word about: the tab was closed, or the
   * network was away. An attempt that is refused is open again.
   */
  async handInPending() {
    const userId = this.session.user?.userId;
    const pending = this.#all().filter((each) => each.userId === userId && each.handedInAt && !each.result);
    return (await Promise.allSettled(pending.map((each) => this.handIn(each)))).flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  }

  /** @param {Attempt} attempt @param {Set<(error: import("./connection.js").ApiError) => void>} listeners */
  async #handIn(attempt, listeners) {
    const handedIn = { ...attempt, handedInAt: attempt.handedInAt ?? serverNow() };
    this.keep(handedIn);
    try {
      const result = await untilHeard(
        () => this.#submit(attempt),
        (error) => listeners.forEach((listener) => listener(error)),
      );
      const done = { ...handedIn, result };
      this.keep(done);
      this.#discardOldest();
      return done;
    } catch (error) {
      this.keep({ ...attempt, handedInAt: undefined });
      throw error;
    }
  }

  /** @param {Attempt} attempt */
  async #submit({ quizId, quizVersion, actionId, attemptId, acceptsUntil, answers, isTimeUp }) {
    const input = {
      quizId,
      quizVersion,
      actionId,
      attemptId,
      answers: Object.entries(answers).map(([questionId, answer]) => answerInput(questionId, answer)),
      timestamp: new Date(serverNow()).toISOString(),
    };
    try {
      return (await this.session.request(SUBMIT, { input })).submitQuizAction;
    } catch (error) {
      const { reason } = /** @type {ApiError} */ (error);
      // An answer that is not complete when the time is up keeps no other from being handed in: the server has those.
      const isOver = attemptId && (reason === "ATTEMPT_CLOSED" || (isTimeUp && reason === "INVALID_ARGUMENT"));
      if (!isOver) throw error;
      return this.#handedInByServer(actionId, acceptsUntil);
    }
  }

  /** The result of an attempt that the server hands in, or another device has. @param {string} actionId @param {string | null} [acceptsUntil] */
  async #handedInByServer(actionId, acceptsUntil) {
    try {
      return await this.review(actionId);
    } catch (error) {
      const isSoon = acceptsUntil && serverNow() < Date.parse(acceptsUntil) + SERVER_HANDS_IN;
      throw isSoon && /** @type {ApiError} */ (error).reason === "ACTION_NOT_FOUND" ? new ApiError("UNAVAILABLE", "", 1) : error;
    }
  }

  /**
   * How an attempt was judged, on any device and as far as the player may know it by now. Throws an ApiError.
   * @param {string} actionId
   * @returns {Promise<Result>}
   */
  async review(actionId) {
    return (await this.session.request(REVIEW, { actionId })).reviewAction;
  }

  #discardOldest() {
    const done = this.#all().filter((attempt) => attempt.result);
    done.sort((a, b) => (b.handedInAt ?? 0) - (a.handedInAt ?? 0));
    for (const attempt of done.slice(MAX_KEPT)) this.discard(attempt);
  }

  /** @returns {Attempt[]} */
  #all() {
    return Object.keys(this.storage)
      .filter((key) => key.startsWith(PREFIX))
      .map((key) => JSON.parse(this.storage.getItem(key) ?? "null"));
  }
}

/** The GraphQL input of an answer. @param {string} questionId @param {Answer} answer */
export const answerInput = (questionId, answer) => ({ questionId, ...givenAnswer(answer) });

/** An answer as a `GivenAnswerInput`. @param {Answer} answer */
export const givenAnswer = (answer) => (typeof answer === "string" ? { selectedOption: answer } : answer);

/** Go on with another version of the quiz. @param {Quiz} quiz @param {Attempt} attempt */
function moveTo(quiz, attempt) {
  const before = new Map(attempt.questions?.map((question) => [question.id, textOf(question)]));
  const after = new Map(quiz.questions?.map((question) => [question.id, textOf(question)]));
  /** @param {string} id */
  const isSame = (id) => !quiz.questions || (after.has(id) && (!before.has(id) || before.get(id) === after.get(id)));
  const [kept, dropped] = [true, false].map((same) => Object.keys(attempt.answers).filter((id) => isSame(id) === same));
  if (kept.length + dropped.length > 0 && attempt.quizVersion) attempt.changed = [...(attempt.changed ?? []), ...dropped];
  attempt.answers = Object.fromEntries(kept.map((id) => [id, attempt.answers[id]]));
  attempt.quizVersion = quiz.version;
  attempt.questions = quiz.questions;
}

/** What an answer to a question depends on. @param {any} question */
const textOf = ({ text, kind, options, targets }) => JSON.stringify([text, kind, options, targets]);
