// @ts-check
// `/q/:quiz`: what awaits a player before the first question.

import { serverNow } from "../client/index.js";
import { button, create, link } from "../parts/dom.js";
import { refusal, t } from "../parts/text.js";
import { address, withQuiz } from "./quiz.js";

/** @typedef {import("../app.js").App} App */

/** @param {App} app @param {{ quiz: string }} params */
export const showStart = (app, { quiz: id }) =>
  withQuiz(app, id, (quiz) => {
    const now = serverNow();
    const window = [
      quiz.opensAt && Date.parse(quiz.opensAt) > now && t.opensAt(new Date(quiz.opensAt)),
      quiz.closesAt && t.closesAt(new Date(quiz.closesAt)),
    ];
    const { most, used } = { most: quiz.maxAttempts, used: quiz.attempts?.used ?? quiz.attemptsUsed ?? 0 };
    const error = create("p", { className: "error", role: "alert" });
    app.fill(
      create(
        "section",
        { className: "card start" },
        create("h1", {}, create("bdi", {}, quiz.title)),
        create("p", { className: "lead" }, create("bdi", {}, quiz.description)),
        create(
          "ul",
          { className: "facts" },
          create("li", {}, t.questions(quiz.questionCount)),
          create("li", {}, t.points(quiz.totalPoints)),
          quiz.timing && create("li", { className: "time-limit" }, limitOf(quiz.attempts)),
          create("li", { className: "attempts" }, most === null ? t.attemptsUnlimited : t.attemptsLeft(used, most)),
          ...scoringOf(quiz.scoring).map((text) => create("li", {}, text)),
          ...window.filter(Boolean).map((text) => create("li", {}, text)),
        ),
        quiz.timing && create("p", { className: "hint" }, t.timedWhy),
        error,
        create("div", { className: "row" }, wayIn(app, quiz, error), quiz.mayHost && link(`${address(quiz)}/host`, t.room.host, { className: "button second" }), link("/", t.toQuizzes, { className: "button second" })),
      ),
    );
  });

/** How a player begins or goes on; why they cannot, if so. @param {App} app @param {any} quiz @param {HTMLElement} error */
function wayIn(app, quiz, error) {
  const { open, left, nextAllowedAt } = quiz.attempts ?? {};
  if (!open && left === 0) return null;
  if (!open && nextAllowedAt && Date.parse(nextAllowedAt) > serverNow()) return create("p", {}, t.nextAttempt(new Date(nextAllowedAt)));
  if (!quiz.timing) {
    const begun = Object.keys(app.attempts.open(quiz).answers).length > 0;
    return create("a", { className: "button", href: `${address(quiz)}/${begun ? "review" : 1}` }, begun ? t.resume : t.start);
  }
  return button(open ? t.resume : t.start, async () => {
    error.textContent = "";
    try {
      const attempt = await app.timed.start(quiz.id);
      app.forgetQuiz(quiz.id); // an attempt more is used
      const first = (attempt.questions ?? []).findIndex((/** @type {any} */ each) => attempt.answers[each.id] === undefined);
      app.router.go(`${address(quiz)}/${open && first < 0 ? "review" : Math.max(first, 0) + 1}`);
    } catch (failure) {
      error.replaceChildren(...refusal(failure));
    }
  });
}

/** @param {any} attempts */
function limitOf({ open, timeLimitSeconds }) {
  if (open?.deadline) return t.endsAt(new Date(open.deadline));
  return timeLimitSeconds === null ? t.noTimeLimit : t.timeLimit(timeLimitSeconds);
}

/** What a player should know of a quiz's scoring; nothing about the default. @param {any} scoring @returns {string[]} */
const scoringOf = ({ penaltyPercent, streakPercent, timeBonusPercent, timeLimitSeconds }) =>
  [penaltyPercent && t.penalty(penaltyPercent), streakPercent && t.streak(streakPercent), timeBonusPercent && t.timeBonus(timeBonusPercent, timeLimitSeconds)].filter(Boolean);
