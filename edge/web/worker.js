// The stream of all tabs: one connection a board, whoever looks at it.
//
// A tab says {user} when somebody signed in, null when he signed out, and {board} for the board it shows, null for none. It
// hears {frame}, {me} and {state} of that board, and {changed} when another tab has signed in or out. A tab that is gone
// gives up its lock, which is how the worker knows.

import { follow } from "./stream.js";

const tabs = new Map(); // port → board
const streams = new Map(); // board → { stream, last: { frame, me, state } }
let signedIn = null;

function tell(board, message) {
  Object.assign(streams.get(board).last, message);
  for (const [port, shown] of tabs) if (shown === board) port.postMessage({ board, ...message });
}

function open(board) {
  const entry = { last: {} };
  streams.set(board, entry);
  entry.stream = follow(board, {
    onFrame: (frame) => tell(board, { frame }),
    onMe: (me) => tell(board, { me }),
    onState: (state) => tell(board, { state }),
  });
}

function show(port, board) {
  const before = tabs.get(port);
  tabs.set(port, board);
  if (before && ![...tabs.values()].includes(before)) {
    streams.get(before)?.stream.close();
    streams.delete(before);
  }
  if (!board) return;
  if (!streams.has(board)) open(board);
  else port.postMessage({ board, ...streams.get(board).last });
}

/** Streams are of who was signed in when they were opened: another one's begin anew. */
function sign(port, user) {
  if (user === signedIn) return;
  signedIn = user;
  for (const { stream } of streams.values()) stream.close();
  streams.clear();
  for (const other of tabs.keys()) {
    tabs.set(other, null);
    if (other !== port) other.postMessage({ changed: true });
  }
}

function leave(port) {
  show(port, null);
  tabs.delete(port);
}

addEventListener("connect", ({ ports: [port] }) => {
  port.onmessage = ({ data }) => {
    if (data.lock) navigator.locks.request(data.lock, () => leave(port));
    else if ("user" in data) sign(port, data.user);
    else show(port, data.board);
  };
});
