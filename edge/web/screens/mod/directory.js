// @ts-check
// `/mod/players`: players by the beginning of their names. `/mod/blocked`: who is blocked, why, and until when.

import { consoleStyle, rowKeys } from "../../parts/console.js";
import { create, link } from "../../parts/dom.js";
import { explain, t } from "../../parts/text.js";
import { actorOf, dateOf, frame, playerAddress } from "./frame.js";
import { PagedList } from "./paged-list.js";

const USERS = `query ($prefix: String!, $blocked: Boolean!, $after: String) {
  users(prefix: $prefix, blocked: $blocked, first: 50, after: $after) {
    edges { node { userId username country roles block { reason blockedAt expiresAt } sanctions { automatic actor actorUser { username } } } }
    pageInfo { hasNextPage endCursor }
  }
}`;
const PAUSE = 200;

/**
 * @param {import("../../app.js").App} app
 * @param {{ list: "players" | "blocked" }} params
 * @param {URLSearchParams} query `q` is what the names start with, `at` the player who has the focus
 */
export async function showDirectory(app, { list: name }, query) {
  app.title(t.mod[name]);
  const blocked = name === "blocked";
  let prefix = query.get("q") ?? "";
  const list = new PagedList({
    read: async (after) => (await app.session.request(USERS, { prefix, blocked, after })).users,
    row: blocked ? blockedRow : playerRow,
    empty: blocked && !prefix ? t.mod.nobodyBlocked : t.mod.noPlayers,
  });
  try {
    await Promise.all([consoleStyle(), list.open()]);
  } catch (error) {
    app.fail(error);
    return;
  }
  list.element.classList.add(name);
  const search = searchField(prefix, async (text) => {
    prefix = text;
    history.replaceState(history.state, "", text ? `?${new URLSearchParams({ q: text })}` : location.pathname);
    await list.open();
  });
  search.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => event.key === "Enter" && list.focusFirst());
  const element = frame(`/mod/${name}`, create("h1", {}, t.mod[name]), search, list.element, create("p", { className: "hint keys" }, t.mod.keys));
  app.fill(element);
  if (query.has("at")) list.focus();
  else if (!blocked) search.querySelector("input").focus();
  return rowKeys(element);
}

/** @param {string} value @param {(text: string) => Promise<void>} find */
function searchField(value, find) {
  const error = create("p", { className: "error", role: "alert" });
  const input = create("input", { id: "search", type: "search", maxLength: 32, value, autocomplete: "off", spellcheck: false });
  let timer = 0;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => find(input.value.trim()).then(() => (error.textContent = ""), (failure) => (error.textContent = explain(failure))), PAUSE);
  });
  return create("div", { className: "search", role: "search" }, create("label", { htmlFor: "search" }, t.mod.search), input, error);
}

/** @param {any} user */
const nameOf = (user) => link(playerAddress(user.userId), create("bdi", {}, user.username), { className: "who" });

/** @param {any} user @returns {[string, ...(Node | string | false | null)[]]} */
const playerRow = (user) => [
  user.userId,
  nameOf(user),
  create("span", {}, user.country ? t.country(user.country) : ""),
  create("span", {}, user.roles.filter((/** @type {string} */ role) => role !== "player").join(", ")),
  create("span", { className: "fact" }, user.block ? `${t.mod.isBlocked} ${t.mod.until(dateOf(user.block.expiresAt))}` : ""),
];

/** @param {any} user @returns {[string, ...(Node | string | false | null)[]]} */
const blockedRow = (user) => [
  user.userId,
  nameOf(user),
  create("bdi", { className: "fact" }, user.block.reason),
  create("span", { className: "until" }, t.mod.until(dateOf(user.block.expiresAt))),
  create("span", { className: "dim" }, `${t.mod.since(new Date(user.block.blockedAt))} ${byWhom(user.sanctions[0])}`),
];

/** @param {any} sanction */
const byWhom = (sanction) => (sanction ? t.mod.by(sanction.automatic ? t.mod.aRule : actorOf(sanction)) : "");
