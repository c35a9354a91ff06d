// @ts-check
// The stream of one board or room, by the browser's EventSource, which reconnects. Uses no document, so that a worker can run it too.

import { clockAhead, setServerTime } from "./connection.js";

const MIN_PAUSE = 1_000;
const MAX_PAUSE = 30_000;
// The browser tries every few hundred milliseconds, as the server tells it; a server that is away for longer is asked less often.
const QUICK_ATTEMPTS = 30;
// The server sends `ping` at least this often, and says so in it if it is another time.
const HEARTBEAT = 15_000;
const GRACE = 5_000;
// An edge may have an earlier state of a room for a moment. One that stays is the room, whose store was restored.
const BEHIND = 3_000;
const REFUSED = [401, 403];
const TIMEOUT = 15_000;

/**
 * @typedef {object} State
 * @property {"connecting" | "live" | "stale" | "lost" | "closed" | "refused"} name `stale`: the server has only the last
 *   known board, or is still filling it; `lost`: the server is silent or away; `closed`: the board's period or the room is over, or
 *   the host of the room has removed the player; `refused`: the token in the URL
 *   has expired, was revoked, or is for another board
 * @property {number} heardAt when the server was last heard, in milliseconds of this device's clock; 0 if never
 * @property {number} [ahead] what the server's clock is ahead of this device's, in milliseconds; absent until it is known
 *
 * @typedef {object} Entry
 * @property {number} rank
 * @property {string} userId
 * @property {string} username
 * @property {number} score
 * @property {string | null} country two letters of ISO 3166-1
 * @property {number | null} [previousRank] before the player's last action that counted; null at first
 * @property {number | null} [gapToNext] points to the place above; 0 on a tie, null for the leader
 * @property {Record<string, string>} [metadata] of the action with which the score was reached, if boards show it
 *
 * @typedef {object} Frame the whole top 10 at one moment
 * @property {string} board
 * @property {number} version
 * @property {boolean} stale
 * @property {string} timestamp
 * @property {string | null} [frozenSince] until the period is over, the entries are those of this moment; null if they are the
 *   latest
 * @property {Entry[]} leaderboard
 *
 * @typedef {object} Standing a player's own place
 * @property {string} board
 * @property {number | null} rank null without points
 * @property {number} score
 */

/**
 * Follow a board, or a room as `room:<pin>`, until `close()`.
 * @param {string} board
 * @param {import("./connection.js").Connection} connection
 * @param {object} handlers
 * @param {(frame: any) => void} handlers.onFrame a Frame, or a Room. Of a board the first frame of each connection, which may
 *   be older than the last one if the server's store was restored, and then each frame of that connection; of a room no state
 *   that is older than the last one, unless no later one follows it for some seconds: then the store was restored
 * @param {(own: any) => void} handlers.onMe the player's own Standing, or in a room their OwnOutcome
 * @param {(state: State) => void} handlers.onState
 * @param {() => Promise<void>} [renewSession] renews what opens the stream, where that can be renewed; a token in the URL can't
 */
export function follow(board, connection, { onFrame, onMe, onState }, renewSession) {
  /** @type {EventSource | null} */
  let source = null;
  let timer = 0;
  let silence = 0;
  let pause = MIN_PAUSE;
  let heartbeat = HEARTBEAT;
  let heardAt = 0;
  /** @type {number | undefined} */
  let ahead;
  let name = "";
  let closed = false;
  let lastEventId = "";
  let failures = 0;
  let behind = 0;
  let show = () => {};

  /** @param {State["name"]} next */
  function set(next) {
    if (next !== name || next === "live") onState({ name: (name = next), heardAt, ahead });
  }

  /** The server was heard; without a word for a heartbeat it counts as lost, whatever the connection looks like. */
  function heard() {
    heardAt = Date.now();
    failures = 0;
    clearTimeout(silence);
    silence = setTimeout(() => retry(0), heartbeat + GRACE);
  }

  function open() {
    source = new EventSource(connection.streamUrl(board, lastEventId));
    source.addEventListener("update", (event) => {
      const frame = JSON.parse(event.data);
      lastEventId = event.lastEventId;
      pause = MIN_PAUSE;
      heard();
      set(frame.stale ? "stale" : "live");
      onFrame(frame);
    });
    source.addEventListener("state", (event) => {
      const room = JSON.parse(event.data);
      room.phase = room.phase.toUpperCase(); // as in GraphQL
      pause = MIN_PAUSE;
      heard();
      set(room.stale ? "stale" : "live");
      show = () => {
        clearTimeout(behind);
        behind = 0;
        lastEventId = event.lastEventId;
        onFrame(room);
        if (room.phase !== "ENDED") return;
        set("closed");
        close();
      };
      if (isOlder(event.lastEventId, lastEventId)) behind ||= setTimeout(() => show(), BEHIND);
      else show();
    });
    source.addEventListener("ping", (event) => {
      const { timestamp, interval } = JSON.parse(event.data);
      setServerTime(timestamp);
      ahead = clockAhead();
      if (interval) heartbeat = interval * 1_000;
      heard();
      set(name === "stale" ? "stale" : "live");
    });
    source.addEventListener("me", (event) => {
      heard();
      onMe(JSON.parse(event.data));
    });
    source.addEventListener("end", () => {
      set("closed");
      close();
    });
    source.addEventListener("error", () => {
      if (closed) return;
      set("lost");
      failures += 1;
      // An error status ends an EventSource permanently: renew what opens it, then open another.
      if (source?.readyState === EventSource.CLOSED || failures > QUICK_ATTEMPTS) retry(pause);
    });
  }

  /** @param {number} after */
  function retry(after) {
    set("lost");
    source?.close();
    clearTimeout(timer);
    clearTimeout(silence);
    timer = setTimeout(() => (after ? renew() : Promise.resolve()).then(reopen), after);
    pause = Math.min(pause * 2, MAX_PAUSE) * (0.8 + 0.4 * Math.random());
  }

  /** Renew the session. A refused token in the URL ends here, for good. */
  async function renew() {
    if (renewSession) return renewSession().catch(() => {});
    const request = { method: "HEAD", credentials: /** @type {const} */ ("omit"), signal: AbortSignal.timeout(TIMEOUT) };
    const response = await fetch(connection.streamUrl(board), request).catch(() => null);
    if (response && REFUSED.includes(response.status)) {
      close();
      set("refused");
    }
  }

  function reopen() {
    if (closed) return;
    open();
    silence = setTimeout(() => retry(pause), heartbeat + GRACE);
  }

  function close() {
    closed = true;
    clearTimeout(timer);
    clearTimeout(silence);
    clearTimeout(behind);
    source?.close();
  }

  set("connecting");
  reopen();
  return { close };
}

/** Whether the state of a room with one id was before the state with another. @param {string} id @param {string} other */
function isOlder(id, other) {
  const [[version, changes], [lastVersion, lastChanges]] = [id, other || "0-0"].map((each) => each.split("-").map(Number));
  return version < lastVersion || (version === lastVersion && changes < lastChanges);
}
