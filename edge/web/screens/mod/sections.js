// @ts-check
// The sections of a player's page: flags, blocks, the chain of the ledger, changes of the account, sessions.

import { button, create } from "../../parts/dom.js";
import { t } from "../../parts/text.js";
import { rename, unblock } from "./account-acts.js";
import { closeFlag, undo, undoId, voidAction } from "./acts.js";
import { arrow } from "./dialog.js";
import { actorOf, dateOf, time } from "./frame.js";
import { readHistory } from "./history.js";

/**
 * What every section knows. `act` opens the dialog of an act; the rows of `changed` events have just come.
 * @typedef {object} Shown
 * @property {import("./acts.js").Player} player
 * @property {Set<string>} changed
 * @property {(make: () => import("./dialog.js").Act) => void} act
 * @property {import("./acts.js").Session} session
 */

/** @param {Shown} shown @param {any[]} flags @param {string} flagId the flag in question, which stands first */
export function flagSection({ act, session }, flags, flagId) {
  if (!flags.length) return null;
  const sorted = [...flags].sort((a, b) => Number(b.flagId === flagId) - Number(a.flagId === flagId));
  return section("flags", t.mod.flags, ...sorted.map((flag) => flagRow(flag, flag.flagId === flagId, () => act(() => closeFlag(session, flag)))));
}

/** @param {any} flag @param {boolean} isInQuestion @param {() => void} decide */
function flagRow(flag, isInQuestion, decide) {
  const { flagId, rule, reason, evidence, state, note, timestamp, closedBy, closedByUser } = flag;
  const numbers = evidence.map((/** @type {any} */ { name, value }) => create("span", {}, `${t.number(value)} ${t.mod.evidence[name] ?? name}`));
  const decision = note && `${note} ${closedBy ? t.mod.by(actorOf({ actor: closedBy, actorUser: closedByUser })) : ""}`;
  return row(
    flagId,
    { className: isInQuestion && state === "OPEN" ? "in-question" : "" },
    create("strong", { className: "rule" }, t.mod.rules[rule] ?? rule),
    create("span", { className: "fact" }, reason, create("span", { className: "numbers" }, ...numbers), decision && create("bdi", { className: "dim" }, decision)),
    create("span", { className: "state-of-flag" }, t.mod.states[state]),
    time(timestamp),
    state === "CLOSED" ? create("span", {}) : smallButton(t.mod.closeFlag, decide, `${t.mod.closeFlag}: ${t.mod.rules[rule] ?? rule}`, isInQuestion ? "" : "second"),
  );
}

/** @param {Shown} shown */
export function sanctionSection({ player, act, session }) {
  if (!player.sanctions.length) return null;
  const rows = player.sanctions.map((sanction) =>
    row(
      sanction.sanctionId,
      {},
      create("bdi", { className: "fact" }, sanction.reason),
      create("span", { className: "until" }, t.mod.until(dateOf(sanction.expiresAt))),
      create("span", { className: "dim" }, `${t.mod.since(new Date(sanction.blockedAt))} ${t.mod.by(sanction.automatic ? t.mod.aRule : actorOf(sanction))}`),
      smallButton(t.mod.lift, () => act(() => unblock(session, player, sanction)), `${t.mod.lift}: ${sanction.reason}`),
    ),
  );
  return section("sanctions", t.mod.sanctions, ...rows);
}

/** @param {Shown} shown @param {import("./history.js").History} history @param {Set<string>} evidence the events that flags are about */
export function historySection(shown, history, evidence) {
  const element = section("history", t.mod.history);
  const list = element.querySelector("ul");
  /** @type {any[]} */
  const known = [];
  let { next } = history;
  const more = button(t.more, async () => add(await readHistory(shown.session, shown.player.userId, next)), { className: "quiet small", hidden: true });
  element.append(create("p", { className: "hint", hidden: history.rows.length > 0 }, t.mod.noHistory), more);

  /** Later rows say which ones have been taken back, and come first. @param {import("./history.js").History} page */
  async function add(page) {
    known.push(...page.rows);
    const actions = new Set(known.map(({ actionId }) => actionId));
    const voided = new Set(known.filter(({ kind }) => kind === "ACTION_VOIDED").map(({ actionId }) => actionId));
    const undone = await Promise.all(page.rows.map(async ({ eventId }) => actions.has(await undoId(eventId))));
    list.append(...page.rows.map((each, index) => historyRow(shown, each, evidence.has(each.eventId), voided, undone[index])));
    next = page.next;
    more.hidden = !next;
  }
  add(history);
  return element;
}

/** @param {Shown} shown @param {any} each @param {boolean} isEvidence @param {Set<string>} voided @param {boolean} isUndone */
function historyRow({ player, act, session, changed }, each, isEvidence, voided, isUndone) {
  const { kind, quizId, actionTypeId, actionId, delta, oldScore, newScore, eventId, ip, userAgent, reason } = each;
  const isAction = kind === "QUIZ_COMPLETED" || kind === "ACTION_COMPLETED";
  const isReversible = kind === "ACTION_VOIDED" || kind === "SCORE_ADJUSTED";
  const name = t.mod.kinds[kind] ?? kind;
  const takenBack = isAction && voided.has(actionId) ? t.mod.voided : isReversible && isUndone ? t.mod.undone : "";
  let action = create("span", { className: "dim" }, takenBack);
  if (isAction && !takenBack) action = smallButton(t.mod.void, () => act(() => voidAction(session, player, each)), `${t.mod.void}: ${name} ${t.mod.delta(delta)}`);
  if (isReversible && !takenBack && delta) action = smallButton(t.mod.undo, () => act(() => undo(session, player, each)), `${t.mod.undo}: ${name} ${t.mod.delta(delta)}`);
  const by = actorOf(each);
  return row(
    eventId,
    { className: changed.has(eventId) ? "changed" : "" },
    time(each.timestamp),
    create(
      "span",
      { className: "fact" },
      name,
      (quizId || actionTypeId) && create("code", {}, quizId ?? actionTypeId),
      isEvidence && create("small", { className: "tag" }, t.mod.flagged),
    ),
    create("span", { className: "delta" }, delta ? t.mod.delta(delta) : ""),
    create("span", { className: "scores" }, ...(delta ? [t.number(oldScore), arrow(), t.number(newScore)] : [])),
    create("span", { className: "dim" }, by && create("bdi", {}, t.mod.by(by)), reason && create("bdi", {}, reason), ip && create("code", {}, ip), userAgent && create("span", { className: "agent", title: userAgent }, userAgent)),
    action,
  );
}

/** @param {Shown} shown @param {any[]} changes */
export function accountSection({ player, act, session }, changes) {
  // The first one with a former name is the latest change of it, which can be taken back.
  const latest = changes.find(({ formerUsername }) => formerUsername);
  const rows = changes.map((each) =>
    row(
      each.changeId,
      {},
      time(each.timestamp),
      create("span", { className: "fact" }, each.formerUsername ? t.mod.renamed : (t.mod.kinds[each.kind] ?? each.kind), each.formerUsername && create("bdi", {}, t.mod.formerName(each.formerUsername))),
      create("span", { className: "dim" }, actorOf(each) && create("bdi", {}, t.mod.by(actorOf(each))), each.reason && create("bdi", {}, each.reason)),
      each === latest ? smallButton(t.mod.undo, () => act(() => rename(session, player, each.formerUsername)), `${t.mod.undo}: ${t.mod.formerName(each.formerUsername)}`) : create("span", {}),
    ),
  );
  return section("account-changes", t.mod.account, ...(rows.length ? rows : [create("li", { className: "hint" }, t.mod.noChanges)]));
}

/** What was decided about a player's time, newest first; nothing if nothing was. @param {any[]} decisions */
export function extraTimeSection(decisions) {
  if (!decisions.length) return null;
  const rows = decisions.map(({ extraTime, quizId, reason, decidedAt, decidedBy }) =>
    row(
      `${decidedAt} ${quizId}`,
      {},
      time(decidedAt),
      create("span", { className: "fact" }, t.extraTime.times[extraTime], create("code", {}, quizId ?? t.extraTime.allQuizzes)),
      create("span", { className: "dim" }, create("bdi", {}, reason), create("bdi", {}, t.mod.by(decidedBy.replace(/^service:/, "")))),
      create("span", {}),
    ),
  );
  return section("extra-times", t.extraTime.title, ...rows);
}

/** @param {Shown} shown @param {any[]} sessions @param {(one?: any) => void} end */
export function sessionSection(shown, sessions, end) {
  const rows = sessions.map((each) =>
    row(
      each.sessionId,
      {},
      create("span", { className: "fact" }, t.mod.opened(new Date(each.openedAt))),
      create("span", { className: "dim" }, t.mod.renewed(new Date(each.renewedAt))),
      create("span", { className: "dim" }, t.mod.until(dateOf(each.expiresAt))),
      smallButton(t.mod.end, () => end(each), `${t.mod.endSession}: ${t.mod.opened(new Date(each.openedAt))}`),
    ),
  );
  const element = section("sessions", t.mod.sessions, ...(rows.length ? rows : [create("li", { className: "hint" }, t.mod.noSessions)]));
  if (rows.length > 1) element.append(button(t.mod.more(t.mod.endAllSessions), () => end(), { className: "second small" }));
  return element;
}

/** @param {string} name @param {string} title @param {...HTMLElement} rows */
const section = (name, title, ...rows) => create("section", { className: `card ${name}` }, create("h2", {}, title), create("ul", { className: "row-list" }, ...rows));

/** @param {string} key @param {Record<string, any>} properties @param {...(Node | string | false | null)} cells */
const row = (key, properties, ...cells) => create("li", { tabIndex: -1, dataset: { row: key }, ...properties }, ...cells);

/** @param {string} text @param {() => void} action @param {string} name @param {string} [style] */
const smallButton = (text, action, name, style = "second") => button(t.mod.more(text), action, { className: `${style} tiny`, "aria-label": t.mod.more(name) });
