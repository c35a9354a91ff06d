// @ts-check
// The client of Topten for browsers: a session, live boards, attempts that are handed in exactly once, live rooms, and notices.

import { Attempts } from "./attempts.js";
import { Boards } from "./boards.js";
import { CookieCredentials, TokenCredentials } from "./credentials.js";
import { Notices } from "./notices.js";
import { Rooms } from "./rooms.js";
import { BoardReader, Session } from "./session.js";
import { TimedAttempts } from "./timed.js";

export { Attempts } from "./attempts.js";
export { Boards } from "./boards.js";
export { ApiError, serverNow } from "./connection.js";
export { Notices } from "./notices.js";
export { Rooms } from "./rooms.js";
export { BoardReader, Session } from "./session.js";
export { TimedAttempts } from "./timed.js";

/**
 * @typedef {import("./attempts.js").Attempt} Attempt
 * @typedef {import("./boards.js").Change} Change
 * @typedef {import("./notices.js").Notice} Notice
 * @typedef {import("./rooms.js").Outcome} Outcome
 * @typedef {import("./rooms.js").OwnOutcome} OwnOutcome
 * @typedef {import("./rooms.js").Room} Room
 * @typedef {import("./session.js").User} User
 * @typedef {import("./stream.js").Entry} Entry
 * @typedef {import("./stream.js").Frame} Frame
 * @typedef {import("./stream.js").Standing} Standing
 * @typedef {import("./stream.js").State} State
 */

/**
 * The client of a player who signs in. On a page of the server's own origin the browser keeps the tokens in cookies that no
 * script can read; on a page of another origin, which the server must allow, this client keeps them in `storage`.
 * @param {object} [options]
 * @param {string} [options.url] the address of the server, such as `https://play.example`; by default the origin of this page
 * @param {Storage} [options.storage] where tokens and attempts are kept; `sessionStorage` forgets them with the tab
 * @param {() => unknown} [options.onSessionChanged] called when another tab has signed in or out; by default the session is resumed
 */
export function connect({ url = "", storage = localStorage, onSessionChanged } = {}) {
  const isOwnOrigin = new URL(url, location.href).origin === location.origin;
  const address = isOwnOrigin ? "" : url.replace(/\/$/, "");
  const session = new Session(address, isOwnOrigin ? new CookieCredentials() : new TokenCredentials(address, storage));
  const boards = new Boards(session, onSessionChanged);
  const attempts = new Attempts(session, storage);
  const timed = new TimedAttempts(session, attempts);
  return { session, boards, attempts, timed, rooms: new Rooms(session, boards), notices: new Notices(session) };
}

/**
 * The client of one board that anybody may see, with a board token in place of an account.
 * @param {string} token
 * @param {string} [url] the address of the server; by default the origin of this page
 */
export function connectToBoard(token, url = "") {
  const session = new BoardReader(token, url);
  return { session, boards: new Boards(session) };
}
