// @ts-check
// Whether others have changed a player's score: asked once when a screen knows the score, and when it is another one.

/**
 * What a screen does with each standing of the player.
 * @param {import("../app.js").App} app
 */
export function noticesFor(app) {
  const { visit } = app.router;
  let last = 0;
  let known = NaN;
  return async (/** @type {import("../client/index.js").Standing} */ { score }) => {
    if (app.isGuest || score === known) return;
    known = score;
    const turn = ++last;
    const isCurrent = () => turn === last && visit === app.router.visit;
    const unseen = await app.notices.unseen().catch(() => null);
    if (!unseen || !isCurrent()) return;
    const shown = /** @type {HTMLElement} */ (document.getElementById("notices"));
    if (!unseen.notices.length) return shown.replaceChildren();
    if (shown.firstElementChild?.id === `through-${unseen.through}`) return; // it is read out once, and keeps the focus
    const list = await import("./notice-list.js").then((module) => module.noticeList(app, unseen)).catch(() => null);
    if (list && isCurrent()) shown.replaceChildren(list);
  };
}
