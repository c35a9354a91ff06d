// @ts-check
// Whether a draft is saved, and what to do if somebody else changed it.

import { button, create } from "../../parts/dom.js";
import { explain, t } from "../../parts/text.js";

/**
 * @param {import("../../app.js").App} app
 * @param {import("./drafts.js").Draft} draft
 * @param {() => void} redraw shows the draft again, which was replaced
 */
export function savingNote(app, draft, redraw) {
  if (draft.saving !== "conflict") {
    const text = draft.saving === "refused" ? t.author.refused(draft.refusal) : t.author.savings[draft.saving];
    return create("span", { className: draft.saving === "refused" ? "error" : "hint saving", role: "status" }, text);
  }
  const attempt = (/** @type {() => Promise<void>} */ act) => async () => {
    try {
      await act();
      redraw();
    } catch (error) {
      app.announce(explain(error));
    }
  };
  return create(
    "span",
    { className: "notice conflict", role: "alert" },
    t.author.conflict,
    create(
      "span",
      { className: "row" },
      button(t.author.loadTheirs, attempt(() => draft.loadTheirs()), { className: "second small" }),
      button(t.author.keepMine, attempt(() => draft.keepMine()), { className: "second small" }),
    ),
  );
}
