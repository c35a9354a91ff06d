// @ts-check
// Live boards and rooms: one stream of each for all tabs, however many parts of a page show it.

import { setClockAhead } from "./connection.js";
import { Hub } from "./hub.js";
import { BoardReader } from "./session.js";

const STREAM_TOKEN = "{ streamToken { token } }";
const RETRY_AFTER = 5_000;
// A worker that says nothing for this long is done without.
const WORKER_TIMEOUT = 5_000;

/**
 * @typedef {import("./stream.js").Frame} Frame
 * @typedef {import("./stream.js").Standing} Standing
 * @typedef {import("./stream.js").State} State
 *
 * @typedef {object} Change what has changed on a board since the last one
 * @property {Frame} [frame] the whole top 10
 * @property {Standing} [me] the signed-in player's own place
 * @property {State} [state] whether the board is live
 */

/** What changes on one board. A slow loop gets the latest frame, not every one. @implements {AsyncIterableIterator<Change>} */
class Watch {
  /** @type {Change} */
  #waiting = {};
  /** @type {((result: IteratorResult<Change, undefined>) => void) | null} */
  #resolve = null;
  #ended = false;

  /** @param {() => void} onEnd */
  constructor(onEnd) {
    this.onEnd = onEnd;
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  /** @param {Change} change */
  put(change) {
    Object.assign(this.#waiting, change);
    this.#deliver();
  }

  /** @returns {Promise<IteratorResult<Change, undefined>>} */
  next() {
    return new Promise((resolve) => {
      this.#resolve = resolve;
      this.#deliver();
    });
  }

  /** End the loop, also while it waits. @returns {Promise<IteratorReturnResult<undefined>>} */
  async return() {
    if (!this.#ended) {
      this.#ended = true;
      this.#deliver();
      this.onEnd();
    }
    return { value: undefined, done: true };
  }

  #deliver() {
    if (!this.#resolve || !(this.#ended || Object.keys(this.#waiting).length)) return;
    const resolve = this.#resolve;
    this.#resolve = null;
    if (this.#ended) return resolve({ value: undefined, done: true });
    const value = this.#waiting;
    this.#waiting = {};
    resolve({ value, done: false });
  }
}

/** The boards that this tab shows, for a session or, with a board token, for anybody. */
export class Boards {
  /** @type {Map<string, Set<Watch>>} */
  #watches = new Map();
  /** @type {Map<string, Change>} what a second watch of a board begins with */
  #last = new Map();
  /** @type {string | null} */
  #user = null;
  #port;
  #workerTimer = 0;

  /**
   * @param {import("./session.js").Session | BoardReader} session
   * @param {() => unknown} [onSessionChanged] called when another tab has signed in or out; by default the session is resumed
   */
  constructor(session, onSessionChanged) {
    this.session = session;
    this.onSessionChanged = onSessionChanged ?? (() => session instanceof BoardReader || session.resume().catch(() => {}));
    // The worker and other tabs know nothing of a board token.
    this.#port = session instanceof BoardReader ? this.#ownHub() : this.#sharedHub();
    this.#port.onmessage = ({ data }) => this.#receive(data);
    if (session instanceof BoardReader) return;
    session.addEventListener("change", () => this.#setUser(session.user?.userId ?? null));
    this.#setUser(session.user?.userId ?? null);
  }

  /**
   * What changes on a board, such as `weekly`, `quiz:<id>` or `room:<roomId>`: `for await (const { frame, me, state } of boards.watch("all"))`.
   * It ends with the loop or with `return()`. Any number of watches share one stream, over all tabs.
   * @param {string} board
   */
  watch(board) {
    const watches = this.#watches.get(board) ?? new Set();
    const watch = new Watch(() => {
      watches.delete(watch);
      if (watches.size || this.#watches.get(board) !== watches) return;
      this.#watches.delete(board);
      this.#last.delete(board);
      this.#port.postMessage({ unwatch: board });
    });
    watches.add(watch);
    if (watches.size > 1) {
      watch.put({ ...this.#last.get(board) });
      return watch;
    }
    this.#watches.set(board, watches);
    this.#open(board);
    return watch;
  }

  #sharedHub() {
    const { url } = this.session.connection;
    if (!globalThis.SharedWorker || !navigator.locks) return this.#ownHub();
    try {
      // Bundlers look for exactly this expression.
      const worker = new SharedWorker(new URL("./worker.js", import.meta.url), { type: "module", name: `topten ${url}` });
      worker.onerror = () => this.#doWithoutWorker(worker.port);
      this.#workerTimer = setTimeout(() => this.#doWithoutWorker(worker.port), WORKER_TIMEOUT);
      // Held for as long as this tab exists; the worker acquires it when the tab is gone.
      const lock = crypto.randomUUID();
      navigator.locks.request(lock, () => new Promise(() => worker.port.postMessage({ lock })));
      return worker.port;
    } catch {
      return this.#ownHub(); // the scripts are served from another origin, which may start no worker
    }
  }

  /** @returns {MessagePort} */
  #ownHub() {
    const { port1, port2 } = new MessageChannel();
    new Hub(this.session.connection.url).add(port2);
    return port1;
  }

  /** The worker's script is not where this one is, because a bundler has left it behind, or it does not start. @param {MessagePort} port */
  #doWithoutWorker(port) {
    clearTimeout(this.#workerTimer);
    if (this.#port !== port) return;
    // Should it start after all, it opens nothing.
    for (const board of this.#watches.keys()) port.postMessage({ unwatch: board });
    port.close();
    this.#port = this.#ownHub();
    this.#port.onmessage = ({ data }) => this.#receive(data);
    this.#port.postMessage({ user: this.#user });
    for (const board of this.#watches.keys()) this.#open(board);
  }

  /** @param {string | null} user */
  #setUser(user) {
    if (user === this.#user) return;
    this.#user = user;
    this.#port.postMessage({ user });
    for (const board of this.#watches.keys()) this.#open(board);
  }

  /** Open the stream of a board; without a player there is none, until somebody signs in. @param {string} board */
  async #open(board) {
    const isCurrent = this.#currency(board);
    if (this.session instanceof BoardReader) return this.#port.postMessage({ watch: board, token: this.session.connection.credentials.urlToken });
    if (!this.#user) return this.#put(board, { state: { name: "connecting", heardAt: 0 } });
    if (this.session.connection.credentials.cookies !== "omit") return this.#port.postMessage({ watch: board });
    try {
      const { token } = (await this.session.request(STREAM_TOKEN)).streamToken;
      if (isCurrent()) this.#port.postMessage({ watch: board, token });
    } catch (error) {
      if (!isCurrent()) return;
      this.#put(board, { state: { name: "lost", heardAt: 0 } });
      const isTemporary = /** @type {{ isTemporary?: boolean }} */ (error).isTemporary;
      if (isTemporary) setTimeout(() => isCurrent() && this.#open(board), RETRY_AFTER);
    }
  }

  /** All streams have ended, also if the same player has signed in again. */
  async #changeSession() {
    await this.onSessionChanged();
    for (const board of this.#watches.keys()) this.#open(board);
  }

  /** Whether the same player still watches a board. @param {string} board */
  #currency(board) {
    const user = this.#user;
    const watches = this.#watches.get(board);
    return () => user === this.#user && watches !== undefined && watches === this.#watches.get(board);
  }

  /** @param {string} board @param {Change} change */
  #put(board, change) {
    const last = this.#last.get(board) ?? {};
    this.#last.set(board, Object.assign(last, change));
    for (const watch of this.#watches.get(board) ?? []) watch.put(change);
  }

  /** @param {Change & { board: string, isServing?: boolean, sessionChanged?: boolean }} message */
  #receive({ board, isServing, sessionChanged, ...change }) {
    if (isServing) return clearTimeout(this.#workerTimer);
    if (change.state?.ahead !== undefined) setClockAhead(change.state.ahead);
    if (sessionChanged) return void this.#changeSession();
    if (!this.#watches.has(board)) return;
    // The token of a session's streams ends with the session, or with the access token of another issuer: once more with a new one.
    const { state } = this.#last.get(board) ?? {};
    const isFirstRefusal = change.state?.name === "refused" && state !== undefined && state.heardAt > 0;
    if (isFirstRefusal && !(this.session instanceof BoardReader)) return void this.#open(board);
    this.#put(board, change);
  }
}
