// @ts-check
// What changed a player's score without them, below every screen until they have read it. Loaded when there is something.

import { button, create, loadStyle } from "./dom.js";
import { t } from "./text.js";

/**
 * @param {import("../app.js").App} app
 * @param {Awaited<ReturnType<import("../client/index.js").Notices["unseen"]>>} unseen
 * @returns {Promise<HTMLElement>}
 */
export async function noticeList(app, { through, notices }) {
  await loadStyle("notices.css");
  const close = async () => {
    await app.notices.markSeen(through).catch(() => {}); // they come again with the next visit
    section.remove();
    document.getElementById("main")?.focus({ preventScroll: true });
  };
  const section = create(
    "section",
    { id: `through-${through}`, className: "card", "aria-label": t.notices.title },
    create("ul", {}, ...notices.map(item)),
    button(t.notices.close, close, { className: "second" }),
  );
  return section;
}

/** @param {import("../client/index.js").Notice} notice */
function item({ kind, quizId, quizTitle, pointsBefore, pointsAfter, reason, recordedAt }) {
  const what = quizId ? (quizTitle ?? t.notices.aQuiz) : null;
  const text = t.notices.changed(kind, what, pointsBefore, pointsAfter);
  const why = reason && create("bdi", {}, reason);
  return create("li", {}, create("p", {}, text), create("small", {}, t.notices.at(new Date(recordedAt)), why && " · ", why));
}
