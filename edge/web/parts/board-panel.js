// @ts-check
// A live board with everything that belongs to it: whether it is live, the player's own place, and when it starts again.

import { ApiError, serverNow } from "../client/index.js";
import { Announcer } from "./announcer.js";
import { button, create, link } from "./dom.js";
import { Rows } from "./rows.js";
import { t } from "./text.js";

const SHOWN = 10;
const NEIGHBORS = 3;
// So often that no second is shown for much longer than it lasts.
const TICK = 250;
// Not every page asks for the next period at the same moment.
const SPREAD = 10_000;
// An unknown kind of board is an invalid argument.
const MISSING = ["BOARD_NOT_FOUND", "QUIZ_NOT_FOUND", "INVALID_ARGUMENT"];
const ROW = "rank userId username score country metadata";
const BOARD = `query ($board: BoardInput) {
  leaderboard(board: $board, first: 10) {
    totalCount board { title endsAt nextResetAt ranksTeams } me { userId rank score } edges { node { ${ROW} } }
  }
}`;
const AROUND = `query ($board: BoardInput) {
  aroundPlayer(board: $board, radius: 3) { entries { ${ROW} } }
}`;

/**
 * @typedef {{ user: import("../client/session.js").User | null, request(query: string, variables?: object): Promise<any> }} Reader a
 *   session, or a board token in place of one
 * @typedef {import("../client/stream.js").Frame} Frame
 * @typedef {import("../client/stream.js").Standing} Standing
 * @typedef {import("../client/stream.js").State} State
 */

/** The GraphQL input of a board's name. @param {string} name */
export function boardInput(name) {
  const [kind, ...rest] = name.split(":");
  /** @type {Record<string, string>} */
  const board = { kind: kind.toUpperCase() };
  if (kind === "quiz" && rest.length) return { ...board, quizId: rest.join(":") };
  if (kind === "custom" && rest.length) board.name = /** @type {string} */ (rest.shift());
  for (const part of rest) board[kind === "country" || /^[A-Za-z]{2}$/.test(part) ? "country" : "period"] = part;
  return board;
}

/** What a board is called. @param {string} name @param {string} [quizTitle] */
export function boardTitle(name, quizTitle) {
  const [kind, qualifier] = name.split(":", 2);
  if (kind === "country") return t.country(qualifier);
  if (kind === "quiz") return quizTitle ?? t.boardOfQuiz;
  const title = /** @type {Record<string, string>} */ (t.boardNames)[kind] ?? name;
  return qualifier ? (kind === "custom" ? qualifier : `${title} ${qualifier}`) : title;
}

export class BoardPanel {
  /**
   * @param {object} context
   * @param {Reader} context.session
   * @param {import("../client/boards.js").Boards} context.boards
   * @param {(text: string) => void} context.announce
   * @param {object} [options]
   * @param {boolean} [options.detailed] show the neighbors of a player who is not among the first
   * @param {"h1" | "h2"} [options.heading] h1 where the board is the whole screen
   * @param {(standing: Standing) => void} [options.onUpdate] called with each change of the player's own standing
   * @param {(title: string) => void} [options.onTitle] called with the title of a board that has one
   * @param {number} [options.refreshEvery] read the number of players again after this time, in milliseconds
   * @param {import("./rows.js").OnGain} [options.onGain] called for each player who has scored
   */
  constructor({ session, boards, announce }, { detailed = false, heading = "h2", onUpdate, onTitle, refreshEvery = Infinity, onGain } = {}) {
    this.session = session;
    this.boards = boards;
    this.announcer = new Announcer(announce);
    this.detailed = detailed;
    this.onUpdate = onUpdate;
    this.onTitle = onTitle;
    this.refreshEvery = refreshEvery;
    this.detailsDue = Infinity;
    this.board = "";
    this.paused = false;
    /** @type {ReturnType<import("../client/boards.js").Boards["watch"]> | null} */
    this.watch = null;
    /** @type {Frame | null} */
    this.frame = null;
    /** @type {Standing | null} */
    this.standing = null;
    /** @type {State} */
    this.state = { name: "connecting", heardAt: 0 };
    this.resetAt = 0;
    this.count = 0;
    /** @type {number | undefined} */
    this.clock = undefined;
    /** @type {import("../client/stream.js").Entry[]} */
    this.nearby = [];
    this.wasLive = false;
    /** The player's own entry, or their team's. */
    this.ownId = session.user?.userId;
    this.words = t;
    this.title = create(heading, {});
    this.stateText = create("span", { className: "state" });
    this.pauseButton = button(t.pause, () => this.#pause(), { className: "quiet small", "aria-pressed": "false" });
    this.rows = new Rows(session.user?.userId, onGain);
    this.empty = create("p", { className: "hint", hidden: true }, t.emptyBoard);
    this.own = create("p", { className: "own-place" });
    this.around = new Rows(session.user?.userId);
    this.neighborsTitle = create("h2", {}, t.neighbors);
    this.neighbors = create("section", { className: "neighbors", hidden: true }, this.neighborsTitle, this.around.element);
    this.players = create("span", {});
    this.reset = create("span", { className: "reset" });
    this.frozen = create("span", { className: "frozen", hidden: true });
    this.ties = create("span", {}, t.ties);
    this.element = create(
      "section",
      { className: "board card", "aria-label": t.boards },
      create("div", { className: "board-head" }, this.title, this.reset, this.frozen, this.stateText, this.pauseButton),
      create("div", { className: "board-rows" }, this.rows.element, this.empty),
      this.own,
      this.neighbors,
      create("p", { className: "board-foot" }, this.players, this.ties),
    );
  }

  /** Show a board until `close`, or until another one is shown. @param {string} name @param {string} [quizTitle] */
  async show(name, quizTitle) {
    this.board = name;
    this.frame = this.standing = null;
    this.wasLive = false;
    this.announcer.clear();
    this.nearby = [];
    this.resetAt = this.count = 0;
    this.rows.show([]);
    this.players.textContent = this.reset.textContent = this.own.textContent = "";
    this.neighbors.hidden = this.empty.hidden = this.frozen.hidden = true;
    this.title.textContent = boardTitle(name, quizTitle);
    this.#showOf(false, this.session.user?.userId);
    this.clock ??= setInterval(() => this.#tick(), TICK);
    this.#showState({ name: "connecting", heardAt: 0 });
    this.#readDetails();
    this.watch?.return();
    const watch = this.boards.watch(name);
    this.watch = watch;
    for await (const { frame, me, state } of watch) {
      if (state) this.#showState(state);
      if (me) this.#showOwn(me);
      if (frame) this.#showFrame(frame);
    }
  }

  close() {
    clearInterval(this.clock);
    this.clock = undefined;
    this.watch?.return();
  }

  #pause() {
    this.paused = !this.paused;
    this.pauseButton.textContent = this.paused ? t.unpause : t.pause;
    this.pauseButton.setAttribute("aria-pressed", String(this.paused));
    if (!this.paused && this.frame) this.#showFrame(this.frame);
    this.#showState(this.state);
  }

  /** @param {Frame} frame */
  #showFrame(frame) {
    const isFirst = this.frame === null;
    const leader = this.frame?.leaderboard[0];
    this.frame = frame;
    this.#showFreeze(frame.frozenSince);
    if (this.paused) return;
    const first = frame.leaderboard[0];
    if (leader && first && leader.userId !== first.userId && first.userId !== this.ownId) {
      this.announcer.put("leader", t.leads(first.username, first.score));
    }
    const entries = frame.leaderboard.slice(0, SHOWN);
    this.rows.show(entries);
    this.empty.hidden = entries.length > 0;
    if (this.players.textContent) this.#showCount();
    const own = entries.find((entry) => entry.userId === this.ownId);
    if (own) this.#showOwn({ board: frame.board, rank: own.rank, score: own.score });
    else if (this.standing) this.#showOwn(this.standing);
    else if (!isFirst) this.#showGap();
  }

  /** @param {string} title */
  #showTitle(title) {
    this.title.textContent = title;
    this.onTitle?.(title);
  }

  /**
   * Speak of teams or of players, and mark the own entry.
   * @param {boolean} teams
   * @param {string | undefined} ownId
   */
  #showOf(teams, ownId) {
    const words = { ...t, ...(teams ? t.ofTeams : this.board.startsWith("custom:") && t.ofOthers) };
    this.words = words;
    this.neighborsTitle.textContent = words.neighbors;
    this.ties.textContent = words.ties;
    this.empty.textContent = words.emptyBoard;
    if (this.standing) this.#showGap();
    if (ownId === this.ownId) return;
    this.ownId = ownId;
    for (const rows of [this.rows, this.around]) rows.own(ownId, words.you);
    if (this.frame && !this.paused) this.rows.show(this.frame.leaderboard.slice(0, SHOWN));
  }

  /** Say since when the board shows no later standings. @param {string | null | undefined} since */
  #showFreeze(since) {
    const isNew = Boolean(since) && this.frozen.hidden;
    this.frozen.hidden = !since;
    if (!since) return;
    this.frozen.textContent = t.frozenSince(new Date(since));
    if (isNew) this.announcer.put("freeze", this.frozen.textContent);
  }

  /** @param {Standing} standing */
  #showOwn(standing) {
    const moved = standing.rank !== this.standing?.rank || standing.score !== this.standing?.score;
    this.standing = standing;
    this.#showGap();
    if (!moved) return;
    this.onUpdate?.(standing);
    this.#readDetails();
    if (standing.rank && !this.paused) this.announcer.put("own", this.words.ownStanding(standing.rank, standing.score));
  }

  /** Show the player's place in a line of its own, with the distance to the next one. */
  #showGap() {
    const { rank, score } = this.standing ?? { rank: null, score: 0 };
    this.own.classList.toggle("ranked", rank !== null);
    if (rank === null) {
      this.own.textContent = this.standing ? this.words.unranked : "";
      return;
    }
    const entries = [...(this.frame?.leaderboard ?? []), ...this.nearby];
    const above = entries.find((entry) => entry.rank === rank - 1);
    const gap = rank === 1 ? this.words.leading : above ? t.gap(Math.max(0, above.score - score), above.username) : "";
    this.own.replaceChildren(
      create("strong", {}, `${this.words.you} · ${t.rankOf(rank)}`),
      create("span", { className: "own-points" }, t.points(score)),
      create("span", { className: "own-gap" }, create("bdi", {}, gap)),
    );
  }

  /** Show how many players there are. The number is read less often than the rows come. */
  #showCount() {
    this.players.textContent = this.words.players(Math.max(this.count, this.frame?.leaderboard.length ?? 0));
  }

  /** Read what the stream does not have: the number of players, the time of the next period, the neighbors. */
  async #readDetails() {
    const board = this.board;
    this.detailsDue = Date.now() + this.refreshEvery;
    const isCurrent = () => board === this.board && this.clock !== undefined;
    try {
      const variables = { board: boardInput(board) };
      const { leaderboard } = await this.session.request(BOARD, variables);
      if (!isCurrent()) return;
      if (leaderboard.board.title) this.#showTitle(leaderboard.board.title);
      this.#showOf(leaderboard.board.ranksTeams, leaderboard.me?.userId ?? this.session.user?.userId);
      this.count = leaderboard.totalCount;
      this.#showCount();
      this.resetAt = Date.parse(leaderboard.board.nextResetAt ?? "") || 0;
      const untilReset = this.resetAt ? Math.max(0, this.resetAt - serverNow()) + Math.random() * SPREAD : Infinity;
      this.detailsDue = Date.now() + Math.min(this.refreshEvery, untilReset);
      if (Date.parse(leaderboard.board.endsAt ?? "") <= serverNow()) this.#showFinal(leaderboard);
      if (!this.standing) this.#showOwn({ board, rank: leaderboard.me?.rank ?? null, score: leaderboard.me?.score ?? 0 });
      const isBelow = (this.standing?.rank ?? 0) > SHOWN;
      this.neighbors.hidden = !(this.detailed && isBelow);
      if (!isBelow) return;
      const { aroundPlayer } = await this.session.request(AROUND, variables);
      if (!isCurrent()) return;
      this.nearby = aroundPlayer.entries.slice(0, 2 * NEIGHBORS + 1);
      this.around.show(this.nearby);
      this.#showGap();
    } catch (error) {
      // The stream says whether the board is live; these are read again with the next change.
      const isMissing = error instanceof ApiError && MISSING.includes(error.reason);
      if (isMissing && isCurrent()) this.#showMissing();
    }
  }

  /** A period that is over: its board is read once, and has no stream. @param {any} leaderboard */
  #showFinal({ edges }) {
    this.watch?.return();
    this.#showFreeze(null);
    this.rows.show(edges.map((/** @type {any} */ { node }) => node));
    this.empty.hidden = edges.length > 0;
    this.pauseButton.hidden = true;
    this.#showState({ name: "closed", heardAt: 0 });
  }

  #showMissing() {
    this.watch?.return();
    this.empty.textContent = t.boardNotFound;
    this.empty.hidden = false;
    this.stateText.hidden = this.pauseButton.hidden = true;
  }

  /** The link to this board has ended: nothing on it is true any more. */
  #showRefused() {
    this.rows.show([]);
    this.empty.textContent = t.linkEnded;
    this.empty.hidden = false;
    this.players.textContent = "";
    this.resetAt = 0;
    this.detailsDue = Infinity;
  }

  /** @param {State} state */
  #showState(state) {
    this.state = state;
    if (state.name === "refused") this.#showRefused();
    if (this.wasLive !== (state.name === "live") && (this.wasLive || this.frame)) this.announcer.put("state", t.states[state.name]);
    this.wasLive = state.name === "live";
    this.#tick();
  }

  #tick() {
    const { name, heardAt } = this.state;
    if (Date.now() >= this.detailsDue) this.#readDetails();
    const since = heardAt && name === "lost" ? ` · ${t.ago(Math.round((Date.now() - heardAt) / 1_000))}` : "";
    const text = this.paused ? t.paused : t.states[name] + since;
    this.stateText.dataset.state = this.paused ? "paused" : name;
    if (this.stateText.textContent !== text) this.stateText.textContent = text;
    const left = Math.max(0, Math.round((this.resetAt - serverNow()) / 1_000));
    const reset = this.resetAt ? t.resetsIn(t.duration(left)) : "";
    if (this.reset.textContent !== reset) this.reset.textContent = reset;
    if (!this.paused) this.announcer.tick();
  }
}

/**
 * The tabs of the boards that a player can look at; each has an address.
 * @param {string} shown
 * @param {[string, string][]} boards names and titles
 */
export function boardTabs(shown, boards) {
  const tabs = boards.map(([name, title]) =>
    link(`/b/${encodeURIComponent(name)}`, create("bdi", {}, title), name === shown ? { "aria-current": "page" } : {}),
  );
  // On a phone they are one row that scrolls.
  requestAnimationFrame(() => tabs.find((tab) => tab.ariaCurrent)?.scrollIntoView({ block: "nearest", inline: "center" }));
  return create("nav", { className: "tabs", "aria-label": t.boardTabs }, ...tabs);
}
