// @ts-check
// `/result/:action`: what an attempt brought. An attempt that is still on its way is handed in from here; what was handed in
// on another device is read from the server.

import { ApiError } from "../client/index.js";
import { BoardPanel } from "../parts/board-panel.js";
import { create, link } from "../parts/dom.js";
import { outcomeList } from "../parts/outcomes.js";
import { quizOf } from "../parts/quiz.js";
import { refusal, t } from "../parts/text.js";

/**
 * @typedef {import("../app.js").App} App
 * @typedef {import("../client/attempts.js").Attempt} Attempt
 * @typedef {import("../client/attempts.js").Result} Result
 */

/** @param {App} app @param {{ action: string }} params */
export async function showResult(app, { action }) {
  let attempt = app.attempts.get(action);
  if (!attempt || attempt.userId !== app.session.user?.userId) return showReviewed(app, action);
  app.title(attempt.title);
  if (attempt.result) return show(app, attempt, attempt.result, app.attempts.review(action));
  const hint = create("p", { className: "lead", role: "status" }, t.handingIn);
  app.fill(create("section", { className: "card result" }, create("h1", {}, attempt.title), hint));
  try {
    attempt = await app.attempts.handIn(attempt, () => (hint.textContent = t.waiting));
  } catch (error) {
    app.forgetQuiz(attempt.quizId); // it may have been changed
    hint.replaceChildren(...refusal(error));
    hint.append(link(`/q/${encodeURIComponent(attempt.quizId)}/review`, t.review, { className: "button" }));
    return;
  }
  if (attempt.result) return show(app, attempt, attempt.result);
}

/** Show what the server knows of an attempt that is not on this device. @param {App} app @param {string} action */
async function showReviewed(app, action) {
  try {
    const result = await app.attempts.review(action);
    const quiz = await quizOf(app, result.quizId);
    const questions = quiz.version === result.quizVersion ? quiz.questions : [];
    const attempt = { actionId: action, userId: "", quizId: quiz.id, title: quiz.title, questions, answers: {} };
    app.title(quiz.title);
    return show(app, attempt, result);
  } catch (error) {
    if (!(error instanceof ApiError) || !["ACTION_NOT_FOUND", "INVALID_ARGUMENT"].includes(error.reason)) return app.fail(error);
    app.title(t.notFound);
    app.fill(create("section", { className: "card" }, create("h1", {}, t.resultUnknown), link("/", t.toQuizzes, { className: "button" })));
  }
}

/**
 * @param {App} app
 * @param {Attempt} attempt
 * @param {Result} result
 * @param {Promise<Result>} [reviewed] what the player may know by now
 */
function show(app, { title, quizId, before, questions = [], answers, isTimeUp }, result, reviewed) {
  app.forgetQuiz(quizId);
  const rank = create("p", { className: "rank-change", role: "status" }, t.resultCounting);
  const target = (before?.score ?? 0) + result.pointsAwarded;
  const panel = new BoardPanel(app, {
    onUpdate: (standing) => {
      // The points are on the board once the score has grown, or when the attempt did not change it.
      if (standing.rank !== null && (standing.score >= target || result.pointsAwarded === 0)) {
        rank.textContent = t.resultRank(before?.rank, standing.rank);
      }
    },
  });
  const points = create("h1", { className: "result-points" });
  const correct = create("p", { className: "lead" });
  const share = create("progress", { className: "correct" });
  const outcomes = create("div");
  /** @param {Result} judged */
  function fill(judged) {
    points.textContent = t.resultTitle(judged.pointsAwarded);
    const text = t.resultCorrect(judged.correctAnswers, judged.totalQuestions);
    correct.textContent = `${title} · ${text}`;
    Object.assign(share, { max: judged.totalQuestions, value: judged.correctAnswers, ariaLabel: text });
    outcomes.replaceChildren(...outcomeList(judged, questions, answers));
  }
  fill(result);
  reviewed?.then(fill, () => undefined); // without it, what was known at first is shown
  app.fill(
    create(
      "div",
      { className: "columns" },
      create(
        "div",
        { className: "stack" },
        create(
          "section",
          { className: "card result" },
          isTimeUp && create("p", { className: "notice", role: "status" }, t.timeUp),
          points,
          correct,
          share,
          rank,
          create(
            "div",
            { className: "row" },
            link("/", t.toQuizzes, { className: "button" }),
            link(`/q/${encodeURIComponent(quizId)}`, t.playAgain, { className: "button second" }),
          ),
        ),
        outcomes,
      ),
      panel.element,
    ),
  );
  panel.show("all");
  return () => panel.close();
}
