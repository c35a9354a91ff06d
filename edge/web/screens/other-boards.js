// @ts-check
// The boards that teams have defined, in a list that opens over the page.

import { create, link } from "../parts/dom.js";
import { explain, t } from "../parts/text.js";

const OTHERS = "{ boards { kind name title } }";

/** Open the list, from now on at each click on its button, and read it each time. @param {import("../app.js").App} app @param {HTMLButtonElement} button */
export function showOtherBoards(app, button) {
  const heading = create("h2", { id: "others" }, t.moreBoards);
  const list = create("div", { className: "other-boards card", popover: "auto", role: "group", "aria-labelledby": "others" }, heading);
  list.addEventListener("beforetoggle", async (/** @type {ToggleEvent} */ event) => {
    if (event.newState !== "open") return;
    try {
      const { boards } = await app.session.request(OTHERS);
      const defined = boards.filter((/** @type {any} */ { kind }) => kind === "CUSTOM");
      const links = defined.map((/** @type {any} */ { name, title }) => link(`/b/${encodeURIComponent(`custom:${name}`)}`, create("bdi", {}, title || name)));
      list.replaceChildren(heading, ...(links.length ? links : [t.noMoreBoards]));
    } catch (error) {
      list.replaceChildren(heading, explain(error));
    }
  });
  button.popoverTargetElement = list;
  button.after(list);
  list.showPopover();
}
