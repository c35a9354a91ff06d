// @ts-check
// What a moderator does to an account: blocking and the end of it, another name, the end of sessions.

import { serverNow } from "../../client/index.js";
import { create } from "../../parts/dom.js";
import { t } from "../../parts/text.js";
import { notesOf } from "./acts.js";
import { dateOf } from "./frame.js";

const EFFECT = "eventId boardsChanged closedPeriodsUnchanged";
const BLOCK = `mutation ($input: BlockUserInput!) { blockUser(input: $input) { ${EFFECT} sanctionId } }`;
const UNBLOCK = `mutation ($input: UnblockUserInput!) { unblockUser(input: $input) { ${EFFECT} user { block { expiresAt } } } }`;
const RENAME = "mutation ($input: RenameUserInput!) { renameUser(input: $input) { formerUsername user { username } } }";
const END_SESSIONS = "mutation ($input: EndSessionsInput!) { endSessions(input: $input) }";
const DAY = 86_400_000;
// The server's rule, but for the scripts of letters, which only it knows.
const NAME = /^[\p{L}\p{M}\p{N}_.-]{2,32}$/u;

/**
 * @typedef {import("./dialog.js").Act} Act
 * @typedef {import("./dialog.js").Field} Field
 * @typedef {import("./dialog.js").Values} Values
 * @typedef {import("./acts.js").Player} Player
 * @typedef {import("./acts.js").Session} Session
 */

/** Block a player, or extend the block that they have. @param {Session} session @param {Player} player @returns {Act} */
export function block(session, player) {
  const current = player.block ? dateOf(player.block.expiresAt) : undefined;
  const act = player.block ? t.mod.extend : t.mod.block;
  return {
    title: t.mod.of(act, player.username),
    verb: act,
    done: player.block ? t.mod.doneActs.extended : t.mod.doneActs.blocked,
    reason: player.block?.reason ?? "",
    reasonRule: t.mod.blockReasonRule,
    fields: endFields(current ?? null),
    changes: [{ label: t.mod.standing, before: standing(player.block), after: (values) => t.mod.offBoards(endOf(values)) }],
    send: async (values) => {
      const expiresAt = endOf(values)?.toISOString() ?? null;
      const { blockUser } = await session.request(BLOCK, { input: { userId: player.userId, reason: values.reason, expiresAt } });
      const blocked = { ...player, block: { expiresAt, reason: values.reason } };
      const sanction = { sanctionId: blockUser.sanctionId, adminOnly: false };
      return {
        eventId: blockUser.eventId,
        changes: [[t.mod.standing, standing(player.block), t.mod.offBoards(dateOf(expiresAt))]],
        notes: blockUser.eventId ? notesOf(blockUser) : [],
        undo: unblock(session, { ...blocked, sanctions: [sanction, ...player.sanctions] }, sanction, player.block),
      };
    },
  };
}

/**
 * Lift one sanction, or all that the moderator may lift.
 * @param {Session} session @param {Player} player @param {any} [sanction] @param {any} [rest] the block that is left
 * @returns {Act}
 */
export function unblock(session, player, sanction, rest = sanction ? player.sanctions.find((each) => each !== sanction) : undefined) {
  return {
    title: t.mod.of(t.mod.unblock, player.username),
    verb: t.mod.unblock,
    done: t.mod.doneActs.unblocked,
    changes: [{ label: t.mod.standing, before: standing(player.block), after: () => standing(rest) }],
    send: async ({ reason }) => {
      const input = { userId: player.userId, reason, sanctionId: sanction?.sanctionId ?? null };
      const { unblockUser } = await session.request(UNBLOCK, { input });
      return {
        eventId: unblockUser.eventId,
        changes: [[t.mod.standing, standing(player.block), standing(unblockUser.user.block)]],
        notes: unblockUser.eventId ? notesOf(unblockUser) : [],
      };
    },
  };
}

/** @param {Session} session @param {Player} player @param {string} [name] the name to suggest @returns {Act} */
export function rename(session, player, name = "") {
  const input = create("input", { value: name, autocomplete: "off", spellcheck: false, maxLength: 32 });
  const fault = (/** @type {Values} */ { username }) => (NAME.test(username) && username !== player.username ? "" : t.mod.nameFault);
  return {
    title: t.mod.of(t.mod.rename, player.username),
    verb: t.mod.rename,
    done: t.mod.doneActs.renamed,
    fields: [{ name: "username", label: t.mod.name, rule: t.nameRule, input, fault }],
    changes: [{ label: t.mod.name, before: player.username, after: ({ username }) => username }],
    send: async ({ username, reason }) => {
      const { renameUser } = await session.request(RENAME, { input: { userId: player.userId, username, reason } });
      const renamed = { ...player, username: renameUser.user.username };
      return {
        changes: [[t.mod.name, renameUser.formerUsername, renamed.username]],
        undo: rename(session, renamed, renameUser.formerUsername),
      };
    },
  };
}

/** @param {Session} session @param {Player} player @param {any[]} sessions @param {any} [one] all by default @returns {Act} */
export const endSessions = (session, player, sessions, one) => ({
  title: t.mod.of(one ? t.mod.endSession : t.mod.endAllSessions, player.username),
  verb: one ? t.mod.endSession : t.mod.endAllSessions,
  done: t.mod.doneActs.ended,
  changes: [{ label: t.mod.sessions, before: t.number(sessions.length), after: () => t.number(one ? sessions.length - 1 : 0) }],
  send: async ({ reason }) => {
    const input = { userId: player.userId, reason, sessionId: one?.sessionId ?? null };
    const { endSessions: ended } = await session.request(END_SESSIONS, { input });
    return { changes: [[t.mod.sessions, t.number(sessions.length), t.number(sessions.length - ended)]] };
  },
});

/** @param {{ expiresAt: string | null } | null | undefined} inForce */
export const standing = (inForce) => (inForce ? t.mod.offBoards(dateOf(inForce.expiresAt)) : t.mod.onBoards);

/** The fields of a block's end, which must be after `current`. @param {Date | null} current @returns {Field[]} */
function endFields(current) {
  const choices = /** @type {[string, string][]} */ (["1", "7", "30", "never", "at"].map((each) => [each, t.mod.endsIn[each]]));
  const options = choices.map(([value, text]) => create("option", { value, selected: value === "7" }, text));
  const fault = (/** @type {Values} */ values) => {
    const end = endOf(values);
    if (values.ends === "at" && (!values.expiresAt || !end || end.getTime() <= serverNow())) return t.mod.endsFault;
    return current && end && end <= current ? t.mod.laterFault(current) : "";
  };
  const isAt = (/** @type {Values} */ { ends }) => ends === "at";
  return [
    { name: "ends", label: t.mod.ends, input: create("select", {}, ...options), fault: (values) => (isAt(values) ? "" : fault(values)) },
    { name: "expiresAt", label: t.mod.endsAt, input: create("input", { type: "datetime-local" }), shown: isAt, fault },
  ];
}

/** When a block ends; null if it does not. @param {Values} values */
function endOf({ ends, expiresAt }) {
  if (ends === "never") return null;
  if (ends !== "at") return new Date(Math.ceil(serverNow() / 60_000) * 60_000 + Number(ends) * DAY);
  const end = new Date(expiresAt);
  return Number.isNaN(end.getTime()) ? null : end;
}
