// @ts-check
// What the screens of authors share: their styles, the links between them, and how the state of a quiz is shown.

import { ApiError } from "../../client/index.js";
import { consoleStyle } from "../../parts/console.js";
import { create, link, loadStyle } from "../../parts/dom.js";
import { explain, t } from "../../parts/text.js";

export const styles = () => Promise.all([consoleStyle(), loadStyle("author.css")]);

/** The page of a screen. @param {string} address that of the list which the screen is; empty if it is none @param {...(Node | false | null)} children */
export function frame(address, ...children) {
  const links = [
    link("/author", t.author.myQuizzes, { "aria-current": address === "/author" ? "page" : null }),
    link("/author/import", t.author.import, { "aria-current": address === "/author/import" ? "page" : null }),
  ];
  return create("div", { className: "console author" }, create("nav", { className: "lists", "aria-label": t.author.screens }, ...links), ...children);
}

/** @param {{ state: string, version: number, changed: boolean }} quiz */
export const stateTag = ({ state, version, changed }) =>
  create(
    "span",
    { className: "tags" },
    create("span", { className: "tag", dataset: { state } }, t.author.states[state]),
    version > 0 && create("span", { className: "tag" }, t.author.version(version)),
    version > 0 && changed && create("span", { className: "tag unpublished" }, t.author.unpublished),
  );

/** What an author reads about a refusal, which says more than its reason. @param {unknown} error */
export const said = (error) => (error instanceof ApiError && error.reason === "PERMISSION_DENIED" ? error.message : explain(error));
