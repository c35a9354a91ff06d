// @ts-check
// What the screens of moderators share: the lists to choose from, and how people and times are shown.

import { create, link } from "../../parts/dom.js";
import { t } from "../../parts/text.js";

const LISTS = /** @type {const} */ ([
  ["/mod", "flags"],
  ["/mod/players", "players"],
  ["/mod/blocked", "blocked"],
]);

/**
 * The page of a screen, below the links to all lists.
 * @param {string} current the address of the list, which the screen shows or belongs to
 * @param {HTMLElement} title
 * @param {...(Node | false | null)} children
 */
export function frame(current, title, ...children) {
  const links = LISTS.map(([href, name]) => link(href, t.mod[name], { "aria-current": href === current ? "page" : null }));
  const head = create("div", { className: "console-head" }, title, create("nav", { className: "lists", "aria-label": t.mod.lists }, ...links));
  return create("div", { className: "console mod" }, head, ...children);
}

/** The address of a player. @param {string} userId @param {string} [flagId] the flag that it is about */
export const playerAddress = (userId, flagId) => `/mod/players/${userId}${flagId ? `?${new URLSearchParams({ flag: flagId })}` : ""}`;

/** @param {string} timestamp */
export const time = (timestamp) => create("time", { dateTime: timestamp, title: timestamp }, t.moment(new Date(timestamp)));

/** Who did something: the name where there is an account, else the service or the ID. @param {{ actor?: string | null, actorUser?: { username: string } | null }} act */
export const actorOf = ({ actor, actorUser }) => (actorUser ? actorUser.username : (actor ?? "").replace(/^service:/, ""));

/** @param {string | null} timestamp */
export const dateOf = (timestamp) => (timestamp ? new Date(timestamp) : null);
