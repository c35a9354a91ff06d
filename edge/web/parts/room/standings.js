// @ts-check
// The board of a room, whose rows glide, and its podium.

import { create } from "../dom.js";
import { Rows } from "../rows.js";
import { t } from "../text.js";

/**
 * @typedef {import("../../client/rooms.js").Room} Room
 * @typedef {import("../../client/rooms.js").RoomEntry} RoomEntry
 */

/** The best 10 of a room. One object shows the boards of all questions, so that its rows glide from one to the next. */
export class RoomBoard {
  /** @param {string} [seatId] the player's own seat */
  constructor(seatId) {
    this.rows = new Rows(seatId);
    this.frozen = create("p", { className: "notice", hidden: true }, t.room.frozen);
    this.empty = create("p", { className: "hint", hidden: true }, t.room.nobody);
    this.element = create("div", { className: "room-board" }, this.frozen, this.rows.element, this.empty);
  }

  /** Show the board; the element must be in the page for its rows to glide. @param {Room} room */
  show({ board, frozen }) {
    this.frozen.hidden = !frozen;
    this.empty.hidden = board.length > 0;
    this.rows.show(board.map(({ seatId, nickname, rank, points }) => ({ userId: seatId, username: nickname, rank, score: points, country: null })));
  }
}

/** The first three on steps; with equal points they share a rank. @param {Room} room */
export const podiumOf = ({ board }) =>
  create("ol", { className: "steps" }, ...board.slice(0, 3).map(step));

/** @param {RoomEntry} entry @param {number} index */
const step = ({ rank, nickname, points }, index) =>
  create(
    "li",
    { className: "step", dataset: { rank: String(rank), step: String(index + 1) } },
    create("bdi", { className: "name" }, nickname),
    create("span", { className: "block" }, create("span", { className: "rank" }, t.rankOf(rank)), create("span", { className: "score" }, t.points(points))),
  );
