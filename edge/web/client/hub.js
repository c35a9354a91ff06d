// @ts-check
// The streams of all tabs: one connection per board, however many tabs show it. Runs in a shared worker or, in a browser
// without one, in each tab.
//
// A tab sends {user} when somebody signs in (null: signs out), {watch, token} for a board that it shows, {unwatch} when it no
// longer does, and {lock}, a lock that it holds for as long as it exists. It receives {isServing} at first, {board} with {frame},
// {me} or {state}, and {sessionChanged} when another tab has signed in or out.

import { Connection } from "./connection.js";
import { CookieCredentials, UrlToken } from "./credentials.js";
import { Renewal } from "./session.js";
import { follow } from "./stream.js";

/**
 * @typedef {import("./boards.js").Change} Change
 * @typedef {{ stream: { close(): void }, last: Change }} Entry
 */

export class Hub {
  /** @type {Map<MessagePort, Set<string>>} the boards of each tab */
  #tabs = new Map();
  /** @type {Map<string, Entry>} */
  #streams = new Map();
  /** @type {string | null} */
  #user = null;

  /** @param {string} url the address of the server; empty for the origin of this page */
  constructor(url) {
    const credentials = new CookieCredentials();
    this.url = url;
    this.connection = new Connection(url, credentials);
    this.renewal = new Renewal(this.connection, credentials);
  }

  /** Serve a tab. @param {MessagePort} port */
  add(port) {
    this.#tabs.set(port, new Set());
    port.postMessage({ isServing: true });
    port.onmessage = ({ data }) => {
      if (data.lock) navigator.locks.request(data.lock, async () => this.#remove(port));
      else if ("user" in data) this.#setUser(port, data.user);
      else if (data.watch) this.#watch(port, data.watch, data.token);
      else this.#unwatch(port, data.unwatch);
    };
  }

  /** @param {MessagePort} port @param {string} board @param {string} [token] in place of the session's cookie */
  #watch(port, board, token) {
    this.#tabs.get(port)?.add(board);
    const open = this.#streams.get(board);
    if (open && open.last.state?.name !== "refused") port.postMessage({ board, ...open.last });
    else this.#open(board, token);
  }

  /** @param {MessagePort} port @param {string} board */
  #unwatch(port, board) {
    this.#tabs.get(port)?.delete(board);
    if ([...this.#tabs.values()].some((boards) => boards.has(board))) return;
    this.#streams.get(board)?.stream.close();
    this.#streams.delete(board);
  }

  /** @param {string} board @param {string} [token] */
  #open(board, token) {
    /** @type {Entry} */
    const entry = { last: {}, stream: { close() {} } };
    const tell = (/** @type {Change} */ change) => {
      Object.assign(entry.last, change);
      for (const [port, boards] of this.#tabs) if (boards.has(board)) port.postMessage({ board, ...change });
    };
    const handlers = {
      onFrame: (/** @type {Change["frame"]} */ frame) => tell({ frame }),
      onMe: (/** @type {Change["me"]} */ me) => tell({ me }),
      onState: (/** @type {Change["state"]} */ state) => tell({ state }),
    };
    this.#streams.set(board, entry);
    entry.stream =
      token === undefined
        ? follow(board, this.connection, handlers, () => this.renewal.refresh())
        : follow(board, new Connection(this.url, new UrlToken(token)), handlers);
  }

  /**
   * A stream belongs to the user who opened it, so all streams end when the user changes.
   * @param {MessagePort} port
   * @param {string | null} user
   */
  #setUser(port, user) {
    if (user === this.#user) return;
    this.#user = user;
    for (const { stream } of this.#streams.values()) stream.close();
    this.#streams.clear();
    for (const [other, boards] of this.#tabs) {
      boards.clear();
      if (other !== port) other.postMessage({ sessionChanged: true });
    }
  }

  /** @param {MessagePort} port */
  #remove(port) {
    for (const board of this.#tabs.get(port) ?? []) this.#unwatch(port, board);
    this.#tabs.delete(port);
  }
}
