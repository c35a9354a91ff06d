// @ts-check
// Whether others have changed a player's score: asked when a screen knows the score, when it is another one, and while there is
// something that another device may have shown meanwhile.

const AGAIN = 10_000;

/**
 * What a screen does with each standing of the player.
 * @param {import("../app.js").App} app
 */
export function noticesFor(app) {
  const { visit } = app.router;
  const shown = /** @type {HTMLElement} */ (document.getElementById("notices"));
  let last = 0;
  let known = NaN;
  let timer = 0;

  async function look() {
    const turn = ++last;
    const isCurrent = () => turn === last && visit === app.router.visit;
    clearTimeout(timer);
    const unseen = await app.notices.unseen().catch(() => null);
    if (unseen && isCurrent()) await show(unseen, isCurrent);
    if (isCurrent() && shown.firstElementChild) wait();
  }

  function wait() {
    timer = setTimeout(() => visit === app.router.visit && (document.hidden ? wait() : look()), AGAIN);
  }

  /** @param {Awaited<ReturnType<import("../client/index.js").Notices["unseen"]>>} unseen @param {() => boolean} isCurrent */
  async function show(unseen, isCurrent) {
    if (!unseen.notices.length) return clear();
    if (shown.firstElementChild?.id === `through-${unseen.through}`) return; // it is read out once, and keeps the focus
    const list = await import("./notice-list.js").then((module) => module.noticeList(app, unseen)).catch(() => null);
    if (list && isCurrent()) shown.replaceChildren(list);
  }

  function clear() {
    const hadFocus = shown.contains(document.activeElement);
    shown.replaceChildren();
    if (hadFocus) document.getElementById("main")?.focus({ preventScroll: true });
  }

  return (/** @type {import("../client/index.js").Standing} */ { score }) => {
    if (app.isGuest || score === known) return;
    known = score;
    return look();
  };
}
