// @ts-check
// `/b/:board?view=kiosk|overlay|embed`: one board on a big screen, over a video, or within another page. With a board token
// in the address nobody signs in.

import { connectToBoard } from "../client/index.js";
import { BoardPanel, boardTitle } from "../parts/board-panel.js";
import { boardTokenOf, viewOf } from "../parts/display-address.js";
import { create, loadStyle } from "../parts/dom.js";
import { t } from "../parts/text.js";
import { keepAwake } from "../parts/wake-lock.js";

const REFRESH_EVERY = 60_000;
const NEWS = 9;

/**
 * @param {import("../app.js").App} app
 * @param {{ board: string }} params
 * @param {URLSearchParams} query
 */
export async function showDisplay(app, { board }, query) {
  await loadStyle("display.css");
  const view = viewOf(query) ?? "kiosk";
  const token = boardTokenOf(query);
  const { session, boards } = token === undefined ? app : connectToBoard(token);
  const news = create("ul", { className: "news" });
  const panel = new BoardPanel(
    { session, boards, announce: app.announce },
    { heading: "h1", refreshEvery: REFRESH_EVERY, onGain: (entry, gained) => addNews(news, entry, gained), onTitle: (title) => app.title(title) },
  );
  document.documentElement.dataset.view = view;
  app.title(boardTitle(board));
  if (view === "kiosk") panel.element.append(aside(news));
  app.fill(panel.element);
  panel.show(board);
  const awake = view === "embed" ? () => {} : keepAwake();
  return () => {
    awake();
    panel.close();
    delete document.documentElement.dataset.view;
  };
}

/** What stands beside the rows of a big screen: where to play, and who has just scored. @param {HTMLElement} news */
const aside = (news) =>
  create(
    "div",
    { className: "beside" },
    create("section", { className: "play-at" }, create("h2", {}, t.playAt), create("p", {}, create("bdi", {}, location.host))),
    create("section", { className: "just-now" }, create("h2", {}, t.justNow), news, create("p", { className: "hint" }, t.noNews)),
  );

/**
 * @param {HTMLElement} news
 * @param {import("../client/stream.js").Entry} entry
 * @param {number} gained 0 for a player who is new on the board
 */
function addNews(news, { username }, gained) {
  const what = gained ? `+${t.number(gained)}` : t.newcomer;
  news.prepend(create("li", {}, create("bdi", { className: "name" }, username), create("span", { className: "gain" }, what)));
  while (news.children.length > NEWS) news.lastElementChild?.remove();
}
