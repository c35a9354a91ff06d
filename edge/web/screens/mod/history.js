// @ts-check
// The rows of a player's chain in the ledger: who changed the score, by what, when, and from where.

const HISTORY = `query ($id: ID!, $after: String) {
  scoreHistory(userId: $id, first: 50, after: $after) {
    edges { node {
      eventId revision kind oldScore newScore delta quizId actionTypeId actionId timestamp ip userAgent actor actorUser { username } reason
    } }
    pageInfo { hasNextPage endCursor }
  }
}`;

/** @typedef {{ rows: any[], next: string | null }} History */

/**
 * Read a page of rows, latest first. Throws an ApiError.
 * @param {{ request: (query: string, variables?: object) => Promise<any> }} session
 * @param {string} id
 * @param {string | null} [after]
 * @returns {Promise<History>}
 */
export async function readHistory(session, id, after = null) {
  const { edges, pageInfo } = (await session.request(HISTORY, { id, after })).scoreHistory;
  return { rows: edges.map((/** @type {any} */ { node }) => node), next: pageInfo.hasNextPage ? pageInfo.endCursor : null };
}
