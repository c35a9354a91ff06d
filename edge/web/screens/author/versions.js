// @ts-check
// The versions of a quiz, of which an author puts one back into the draft.

import { create } from "../../parts/dom.js";
import { t } from "../../parts/text.js";
import { ask } from "../mod/dialog.js";
import { QUIZ } from "./drafts.js";

const VERSIONS = "query ($id: ID!, $before: Int!) { quizVersions(id: $id, before: $before) { version title questionCount publishedAt current } }";
const RESTORE = `mutation ($id: ID!, $version: Int!, $revision: Int!) { restoreQuizVersion(id: $id, version: $version, revision: $revision) { quiz ${QUIZ} } }`;
const ROWS = 5;
const OLDER = "older";

/** @typedef {{ version: number, title: string, questionCount: number, publishedAt: string | null, current: boolean }} Version */

/** @param {any} session @param {import("./drafts.js").Draft} draft @param {(quiz: any, text: string) => Promise<void>} take */
export async function versions(session, draft, take) {
  await draft.flush();
  const { id, title, revision } = draft.quiz;
  /** @type {HTMLSelectElement} */
  const list = create("select", { size: ROWS });
  let oldest = 0;
  /** List the next older versions, in place of the line that leads to them, and choose the first of them. */
  const more = async () => {
    /** @type {Version[]} */
    const found = (await session.request(VERSIONS, { id, before: oldest })).quizVersions;
    list.querySelector(`[value=${OLDER}]`)?.remove();
    const next = list.length;
    list.append(...found.map((each) => create("option", { value: String(each.version) }, nameOf(each))));
    list.selectedIndex = Math.min(next, list.length - 1);
    oldest = found.at(-1)?.version ?? 1;
    if (oldest > 1) list.append(create("option", { value: OLDER }, t.author.older));
  };
  await more();
  list.addEventListener("change", () => list.value === OLDER && more().catch(() => (list.selectedIndex -= 1)));
  /** @type {any} */
  let restored = null;
  await ask({
    title: t.author.versionsOf(title),
    why: t.author.versionsWhy,
    verb: t.author.restore,
    done: "",
    reason: null,
    changes: [],
    fields: [{ name: "version", label: t.author.versions.replace("…", ""), input: list }],
    send: async ({ version }) => {
      restored = (await session.request(RESTORE, { id, version: Number(version), revision })).restoreQuizVersion.quiz;
      return { changes: [] };
    },
  });
  if (restored) await take(restored, t.author.restored(Number(list.value)));
}

/** A version in one line. @param {Version} version */
const nameOf = ({ version, title, questionCount, publishedAt, current }) =>
  [t.author.version(version), current && t.author.current, `\u2068${title}\u2069`, t.questions(questionCount), publishedAt && t.author.publishedAt(new Date(publishedAt))].filter(Boolean).join(" · ");
