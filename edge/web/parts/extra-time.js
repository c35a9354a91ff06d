// @ts-check
// More time for a player's attempts at timed quizzes: what is asked, by moderators for a player and by authors for a quiz.

import { ApiError } from "../client/index.js";
import { create } from "./dom.js";
import { t } from "./text.js";

const SET = "mutation ($userId: ID!, $quizId: ID, $extraTime: ExtraTime!, $reason: String!) { setPlayerExtraTime(userId: $userId, quizId: $quizId, extraTime: $extraTime, reason: $reason) }";
const USER = "query ($username: String!) { user(username: $username) { userId username } }";

/**
 * @typedef {{ request: (query: string, variables?: object) => Promise<any> }} Session
 * @typedef {{ userId: string, username: string }} Named
 */

/** The account with a name. Throws an ApiError that names the field. @param {Session} session @param {string} username @param {string} field @returns {Promise<Named>} */
export async function accountOf(session, username, field) {
  const { user } = username ? await session.request(USER, { username }) : { user: null };
  if (!user) throw new ApiError("INVALID_ARGUMENT", `${field}: ${t.extraTime.noAccount(username)}`);
  return user;
}

/** A field for how much more time. @param {string} [chosen] */
export const timeField = (chosen = "NONE") => ({
  name: "extraTime",
  label: t.extraTime.time,
  rule: t.extraTime.rule,
  input: create("select", {}, ...Object.entries(t.extraTime.times).map(([value, text]) => create("option", { value, selected: value === chosen }, text))),
});

/**
 * Decide it, and return what was decided before and after, in words.
 * @param {Session} session
 * @param {{ userId: string, quizId: string | null, extraTime: string, reason: string }} decision
 * @returns {Promise<[string, string, string]>}
 */
export async function decide(session, decision) {
  const before = (await session.request(SET, decision)).setPlayerExtraTime;
  return [t.extraTime.title, t.extraTime.times[before], t.extraTime.times[decision.extraTime]];
}
