// @ts-check
// `/b/:board`: one board, with the others a click away and the podium of its last period.

import { BoardPanel, boardInput, boardTabs, boardTitle } from "../parts/board-panel.js";
import { create, link } from "../parts/dom.js";
import { noticesFor } from "../parts/notices.js";
import { t } from "../parts/text.js";

const PODIUM = `query ($board: BoardInput!) {
  closedPeriods(board: $board, first: 1) { edges { node { board { period } } } }
}`;
const TITLE = "query ($id: ID!) { quiz(id: $id) { title } }";
const TOP = `query ($board: BoardInput) {
  getLeaderboard(board: $board, limit: 3) { rank userId username score country }
}`;

/**
 * @param {import("../app.js").App} app
 * @param {{ board: string }} params
 */
export function showBoard(app, { board }) {
  const panel = new BoardPanel(app, { detailed: true, heading: "h1", onUpdate: noticesFor(app), onTitle: showTitle });
  const podium = create("section", { className: "podium", "aria-label": t.lastPeriod, hidden: true });
  const country = app.session.user?.country;
  /** @type {[string, string][]} */
  const boards = ["all", "weekly", "monthly", ...(country ? [`country:${country}`] : [])].map((name) => [name, boardTitle(name)]);
  if (!boards.some(([name]) => name === board)) boards.push([board, boardTitle(board)]);
  const tabs = boardTabs(board, boards);
  const more = create("button", { type: "button", className: "quiet" }, t.moreBoards);
  more.addEventListener("click", async () => (await import("./other-boards.js")).showOtherBoards(app, more), { once: true });
  tabs.append(more);
  /** @param {string} title */
  function showTitle(title) {
    if (!tabs.isConnected) return;
    for (const place of [panel.title, ...tabs.querySelectorAll("[aria-current] bdi")]) place.textContent = title;
    app.title(title);
  }
  app.title(boardTitle(board));
  app.fill(tabs, create("div", { className: "board-page" }, panel.element, podium));
  panel.show(board);
  if (board.startsWith("quiz:")) quizTitle(app, board.slice("quiz:".length)).then(showTitle, () => undefined);
  showPodium(app, board, podium);
  return () => panel.close();
}

/** @param {import("../app.js").App} app @param {string} id @returns {Promise<string>} */
const quizTitle = async (app, id) => (await app.session.request(TITLE, { id })).quiz.title;

/**
 * The three first of the last period that is over.
 * @param {import("../app.js").App} app
 * @param {string} board
 * @param {HTMLElement} podium
 */
async function showPodium(app, board, podium) {
  if (!/^(weekly|monthly|custom:[^:]+)$/.test(board)) return;
  try {
    const { closedPeriods } = await app.session.request(PODIUM, { board: boardInput(board) });
    const period = closedPeriods.edges[0]?.node.board.period;
    if (!period) return;
    const name = `${board}:${period}`;
    const entries = (await app.session.request(TOP, { board: boardInput(name) })).getLeaderboard;
    if (!entries?.length) return;
    podium.append(
      create("h2", {}, t.lastPeriod, " ", link(`/b/${encodeURIComponent(name)}`, period)),
      create("ol", {}, ...entries.map((/** @type {any} */ entry) => place(entry))),
    );
    podium.hidden = false;
  } catch {
    // The podium is an extra: the board is there without it.
  }
}

/** @param {any} entry */
const place = (entry) =>
  create(
    "li",
    { dataset: { rank: String(entry.rank) } },
    create("span", { className: "rank" }, t.number(entry.rank)),
    create("span", { className: "player" }, create("bdi", { className: "name" }, entry.username)),
    create("span", { className: "score" }, t.points(entry.score)),
  );
