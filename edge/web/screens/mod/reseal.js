// @ts-check
// Taking a blocked player out of a closed period, or putting one right: an act of its own, which replaces what everybody saw.

import { create } from "../../parts/dom.js";
import { t } from "../../parts/text.js";
import { boardName } from "./acts.js";

const BOARDS = "{ definedBoards { name title period segment archivedAt } }";
const PERIODS = `query ($board: BoardInput!) {
  closedPeriods(board: $board, first: 50) { edges { node { board { period } } } }
}`;
const PLACE = `query ($board: BoardInput!, $ids: [ID!]!) {
  ranks(board: $board, userIds: $ids) { entries { rank score } }
}`;
const RESEAL = `mutation ($input: ResealPeriodInput!) {
  resealPeriod(input: $input) { board changed changes { userId rankBefore rankAfter scoreBefore scoreAfter } }
}`;

/**
 * @param {import("./acts.js").Session} session @param {import("./acts.js").Player} player
 * @returns {import("./dialog.js").Act}
 */
export function reseal(session, player) {
  const title = player.block ? t.mod.disqualify : t.mod.reseal;
  const boards = create("select", {}, ...["WEEKLY", "MONTHLY"].map((kind) => create("option", { value: kind }, t.mod.boardKinds[kind])));
  const periods = create("select", {});
  const place = { label: t.mod.standing, before: "", after: () => (!periods.value ? "" : player.block ? t.mod.notRanked : t.mod.asLedger) };
  const boardOf = (/** @type {string} */ kind, /** @type {string} */ period = "") => {
    const [name, country] = kind.split(" ");
    const base = name in t.mod.boardKinds ? { kind: name } : { kind: "CUSTOM", name, ...(country ? { country } : {}) };
    return period ? { ...base, period } : base;
  };

  /** Show where the player stands on the chosen board. */
  async function readPlace() {
    place.before = t.mod.noPeriods;
    if (!periods.value) return;
    const { ranks } = await session.request(PLACE, { board: boardOf(boards.value, periods.value), ids: [player.userId] });
    const [entry] = ranks.entries;
    place.before = entry ? t.mod.place(entry.rank, entry.score) : t.mod.notRanked;
  }

  /** Offer the closed periods of the chosen board. */
  async function readPeriods() {
    const { closedPeriods } = await session.request(PERIODS, { board: boardOf(boards.value) });
    const names = closedPeriods.edges.map((/** @type {any} */ { node }) => node.board.period);
    periods.replaceChildren(...names.map((/** @type {string} */ name) => create("option", { value: name }, name)));
    await readPlace();
  }

  return {
    title: t.mod.of(title, player.username),
    why: t.mod.resealWhy,
    verb: player.block ? t.mod.disqualifyVerb : t.mod.resealVerb,
    done: player.block ? t.mod.doneActs.disqualified : t.mod.doneActs.resealed,
    fields: [
      { name: "kind", label: t.mod.board, input: boards },
      { name: "board", label: t.mod.period, input: periods, fault: ({ board }) => (board ? "" : t.mod.noPeriods) },
    ],
    changes: [place],
    prepare: async (refresh) => {
      boards.addEventListener("change", () => readPeriods().then(refresh));
      periods.addEventListener("change", () => readPlace().then(refresh));
      const [{ definedBoards }] = await Promise.all([session.request(BOARDS), readPeriods()]);
      boards.append(...definedBoards.filter(hasPeriods).flatMap((/** @type {any} */ each) => customOption(each, player.country)));
    },
    send: async ({ kind, board: period, reason }) => {
      const input = { board: boardOf(kind, period), userId: player.userId, reason };
      const { resealPeriod } = await session.request(RESEAL, { input });
      const changes = resealPeriod.flatMap((/** @type {any} */ each) => ownChange(each, player.userId));
      const note = resealPeriod.length
        ? t.mod.resealed(resealPeriod.map((/** @type {any} */ each) => boardName(each.board)), Math.max(...resealPeriod.map((/** @type {any} */ each) => each.changed)))
        : t.mod.nothingChanged;
      return { changes, notes: [note] };
    },
  };
}

/** @param {any} board */
const hasPeriods = ({ period, archivedAt }) => period !== "all" && !archivedAt;

/** @param {any} board @param {string | null} country */
function customOption({ name, title, segment }, country) {
  if (segment !== "each-country") return [create("option", { value: name }, title || name)];
  return country ? [create("option", { value: `${name} ${country}` }, `${title || name} · ${t.country(country)}`)] : [];
}

/** @param {any} resealed @param {string} userId @returns {[string, string, string][]} */
function ownChange({ board, changes }, userId) {
  const own = changes.find((/** @type {any} */ each) => each.userId === userId);
  if (!own) return [];
  const place = (/** @type {number | null} */ rank, /** @type {number} */ score) => (rank ? t.mod.place(rank, score) : t.mod.notRanked);
  return [[boardName(board), place(own.rankBefore, own.scoreBefore), place(own.rankAfter, own.scoreAfter)]];
}
