// @ts-check
// The proof of work of a room, by the algorithm of Altcha, version 1: the number whose SHA-256 behind a salt is known. A worker
// looks for it. Where none starts, this thread does, a few milliseconds at a time.

import { Search } from "./sha256.js";

const CHALLENGE = "query ($pin: ID!) { joinChallenge(pin: $pin) { algorithm challenge maxNumber salt signature } }";
const SLICE_MS = 8;
const HASHES = 256;

/** @typedef {{ algorithm: string, challenge: string, maxNumber: number, salt: string, signature: string }} Challenge a `joinChallenge` */

/**
 * The solution of a new challenge of a room, as `joinRoom` takes it for ten minutes; empty if the room asks for none. Throws an
 * ApiError.
 * @param {import("./session.js").Session} session
 * @param {string} pin
 * @returns {Promise<string>}
 */
export async function solutionFor(session, pin) {
  const { joinChallenge } = await session.request(CHALLENGE, { pin });
  if (!joinChallenge) return "";
  const { maxNumber, ...challenge } = joinChallenge;
  const number = await inWorker(joinChallenge).catch(() => inSlices(joinChallenge));
  return btoa(JSON.stringify({ ...challenge, number }));
}

/** @param {Challenge} challenge @returns {Promise<number>} rejects where no worker starts */
function inWorker(challenge) {
  return new Promise((resolve, reject) => {
    // Bundlers look for exactly this expression. It throws where the scripts are of another origin.
    const worker = new Worker(new URL("./challenge-worker.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => {
      worker.terminate();
      resolve(data);
    };
    worker.onerror = reject;
    worker.postMessage(challenge);
  });
}

/** @param {Challenge} challenge @returns {Promise<number>} */
async function inSlices({ challenge, maxNumber, salt }) {
  const search = new Search(salt, challenge);
  let [found, next] = [-1, 0];
  while (found < 0 && next <= maxNumber) {
    for (const end = performance.now() + SLICE_MS; found < 0 && next <= maxNumber && performance.now() < end; next += HASHES) {
      found = search.among(next, Math.min(next + HASHES, maxNumber + 1));
    }
    await new Promise((resume) => setTimeout(resume));
  }
  return found;
}
