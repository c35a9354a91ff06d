// @ts-check
// `/q/:quiz/:n` one question, `/q/:quiz/review` before handing in.

import { ApiError } from "../client/index.js";
import { answerForm } from "../parts/answer-form.js";
import { isComplete, linesOf } from "../parts/answers.js";
import { countdown } from "../parts/countdown.js";
import { button, create, link } from "../parts/dom.js";
import { onKeys } from "../parts/keys.js";
import { questionText } from "../parts/question-text.js";
import { quizOf } from "../parts/quiz.js";
import { refusal, t } from "../parts/text.js";

const BEFORE = "{ leaderboard(first: 1) { me { rank score } } }";

/**
 * @typedef {import("../app.js").App} App
 * @typedef {import("../client/attempts.js").Attempt} Attempt
 */

/** @param {App} app @param {{ quiz: string, n: string }} params */
export const showQuestion = (app, { quiz: id, n: text }) =>
  withAttempt(app, id, (quiz, attempt) => {
    const n = Number(text);
    const question = quiz.questions[n - 1];
    if (!question) return app.notFound();
    noteStanding(app, attempt);
    const count = quiz.questions.length;
    const changed = create("p", { className: "notice" }, t.questionChanged);
    changed.hidden = !attempt.changed?.includes(question.id);
    const answer = answerForm(question, attempt.answers[question.id], (given) => {
      if (given === undefined) delete attempt.answers[question.id];
      else attempt.answers[question.id] = given;
      attempt.changed = attempt.changed?.filter((each) => each !== question.id);
      if (attempt.attemptId) app.timed.changed(attempt, question.id);
      else app.attempts.keep(attempt);
    }, app.announce);
    const after = () => {
      if (answer.check && !answer.check()) return;
      app.router.go(n === count ? `${address(quiz)}/review` : `${address(quiz)}/${n + 1}`);
    };
    const clock = clockOf(app, attempt);
    const form = create(
      "form",
      { className: "question" },
      progress(quiz, n),
      clock?.element,
      questionText(quiz.title, question, changed),
      answer.element,
      create(
        "div",
        { className: "row question-foot" },
        link(n === 1 ? address(quiz) : `${address(quiz)}/${n - 1}`, t.previous, { className: "button second" }),
        create("button", { type: "submit" }, n === count ? t.review : t.next),
      ),
    );
    form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      after();
    });
    app.fill(form);
    return onKeys(/^(?:[1-9]|Enter)$/, (key) => (key === "Enter" ? after() : answer.press?.(Number(key))));
  });

/** @param {App} app @param {{ quiz: string }} params */
export const showReview = (app, { quiz: id }) =>
  withAttempt(app, id, (quiz, attempt) => {
    const missing = quiz.questions.flatMap((/** @type {any} */ each, /** @type {number} */ i) => (isComplete(each, attempt.answers[each.id]) ? [] : [i + 1]));
    const error = create("p", { className: "error", role: "alert" });
    const hint = create("p", { className: "hint", role: "status" });
    const handIn = button(t.handIn, async () => {
      error.textContent = "";
      handIn.textContent = t.handingIn;
      try {
        await app.attempts.handIn(attempt, () => (hint.textContent = t.waiting));
        app.router.go(`/result/${attempt.actionId}`, { replace: true });
      } catch (failure) {
        if (failure instanceof ApiError && failure.reason === "QUIZ_CHANGED") {
          app.forgetQuiz(quiz.id);
          return app.router.show();
        }
        error.replaceChildren(...refusal(failure));
      } finally {
        hint.textContent = "";
        handIn.textContent = t.handIn;
      }
    });
    const clock = clockOf(app, attempt);
    const answers = quiz.questions.map((/** @type {any} */ question, /** @type {number} */ index) => {
      const given = attempt.answers[question.id];
      const change = link(`${address(quiz)}/${index + 1}`, create("bdi", {}, question.text), { "aria-label": `${t.change(index + 1)}: ${question.text}` });
      const lines = given === undefined ? [t.noAnswer] : linesOf(question, given);
      const className = isComplete(question, given) ? "answer" : "answer missing";
      return create("li", {}, change, create("div", { className }, ...lines.map((line) => create("p", { dir: "auto" }, line))));
    });
    app.fill(
      create(
        "section",
        { className: "card review" },
        create("h1", {}, t.reviewTitle),
        clock?.element,
        attempt.changed && create("p", { className: "notice", role: "status" }, t.quizChanged(attempt.changed.length)),
        create("p", { className: "lead" }, missing.length ? t.unanswered(missing) : t.allAnswered),
        create("ol", { className: "answers" }, ...answers),
        error,
        hint,
        create("div", { className: "row" }, handIn, link(`${address(quiz)}/${quiz.questions.length}`, t.previous, { className: "button second" })),
      ),
    );
    return () => clock?.stop();
  });

/** @param {any} quiz */
export const address = (quiz) => `/q/${encodeURIComponent(quiz.id)}`;

/**
 * Read a quiz and show a screen of it, or what went wrong.
 * @param {App} app
 * @param {string} id
 * @param {(quiz: any) => void | (() => void)} show
 */
export async function withQuiz(app, id, show) {
  try {
    const quiz = await quizOf(app, id);
    app.title(quiz.title);
    return show(quiz);
  } catch (error) {
    app.fail(error);
  }
}

/**
 * Show a screen of the attempt that is open here, with the questions that it shows. A timed one is started first, on its own
 * screen.
 * @param {App} app
 * @param {string} id
 * @param {(quiz: any, attempt: Attempt) => void | (() => void)} show
 */
const withAttempt = (app, id, show) =>
  withQuiz(app, id, (quiz) => {
    if (!quiz.timing) return show(quiz, app.attempts.open(quiz));
    const attempt = app.timed.open(id);
    if (attempt) return show({ ...quiz, questions: attempt.questions }, attempt);
    app.router.go(address(quiz), { replace: true });
  });

/** The countdown of an attempt, at whose end it is handed in; null without a deadline. @param {App} app @param {Attempt} attempt */
function clockOf(app, attempt) {
  if (!attempt.deadline) return null;
  return countdown(attempt.deadline, app.announce, () => {
    const last = app.attempts.get(attempt.actionId) ?? attempt;
    if (!last.handedInAt) app.attempts.keep({ ...last, isTimeUp: true });
    app.router.go(`/result/${attempt.actionId}`, { replace: true });
  });
}

/** Keep the player's standing before the attempt, for the result. @param {App} app @param {Attempt} attempt */
async function noteStanding(app, attempt) {
  if (attempt.before) return;
  attempt.before = { rank: null, score: 0 };
  const { leaderboard } = await app.session.request(BEFORE).catch(() => ({ leaderboard: { me: null } }));
  attempt.before = leaderboard.me ?? attempt.before;
  if (!app.attempts.get(attempt.actionId)?.handedInAt) app.attempts.keep(attempt);
}

/** @param {any} quiz @param {number} n */
function progress(quiz, n) {
  const count = quiz.questions.length;
  return create(
    "div",
    { className: "progress" },
    link("/", create("span", { className: "cross" }), { "aria-label": t.leave, className: "leave" }),
    create("progress", { max: count, value: n, "aria-label": t.progress(n, count) }),
    create("span", { className: "count", "aria-hidden": "true" }, `${t.number(n)}/${t.number(count)}`),
  );
}
