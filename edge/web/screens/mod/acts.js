// @ts-check
// What a moderator does to a score: voiding, adjusting, and undoing both; and deciding about a flag.

import { create } from "../../parts/dom.js";
import { decide, timeField } from "../../parts/extra-time.js";
import { t } from "../../parts/text.js";

const EFFECT = "eventId scoreDelta newScore boardsChanged closedPeriodsUnchanged";
const VOID = `mutation ($input: VoidActionInput!) { voidAction(input: $input) { ${EFFECT} } }`;
const ADJUST = `mutation ($input: AdjustScoreInput!) { adjustScore(input: $input) { ${EFFECT} } }`;
const CLOSE_FLAG = "mutation ($input: CloseFlagInput!) { closeFlag(input: $input) { flagId } }";
const MAX_DELTA = 1_000_000_000;

/**
 * @typedef {import("./dialog.js").Act} Act
 * @typedef {import("./dialog.js").Outcome} Outcome
 * @typedef {{ userId: string, username: string, country: string | null, block: any, sanctions: any[], score: number }} Player
 * @typedef {{ request: (query: string, variables?: object) => Promise<any> }} Session
 */

/** @param {Session} session @param {Player} player @param {any} row the action of the ledger to void @returns {Act} */
export function voidAction(session, player, row) {
  const rest = player.score - row.delta;
  return {
    title: t.mod.of(t.mod.void, player.username),
    verb: t.mod.void,
    done: t.mod.doneActs.voided,
    changes: [
      { label: t.mod.actionPoints, before: t.mod.delta(row.delta), after: () => "0" },
      // An earlier attempt at the same quiz may count again.
      { label: t.mod.score, before: t.number(player.score), after: () => (row.quizId ? t.mod.orMore(rest) : t.number(rest)) },
    ],
    send: async ({ reason }) => {
      const { voidAction: effect } = await session.request(VOID, { input: { userId: player.userId, actionId: row.actionId, reason } });
      return scoreOutcome(session, player, effect);
    },
  };
}

/** @param {Session} session @param {Player} player @returns {Act} */
export function adjust(session, player) {
  const input = create("input", { inputMode: "numeric", autocomplete: "off" });
  return {
    title: t.mod.of(t.mod.adjust, player.username),
    verb: t.mod.adjust,
    done: t.mod.doneActs.adjusted,
    fields: [{ name: "delta", label: t.mod.points, rule: t.mod.pointsRule, input, fault: ({ delta }) => (deltaOf(delta) ? "" : t.mod.pointsFault) }],
    changes: [{ label: t.mod.score, before: t.number(player.score), after: ({ delta }) => t.number(player.score + deltaOf(delta)) }],
    send: ({ delta, reason }) => sendAdjustment(session, player, { delta: deltaOf(delta), reason }),
  };
}

/** @param {Session} session @param {Player} player @returns {Act} */
export function giveExtraTime(session, player) {
  return {
    title: t.extraTime.of(player.username),
    why: t.extraTime.why,
    verb: t.extraTime.verb,
    done: t.extraTime.done,
    fields: [timeField("ONE_AND_A_HALF"), { name: "quizId", label: t.extraTime.quiz, rule: t.extraTime.quizRule, input: create("input", { autocomplete: "off", spellcheck: false, maxLength: 64 }) }],
    changes: [],
    send: async ({ extraTime, quizId, reason }) => ({ changes: [await decide(session, { userId: player.userId, quizId: quizId || null, extraTime, reason })] }),
  };
}

/**
 * Take back a void or an adjustment: the opposite, which counts once however often it is sent.
 * @param {Session} session @param {Player} player @param {{ eventId: string, delta: number, kind: string }} row @returns {Act}
 */
export function undo(session, player, row) {
  const what = t.mod.kinds[row.kind];
  return {
    title: t.mod.of(t.mod.undoing(what), player.username),
    verb: t.mod.undo,
    done: t.mod.doneActs.undone,
    reason: `${t.mod.undoing(what)}.`,
    changes: [{ label: t.mod.score, before: t.number(player.score), after: () => t.number(player.score - row.delta) }],
    send: async ({ reason }) => {
      const { undo: _, ...outcome } = await sendAdjustment(session, player, { delta: -row.delta, reason, actionId: await undoId(row.eventId) });
      return outcome;
    },
  };
}

/**
 * The ID of the action that undoes an event: always the same one. A UUID of version 8, from a digest.
 * @param {string} eventId
 */
export async function undoId(eventId) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`undo ${eventId}`));
  const bytes = new Uint8Array(digest).slice(0, 16);
  bytes[6] = (bytes[6] & 0x0f) | 0x80;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const text = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return text.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** @param {Session} session @param {any} flag @returns {Act} */
export const closeFlag = (session, { flagId, rule, reason: found }) => ({
  title: t.mod.of(t.mod.closeFlag, t.mod.rules[rule] ?? rule),
  why: found,
  verb: t.mod.closeFlag,
  done: t.mod.doneActs.decided,
  reasonLabel: t.mod.decision,
  changes: [{ label: t.mod.flag, before: t.mod.states.OPEN, after: () => t.mod.states.CLOSED }],
  send: async ({ reason }) => {
    await session.request(CLOSE_FLAG, { input: { flagId, note: reason } });
    return { changes: [[t.mod.flag, t.mod.states.OPEN, t.mod.states.CLOSED]] };
  },
});

/**
 * @param {Session} session @param {Player} player @param {{ delta: number, reason: string, actionId?: string }} adjustment
 * @returns {Promise<Outcome>}
 */
async function sendAdjustment(session, player, adjustment) {
  const { adjustScore: effect } = await session.request(ADJUST, { input: { userId: player.userId, ...adjustment } });
  return scoreOutcome(session, player, effect, "SCORE_ADJUSTED");
}

/** @param {Session} session @param {Player} player @param {any} effect @returns {Outcome} */
function scoreOutcome(session, player, effect, kind = "ACTION_VOIDED") {
  const after = effect.newScore ?? player.score + effect.scoreDelta;
  const row = { eventId: effect.eventId, delta: effect.scoreDelta, kind };
  return {
    eventId: effect.eventId,
    changes: [[t.mod.score, t.number(after - effect.scoreDelta), t.number(after)]],
    notes: notesOf(effect),
    undo: effect.scoreDelta ? undo(session, { ...player, score: after }, row) : null,
  };
}

/** What the ledger says about an event. @param {{ boardsChanged: string[] | null, closedPeriodsUnchanged: string[] | null }} effect */
export const notesOf = ({ boardsChanged, closedPeriodsUnchanged }) => [
  ...(boardsChanged === null ? [t.mod.onItsWay] : []),
  ...(boardsChanged?.length ? [t.mod.boardsChanged(boardsChanged.map(boardName))] : []),
  ...(closedPeriodsUnchanged?.length ? [t.mod.unchangedPeriods(closedPeriodsUnchanged.map(boardName))] : []),
];

/** What a board with its period is called. @param {string} board such as `weekly:2026-47` */
export function boardName(board) {
  const [kind, ...rest] = board.split(":");
  if (kind === "all") return t.boardNames.all;
  if (kind === "country") return t.country(rest[0]);
  return [t.mod.boardKinds[kind.toUpperCase()] ?? "", ...rest].join(" ").trim();
}

/** The points of an adjustment; 0 unless they are a whole number within the bounds. @param {string} text */
function deltaOf(text) {
  const delta = Number(text.replace("−", "-").replaceAll(",", ""));
  return text && Number.isInteger(delta) && Math.abs(delta) <= MAX_DELTA ? delta : 0;
}
