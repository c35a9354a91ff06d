// @ts-check
// `/mod/players/:user`: everything about one player, and everything that a moderator may do. `?flag=` names the flag in question.

import { consoleStyle, rowKeys } from "../../parts/console.js";
import { button, create, link } from "../../parts/dom.js";
import { t } from "../../parts/text.js";
import { block, endSessions, rename, standing, unblock } from "./account-acts.js";
import { adjust, giveExtraTime } from "./acts.js";
import { ask, beforeAfter } from "./dialog.js";
import { frame } from "./frame.js";
import { readHistory } from "./history.js";
import { accountSection, extraTimeSection, flagSection, historySection, sanctionSection, sessionSection } from "./sections.js";
import { reseal } from "./reseal.js";

const PLAYER = `query ($id: ID!) {
  user(userId: $id) {
    userId username country roles block { reason expiresAt }
    sanctions { sanctionId reason automatic adminOnly blockedAt expiresAt actor actorUser { username } }
  }
  flags(userId: $id, first: 20) {
    edges { node { flagId rule reason evidence { name value } eventId timestamp state note closedBy closedByUser { username } } }
  }
  sessions(userId: $id) { sessionId openedAt renewedAt expiresAt }
  playerExtraTimes(userId: $id) { extraTime quizId reason decidedAt decidedBy }
  accountChanges(userId: $id) { changeId kind timestamp actor actorUser { username } reason formerUsername }
}`;
// An act is in the ledger within milliseconds; if score is away, the screen says so and goes on.
const READS = 10;
const PAUSE = 200;

/**
 * @param {import("../../app.js").App} app
 * @param {{ user: string }} params
 * @param {URLSearchParams} query
 */
export async function showPlayer(app, { user: userId }, query) {
  const screen = new PlayerScreen(app, userId, query.get("flag") ?? "");
  app.title(t.mod.players);
  try {
    await Promise.all([consoleStyle(), screen.read()]);
  } catch (error) {
    app.fail(error);
    return;
  }
  if (!screen.player) return showMissing(app);
  app.fill(screen.element);
  return rowKeys(screen.element);
}

/** @param {import("../../app.js").App} app */
function showMissing(app) {
  app.title(t.mod.noPlayer);
  app.fill(frame("/mod/players", create("h1", {}, t.mod.noPlayer), link("/mod/players", t.mod.toPlayers)));
}

class PlayerScreen {
  /** @param {import("../../app.js").App} app @param {string} userId @param {string} flagId */
  constructor(app, userId, flagId) {
    this.app = app;
    this.session = app.session;
    this.userId = userId;
    this.flagId = flagId;
    /** @type {import("./acts.js").Player | null} */
    this.player = null;
    this.changed = new Set();
    this.title = create("h1", {});
    this.facts = create("ul", { className: "facts" });
    this.acts = create("div", { className: "acts" });
    this.outcome = create("div", { className: "outcome", role: "status", tabIndex: -1, hidden: true });
    this.sections = create("div", { className: "sections" });
    this.element = frame(flagId ? "/mod" : "/mod/players", this.title, this.facts, this.acts, this.outcome, this.sections, create("p", { className: "hint keys" }, t.mod.keys));
  }

  /** Read everything and show it. Throws an ApiError. */
  async read() {
    const [data, history] = await Promise.all([this.session.request(PLAYER, { id: this.userId }), readHistory(this.session, this.userId)]);
    this.#show(data, history);
  }

  /** @param {any} data @param {import("./history.js").History} history */
  #show({ user, flags, sessions, accountChanges, playerExtraTimes }, history) {
    if (!user) return;
    const player = { ...user, score: history.rows[0]?.newScore ?? 0 };
    const flagged = flags.edges.map((/** @type {any} */ { node }) => node);
    this.player = player;
    this.app.title(player.username);
    this.title.replaceChildren(create("bdi", {}, player.username));
    this.facts.replaceChildren(
      create("li", {}, t.points(player.score)),
      player.country ? create("li", {}, t.country(player.country)) : "",
      create("li", { className: player.block ? "blocked" : "" }, standing(player.block)),
      create("li", {}, create("code", {}, player.userId)),
    );
    this.acts.replaceChildren(...this.#acts(player));
    const shown = { player, changed: this.changed, act: (/** @type {any} */ make) => this.#act(make), session: this.session };
    const sections = [
      flagSection(shown, flagged, this.flagId),
      sanctionSection(shown),
      historySection(shown, history, new Set(flagged.map((/** @type {any} */ flag) => flag.eventId))),
      extraTimeSection(playerExtraTimes),
      accountSection(shown, accountChanges),
      sessionSection(shown, sessions, (one) => this.#act(() => endSessions(this.session, player, sessions, one))),
    ];
    this.sections.replaceChildren(...sections.filter((section) => section !== null));
  }

  /** @param {import("./acts.js").Player} player */
  #acts(player) {
    const { session } = this;
    /** @type {[string, () => import("./dialog.js").Act][]} */
    const acts = [
      player.block ? [t.mod.extend, () => block(session, player)] : [t.mod.block, () => block(session, player)],
      ...(player.block ? /** @type {[string, any][]} */ ([[t.mod.unblock, () => unblock(session, player)]]) : []),
      [t.mod.adjust, () => adjust(session, player)],
      [t.mod.rename, () => rename(session, player)],
      [t.extraTime.title, () => giveExtraTime(session, player)],
      [player.block ? t.mod.disqualify : t.mod.reseal, () => reseal(session, player)],
    ];
    const isPermanent = player.block && !player.block.expiresAt;
    return acts.filter(([name]) => !(isPermanent && name === t.mod.extend)).map(([name, make]) => button(t.mod.more(name), () => this.#act(make), { className: "second small" }));
  }

  /**
   * Ask for what an act needs, do it, and show what became of it. It is not awaited: a button that is busy would not get the
   * focus back when the dialog is closed.
   * @param {() => import("./dialog.js").Act} make
   */
  #act(make) {
    const act = make();
    ask(act).then((outcome) => outcome && this.#showOutcome(act, outcome));
  }

  /** @param {import("./dialog.js").Act} act @param {import("./dialog.js").Outcome} outcome */
  async #showOutcome(act, { changes, notes = [], undo, eventId }) {
    if (eventId) this.changed.add(eventId);
    await this.#readUntil(eventId).catch((error) => this.app.fail(error));
    this.outcome.replaceChildren(
      create("strong", {}, act.done),
      create("dl", { className: "changes" }, ...changes.flatMap(([label, before, after]) => [create("dt", {}, label), beforeAfter(before, after)])),
      ...notes.map((note) => create("p", {}, note)),
      undo ? button(t.mod.more(t.mod.undo), () => this.#act(() => undo), { className: "second small" }) : "",
    );
    this.outcome.hidden = false;
    this.outcome.focus();
  }

  /** Read everything, again if the ledger does not have an event yet. @param {string | null} [eventId] */
  async #readUntil(eventId) {
    for (let reads = 0; ; reads += 1) {
      const [data, history] = await Promise.all([this.session.request(PLAYER, { id: this.userId }), readHistory(this.session, this.userId)]);
      if (!eventId || history.rows.some((row) => row.eventId === eventId) || reads === READS) return this.#show(data, history);
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
  }
}
