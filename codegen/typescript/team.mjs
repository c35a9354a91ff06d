// @ts-check
// What a team's service does: its players, points and board, then a proof of a final rank, checked without Topten.
// The client needs the scopes action:define, action:submit, board:define, leaderboard:read and player:write:
//   TOKEN_URL=… KEYS_URL=… CLIENT_ID=… CLIENT_SECRET=… node team.mjs IDENTITY QUIZ SCORE LEADERBOARD NAME
import { createHash, createPublicKey, randomUUID, verify } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { ConnectError, createClient } from "@connectrpc/connect";
import { ErrorInfoSchema } from "topten-stubs/google/rpc/error_details_pb";
import { ActionResult_Status, ActionType_Submitters } from "topten-stubs/topten/action/v1/action_pb";
import { ActionService } from "topten-stubs/topten/action/v1/action_service_pb";
import { BoardService } from "topten-stubs/topten/board/v1/board_service_pb";
import { EnsuredPlayer_Status } from "topten-stubs/topten/identity/v1/identity_pb";
import { IdentityService } from "topten-stubs/topten/identity/v1/identity_service_pb";
import { LeaderboardService } from "topten-stubs/topten/leaderboard/v1/leaderboard_service_pb";
import { connect } from "./service.mjs";

// A new board is filled within seconds, and a closed one is sealed within a minute.
const ATTEMPTS = 240;
const PAUSE = 500;
const DAY = 86_400_000;
const [identityAt, quizAt, scoreAt, leaderboardAt, name] = process.argv.slice(2);
const identity = createClient(IdentityService, connect(identityAt));
const actions = createClient(ActionService, connect(quizAt));
const boards = createClient(BoardService, connect(scoreAt));
const leaderboard = createClient(LeaderboardService, connect(leaderboardAt));

/**
 * Repeat what is refused for one of these reasons.
 * @template T
 * @param {() => Promise<T>} attempt
 * @param {string[]} notYet
 */
async function untilDone(attempt, ...notYet) {
  for (let count = 0; count < ATTEMPTS; count++) {
    try {
      return await attempt();
    } catch (error) {
      const [info] = ConnectError.from(error).findDetails(ErrorInfoSchema);
      if (info === undefined || !notYet.includes(info.reason)) throw error;
    }
    await sleep(PAUSE);
  }
  throw new Error(`still refused: ${notYet}`);
}

/** Watch the board until it shows all players. @param {string} board @param {number} players */
async function firstWholeFrame(board, players) {
  const stop = new AbortController();
  try {
    for await (const { frame } of leaderboard.watchLeaderboard({ board }, { timeoutMs: 0, signal: stop.signal })) {
      if (frame && frame.entries.length === players && !frame.stale) return frame;
    }
  } finally {
    stop.abort();
  }
  throw new Error("the stream ended");
}

/** @param {...(Uint8Array | string)} parts */
const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();

/** @param {string} text */
const decoded = (text) => JSON.parse(Buffer.from(text, "base64url").toString());

/**
 * The signed head of a proof that holds. Throws for any other.
 * @param {import("topten-stubs/topten/leaderboard/v1/leaderboard_pb").Proof} proof
 */
async function checked(proof) {
  const [header, payload, signature] = proof.head.split(".");
  const { kid, typ } = decoded(header);
  const { keys } = await (await fetch(process.env.KEYS_URL ?? "")).json();
  const jwk = keys.find((/** @type {{ kid: string }} */ key) => key.kid === kid);
  const key = createPublicKey({ key: jwk, format: "jwk" });
  if (!verify(null, Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, "base64url"))) {
    throw new Error("the signature is wrong");
  }
  const head = decoded(payload);
  if (typ !== "board-head+jwt" || head.board !== proof.board) throw new Error("the head is of something else");
  const digest = sha256(Buffer.from(proof.salt).toString("hex"), proof.userId);
  if (!digest.equals(proof.digest)) throw new Error("the digest is of another player");
  let node = sha256(`\0${digest.toString("hex")} ${proof.rank} ${proof.score}`);
  const [place, last] = [proof.rank - 1, head.players - 1];
  proof.path.forEach((sibling, level) => {
    // The last node of a level has no neighbor on its right.
    const isRight = (place >> level) & 1 || place >> level === last >> level;
    node = isRight ? sha256("\x01", sibling, node) : sha256("\x01", node, sibling);
  });
  if (node.toString("hex") !== head.root) throw new Error("the entry is not in the tree");
  return head;
}

const players = ["a", "b"].map((each) => ({ externalId: `${name}-${each}`, username: `${name}-${each}` }));
const ensured = await identity.ensurePlayers({ players });
console.log("players:", ...ensured.results.map(({ status }) => EnsuredPlayer_Status[status]));

const rule = { rule: { case: /** @type {const} */ ("reported"), value: { minimum: 1, maximum: 1000 } } };
const actionType = { actionTypeId: name, title: "A run", submitters: ActionType_Submitters.SERVICES, rule };
await actions.putActionType({ actionType });

const [from, to] = [-1, 2].map((days) => new Date(Date.now() + days * DAY).toISOString().slice(0, 10));
await boards.putBoard({ definition: { name, sources: [`action:${name}`], period: `range:${from}/${to}` } });

/** One action of a player who is named as in this team's system. @param {string} player @param {number} value */
const action = (player, value, actionId = randomUUID()) => ({
  player: { id: { case: /** @type {const} */ ("externalId"), value: player } },
  actionTypeId: name,
  actionId,
  happened: { case: /** @type {const} */ ("value"), value },
});
const run = action(`${name}-a`, 30);
const { results } = await actions.submitActions({ actions: [run, action(`${name}-b`, 20), run, action(`${name}-b`, 5000)] });
for (const { status, reason, pointsAwarded } of results) {
  console.log(ActionResult_Status[status], reason || pointsAwarded);
}

const board = `custom:${name}`;
const frame = await untilDone(() => firstWholeFrame(board, players.length), "BOARD_NOT_FOUND");
for (const { rank, username, score } of frame.entries) {
  console.log(rank, username, score);
}

await untilDone(() => boards.archiveBoard({ name }), "UNAVAILABLE");
// Refused until the board is closed, and then until it is sealed.
const request = { board, userId: frame.entries[0].userId };
const { proof } = await untilDone(() => leaderboard.getProof(request), "INVALID_ARGUMENT", "UNAVAILABLE");
if (proof === undefined) throw new Error("no proof");
const head = await checked(proof);
console.log(`proof: rank ${proof.rank} of ${head.players} with ${proof.score} points`);
