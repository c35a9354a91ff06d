// @ts-check
// React hooks of Topten.

import { createContext, createElement, useContext, useEffect, useState } from "react";

/** @type {import("react").Context<ReturnType<typeof import("./index.js").connect> | ReturnType<typeof import("./index.js").connectToBoard> | null>} */
const Client = createContext(/** @type {any} */ (null));

/** @type {import("./index.js").State} */
const CONNECTING = { name: "connecting", heardAt: 0 };
/** @type {import("./index.js").Change} */
const NOTHING = {};

/**
 * Gives the hooks below it their client, which `connect` or `connectToBoard` has made.
 * @param {{ client: NonNullable<import("react").ContextType<typeof Client>>, children?: import("react").ReactNode }} properties
 */
export const ToptenProvider = ({ client, children }) => createElement(Client.Provider, { value: client }, children);

/**
 * A live board: its entries, the signed-in player's own place, and whether it is live. Components that show the same board
 * share one stream.
 * @param {string} board such as `weekly` or `quiz:<id>`
 */
export function useLeaderboard(board) {
  const client = useContext(Client);
  if (!client) throw new Error("useLeaderboard needs a <ToptenProvider client={…}> above it.");
  const [shown, setShown] = useState(NOTHING);
  useEffect(() => {
    const changes = client.boards.watch(board);
    (async () => {
      for await (const change of changes) setShown((before) => ({ ...before, ...change }));
    })();
    return () => {
      changes.return();
      setShown(NOTHING);
    };
  }, [client, board]);
  const { frame, me, state = CONNECTING } = shown;
  return { entries: frame?.leaderboard ?? [], frame, me, state };
}
