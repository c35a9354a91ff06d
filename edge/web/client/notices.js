// @ts-check
// What a player is told of changes of their score that others made, until they have seen it on one of their devices.

const UNSEEN = "{ notices { through notices { revision kind quizId quizTitle actionTypeId pointsBefore pointsAfter reason recordedAt } } }";
const SEEN = "mutation ($through: Int!) { markNoticesSeen(through: $through) }";

/**
 * @typedef {object} Notice
 * @property {number} revision
 * @property {string} kind `ACTION_REJUDGED`, `ACTION_VOIDED`, `SCORE_ADJUSTED`, or another one
 * @property {string | null} quizId null if the change is not about a quiz
 * @property {string | null} quizTitle
 * @property {string | null} actionTypeId
 * @property {number} pointsBefore at the quiz, or in total
 * @property {number} pointsAfter
 * @property {string | null} reason
 * @property {string} recordedAt
 */

export class Notices {
  /** @param {import("./session.js").Session} session */
  constructor(session) {
    this.session = session;
  }

  /**
   * What the player has not seen, newest first; `through` is for `markSeen`. Read it again when the player's own score on a
   * board changes. Throws an ApiError.
   * @returns {Promise<{ through: number, notices: Notice[] }>}
   */
  async unseen() {
    return (await this.session.request(UNSEEN)).notices;
  }

  /** The player has seen them, on every device. Throws an ApiError. @param {number} through */
  async markSeen(through) {
    await this.session.request(SEEN, { through });
  }
}
