// @ts-check
// `/mod`: what the fair-play rules found, to be decided. For moderators.

import { consoleStyle, rowKeys } from "../../parts/console.js";
import { create, link } from "../../parts/dom.js";
import { t } from "../../parts/text.js";
import { frame, playerAddress, time } from "./frame.js";
import { PagedList } from "./paged-list.js";

const FLAGS = `query ($after: String, $state: FlagState) {
  flags(first: 50, after: $after, state: $state) {
    edges { node { flagId rule reason timestamp note user { userId username block { reason } } } }
    pageInfo { hasNextPage endCursor }
  }
}`;
const STATES = /** @type {const} */ (["OPEN", "BLOCKED", "CLOSED"]);
const READ_EVERY = 15_000;

/**
 * @param {import("../../app.js").App} app
 * @param {object} _
 * @param {URLSearchParams} query `state` chooses the flags, `at` is the one that has the focus
 */
export async function showQueue(app, _, query) {
  app.title(t.mod.flags);
  const state = STATES.find((each) => each.toLowerCase() === query.get("state")) ?? "OPEN";
  const list = new PagedList({
    read: async (after) => (await app.session.request(FLAGS, { after, state })).flags,
    row: flagRow,
    empty: t.mod.noFlags[state],
  });
  try {
    await Promise.all([consoleStyle(), list.open()]);
  } catch (error) {
    app.fail(error);
    return;
  }
  list.element.classList.add("queue");
  const element = frame("/mod", create("h1", {}, t.mod.flags), filters(state), list.element, create("p", { className: "hint keys" }, t.mod.keys));
  app.fill(element);
  list.focus();
  const refreshing = setInterval(async () => {
    if (document.visibilityState !== "visible" || state !== "OPEN") return;
    const count = await list.refresh().catch(() => 0);
    if (count) app.announce(t.mod.newFlags(count));
  }, READ_EVERY);
  const endKeys = rowKeys(element);
  return () => {
    clearInterval(refreshing);
    endKeys();
  };
}

/** @param {string} state */
const filters = (state) =>
  create(
    "nav",
    { className: "filters", "aria-label": t.mod.stateFilter },
    ...STATES.map((each) =>
      link(each === "OPEN" ? "/mod" : `/mod?state=${each.toLowerCase()}`, t.mod.states[each], { "aria-current": each === state ? "true" : null }),
    ),
  );

/** @param {any} flag @returns {[string, ...(Node | string | false | null)[]]} */
function flagRow({ flagId, rule, reason, timestamp, note, user }) {
  return [
    flagId,
    user ? link(playerAddress(user.userId, flagId), create("bdi", {}, user.username), { className: "who" }) : create("span", { className: "who" }, t.mod.erased),
    create("span", { className: "rule" }, t.mod.rules[rule] ?? rule),
    create("span", { className: "fact" }, note || reason, user?.block && create("small", { className: "tag" }, t.mod.isBlocked)),
    time(timestamp),
  ];
}
