// @ts-check
// The rows of a board: they glide to their new rank, the riser above the others, and show what has just changed. Of the
// metadata of an entry they show the beginning, in what is left of the row.

import { create } from "./dom.js";
import { t } from "./text.js";

const GLIDE = { duration: 520, easing: "cubic-bezier(0.2, 0.8, 0.2, 1)" };
const CHANGED_FOR = 3_000;
// Of up to 16 names with texts, which come in any order.
const DETAILS = 3;
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

/**
 * @typedef {import("../client/stream.js").Entry} Entry
 * @typedef {(entry: Entry, gained: number) => void} OnGain `gained` is 0 for a player who is new on the board
 * @typedef {{ rank: HTMLElement, name: HTMLElement, you: HTMLElement, details: HTMLElement, move: HTMLElement, gain: HTMLElement, score: HTMLElement }} Cells
 * @typedef {{ element: HTMLElement, cells: Cells, rank: number, score: number, timer: number }} Row
 */

export class Rows {
  /**
   * @param {string | undefined} userId the player whose row says "You"
   * @param {OnGain} [onGain] called for each player who has scored since the rows were last shown
   */
  constructor(userId, onGain) {
    this.userId = userId;
    this.you = t.you;
    this.onGain = onGain;
    this.element = create("ol", { className: "rows" });
    /** @type {Map<string, Row>} */
    this.rows = new Map();
  }

  /**
   * Say which entry is the reader's own, and what stands on it; seen when entries are shown next.
   * @param {string | undefined} userId
   * @param {string} you
   */
  own(userId, you) {
    this.userId = userId;
    this.you = you;
  }

  /** Show entries in rank order. @param {Entry[]} entries */
  show(entries) {
    const tops = new Map([...this.rows].map(([id, { element }]) => [id, element.getBoundingClientRect().top]));
    const isFirst = this.rows.size === 0;
    const leader = entries[0]?.score || 1;
    /** @type {Map<string, Row>} */
    const rows = new Map();
    for (const entry of entries) {
      const row = this.rows.get(entry.userId) ?? this.#row(entry);
      this.#fill(row, entry, leader, !isFirst && !this.rows.has(entry.userId));
      rows.set(entry.userId, row);
    }
    for (const [id, { timer }] of this.rows) if (!rows.has(id)) clearTimeout(timer);
    this.rows = rows;
    const digits = entries.map(({ rank }) => t.number(rank).length);
    this.element.style.setProperty("--digits", String(Math.max(2, ...digits)));
    this.element.replaceChildren(...[...rows.values()].map(({ element }) => element));
    if (!reducedMotion.matches && !isFirst) this.#glide(tops);
  }

  /** @param {Entry} entry @returns {Row} */
  #row(entry) {
    const cells = {
      rank: create("span", { className: "rank" }),
      name: create("bdi", { className: "name" }),
      you: create("span", { className: "you" }),
      details: create("bdi", { className: "details" }),
      move: create("span", { className: "move", "aria-hidden": "true" }),
      gain: create("span", { className: "gain" }),
      score: create("span", { className: "score" }),
    };
    const country =
      entry.country && create("abbr", { className: "country", title: t.country(entry.country) }, entry.country);
    const element = create(
      "li",
      { dataset: { user: entry.username } },
      cells.rank,
      create("span", { className: "who" }, create("span", { className: "player" }, cells.name, cells.you, country), cells.details),
      create("span", { className: "change" }, cells.move, cells.gain),
      cells.score,
      create("span", { className: "bar", "aria-hidden": "true" }),
    );
    return { element, cells, rank: entry.rank, score: entry.score, timer: 0 };
  }

  /**
   * @param {Row} row
   * @param {Entry} entry
   * @param {number} leader the score of the first
   * @param {boolean} isNew whether the player was not on the board before
   */
  #fill(row, entry, leader, isNew) {
    const { element, cells } = row;
    const gained = entry.score - row.score;
    const climbed = row.rank - entry.rank;
    const own = entry.userId === this.userId;
    element.classList.toggle("own", own);
    cells.you.textContent = own ? this.you : "";
    cells.you.hidden = !own;
    element.dataset.rank = String(entry.rank);
    cells.rank.textContent = t.number(entry.rank);
    cells.name.textContent = entry.username;
    const details = Object.entries(entry.metadata ?? {}).sort().slice(0, DETAILS);
    cells.details.textContent = details.map(([name, text]) => t.detail(name, text)).join(" · ");
    cells.score.textContent = t.number(entry.score);
    element.style.setProperty("--share", String(Math.max(0, Math.min(1, entry.score / leader))));
    if (gained || climbed || isNew) {
      cells.move.dataset.way = String(Math.sign(climbed));
      cells.move.textContent = climbed ? t.number(Math.abs(climbed)) : "";
      cells.gain.textContent = gained > 0 ? `+${t.number(gained)}` : isNew ? t.newcomer : "";
      element.classList.toggle("changed", gained > 0 || isNew);
      if (gained > 0 || isNew) this.onGain?.(entry, gained);
      element.classList.remove("settled");
      clearTimeout(row.timer);
      row.timer = setTimeout(() => {
        element.classList.add("settled");
        element.classList.remove("changed");
      }, CHANGED_FOR);
    }
    row.rank = entry.rank;
    row.score = entry.score;
  }

  /** @param {Map<string, number>} tops where the rows were */
  #glide(tops) {
    for (const [id, { element }] of this.rows) {
      const from = tops.get(id);
      const by = from === undefined ? 24 : from - element.getBoundingClientRect().top;
      if (!by) continue;
      // The riser is above the rows that it passes.
      element.style.zIndex = by > 0 ? "2" : "1";
      const start = { transform: `translateY(${by}px)`, opacity: from === undefined ? 0 : 1 };
      element.animate([start, { transform: "none", opacity: 1 }], GLIDE).finished.then(
        () => (element.style.zIndex = ""),
        () => {},
      );
    }
  }
}
