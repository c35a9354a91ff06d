// @ts-check
// A quiz as its screens show it.

const QUIZ = `query ($id: ID!) {
  me { mayHostRooms }
  quiz(id: $id) {
    id title description version questionCount totalPoints maxAttempts attemptsUsed opensAt closesAt roomsCountOnBoards timing { limitSeconds }
    attempts { used left nextAllowedAt timeLimitSeconds open { deadline } }
    scoring { penaltyPercent streakPercent timeBonusPercent timeLimitSeconds }
    questions { id text kind points options { id text } targets { id text } media { url alt } }
  }
}`;

/** A quiz, read once. @param {import("../app.js").App} app @param {string} id */
export const quizOf = (app, id) =>
  app.quiz(id, async () => {
    const { me, quiz } = await app.session.request(QUIZ, { id });
    return { ...quiz, mayHost: me.mayHostRooms };
  });
