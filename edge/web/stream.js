// One board, live, by the browser's own EventSource; it signs in by its cookie and reconnects by itself. It touches no
// page, so that a worker can run it as well.

import { refreshSession } from "./api.js";

const LONGEST_PAUSE = 30_000;

/**
 * Follow a board until `close()`. `onFrame` gets each frame that is not older than the one before it, `onMe` where the
 * player himself stands, `onState` one of connecting, live, stale, reconnecting, closed.
 */
export function follow(board, { onFrame, onMe, onState }) {
  let source = null;
  let timer = null;
  let pause = 1000;
  let closed = false;
  let lastId = "";
  let newest = [-1, -1];
  let shown = "";

  function open() {
    const query = new URLSearchParams({ board });
    if (lastId) query.set("lastEventId", lastId);
    source = new EventSource(`/api/v1/leaderboard/stream?${query}`);
    source.addEventListener("update", (event) => {
      const frame = JSON.parse(event.data);
      const id = event.lastEventId.split("-").map(Number);
      // A bare `weekly` moves on to another board, whose counts begin anew.
      const isOlder = frame.board === shown && (id[0] - newest[0] || id[1] - newest[1]) < 0;
      if (isOlder) return;
      shown = frame.board;
      newest = id;
      lastId = event.lastEventId;
      pause = 1000;
      onState(frame.stale ? "stale" : "live");
      onFrame(frame);
    });
    source.addEventListener("me", (event) => onMe(JSON.parse(event.data)));
    source.addEventListener("open", () => onState("live"));
    source.addEventListener("end", () => {
      onState("closed");
      close();
    });
    source.addEventListener("error", () => {
      if (closed) return;
      onState("reconnecting");
      if (source.readyState === EventSource.CLOSED) {
        // A refusal ends an EventSource for good: renew the session, then begin again.
        timer = setTimeout(() => refreshSession().catch(() => {}).then(reopen), pause);
        pause = Math.min(pause * 2, LONGEST_PAUSE) * (0.8 + 0.4 * Math.random());
      }
    });
  }

  function reopen() {
    if (!closed) open();
  }

  function close() {
    closed = true;
    clearTimeout(timer);
    source?.close();
  }

  onState("connecting");
  open();
  return { close };
}
