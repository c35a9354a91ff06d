// Where a tab gets its board from: a worker that all tabs share, or, where a browser has none, a stream of its own.

import { follow } from "./stream.js";

export class Live {
  /**
   * `onFrame(frame)`, `onMe(place)` and `onState(state)` are told of the board that is shown, see `follow`; `onChanged()`
   * that another tab has signed in or out.
   */
  constructor(handlers) {
    this.handlers = handlers;
    this.board = null;
    if (!globalThis.SharedWorker || !navigator.locks) return;
    const { port } = new SharedWorker("/worker.js", { type: "module", name: "topten" });
    port.onmessage = ({ data }) => this.#hear(data);
    this.port = port;
    // Held for as long as this tab lives: the worker gets it when the tab is gone.
    const lock = crypto.randomUUID();
    navigator.locks.request(lock, () => new Promise(() => port.postMessage({ lock })));
  }

  /** Somebody has signed in, by his id; null when he has signed out. */
  sign(user) {
    if (!user) this.show(null);
    this.port?.postMessage({ user });
  }

  /** Show this board from now on; null for none. */
  show(board) {
    this.board = board;
    if (this.port) {
      this.port.postMessage({ board });
      return;
    }
    this.stream?.close();
    this.stream = board && follow(board, this.handlers);
  }

  #hear({ board, frame, me, state, changed }) {
    if (changed) this.handlers.onChanged();
    if (board !== this.board) return;
    if (state) this.handlers.onState(state);
    if (frame) this.handlers.onFrame(frame);
    if (me) this.handlers.onMe(me);
  }
}
