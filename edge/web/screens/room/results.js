// @ts-check
// The results of a room for its host: how well each question was known, and every player; as a file too, and printed.

import { button, create, link } from "../../parts/dom.js";
import { bytesOf, download } from "../../parts/download.js";
import { explain, t } from "../../parts/text.js";

const SHOWN = 20;

/**
 * @param {import("../../app.js").App} app
 * @param {import("../../client/rooms.js").Room} room
 * @param {HTMLElement} container
 */
export async function showResults(app, { roomId, title }, container) {
  const heading = create("h1", {}, t.room.results);
  container.replaceChildren(heading, create("p", { className: "hint" }, t.loading));
  try {
    const { questions, players } = await app.rooms.results(roomId);
    /** @param {"XLSX" | "PLAYERS_CSV"} format */
    const save = async (format) => {
      const { name, mediaType, base64 } = await app.rooms.resultsFile(roomId, format);
      download(bytesOf(base64), name, mediaType);
    };
    const list = create("div", {});
    container.replaceChildren(
      heading,
      create("p", { className: "lead" }, `${title} · ${t.players(players.length)}`),
      create("div", { className: "row" }, button(t.room.sheet, () => save("XLSX")), button(t.room.csv, () => save("PLAYERS_CSV"), { className: "second" }), button(t.room.print, () => print(), { className: "second" }), link("/", t.toQuizzes, { className: "button second" })),
      create("h2", {}, t.room.perQuestion),
      create("p", { className: "hint" }, t.room.discriminationWhy),
      create("ol", { className: "known" }, ...questions.map(known)),
      create("h2", {}, t.room.board),
      list,
      players.length > SHOWN && create("p", { className: "hint others" }, t.room.others(players.length - SHOWN)),
    );
    const short = table(players.slice(0, SHOWN));
    list.append(short);
    // On paper there is room for everybody.
    const onPrint = (/** @type {Event} */ { type }) => {
      if (list.isConnected) return list.replaceChildren(type === "beforeprint" ? table(players) : short);
      for (const each of ["beforeprint", "afterprint"]) removeEventListener(each, onPrint);
    };
    for (const each of ["beforeprint", "afterprint"]) addEventListener(each, onPrint);
  } catch (error) {
    container.replaceChildren(heading, create("p", { className: "error", role: "alert" }, explain(error)), button(t.tryAgain, () => showResults(app, /** @type {any} */ ({ roomId, title }), container)));
  }
}

/** @param {{ text: string, answered: number, right: number, discrimination: number | null }} question @param {number} index */
function known({ text, answered, right, discrimination }, index) {
  const figures = [t.room.known(right, answered), discrimination !== null && t.room.discrimination(discrimination)].filter(Boolean).join(" · ");
  const bar = create("progress", { max: Math.max(1, answered), value: right, "aria-label": `${t.questionNumber(index + 1)}: ${figures}` });
  return create("li", {}, create("span", { className: "n" }, t.number(index + 1)), create("span", { className: "asked", dir: "auto" }, text), bar, create("span", { className: "count" }, figures));
}

/** @param {{ rank: number, nickname: string, points: number }[]} players */
const table = (players) =>
  create(
    "table",
    { className: "players" },
    create("thead", {}, create("tr", {}, ...t.room.columns.map((name) => create("th", { scope: "col" }, name)))),
    create("tbody", {}, ...players.map(({ rank, nickname, points }) => create("tr", {}, create("td", { className: "rank" }, t.number(rank)), create("td", {}, create("bdi", {}, nickname)), create("td", { className: "score" }, t.number(points))))),
  );
