// @ts-check
// What an author is asked about people: who owns and edits a quiz, and who gets more time for it.

import { create } from "../../parts/dom.js";
import { accountOf, decide, timeField } from "../../parts/extra-time.js";
import { t } from "../../parts/text.js";
import { ask } from "../mod/dialog.js";
import { QUIZ } from "./drafts.js";

const AUTHORS = "query ($id: ID!) { quizDraft(id: $id) { quiz { owner { userId username } editors { userId username } } } }";
const SHARE = `mutation ($input: ShareQuizInput!) { shareQuiz(input: $input) ${QUIZ} }`;
const MAX_EDITORS = 20;

/** @param {any} session @param {import("./drafts.js").Authored} quiz @param {(quiz: any, text: string) => Promise<void>} take */
export async function share(session, quiz, take) {
  const { owner, editors } = (await session.request(AUTHORS, { id: quiz.id })).quizDraft.quiz;
  const known = new Map([owner, ...editors].filter(Boolean).map(({ userId, username }) => [username, userId]));
  const idOf = async (/** @type {string} */ name, /** @type {string} */ field) => known.get(name) ?? (await accountOf(session, name, field)).userId;
  /** @type {any} */
  let shared = null;
  await ask({
    title: t.author.shareOf(quiz.title),
    why: t.author.shareWhy,
    verb: t.author.share.replace("…", ""),
    done: "",
    reason: null,
    changes: [],
    fields: [
      { name: "owner", label: t.author.owner, rule: t.author.ownerRule, input: create("input", { value: owner?.username ?? "", autocomplete: "off", spellcheck: false, maxLength: 64 }) },
      {
        name: "editors",
        label: t.author.editors,
        rule: t.author.editorsRule,
        input: create("textarea", { rows: 3, value: editors.map((/** @type {any} */ each) => each.username).join("\n"), spellcheck: false }),
        fault: ({ editors: text }) => (namesOf(text).length > MAX_EDITORS ? t.author.editorsFault : ""),
      },
    ],
    send: async (values) => {
      const ownerId = values.owner ? await idOf(values.owner, "owner") : null;
      const editorIds = await Promise.all(namesOf(values.editors).map((name) => idOf(name, "editors")));
      shared = (await session.request(SHARE, { input: { quizId: quiz.id, ownerId, editorIds: [...new Set(editorIds)] } })).shareQuiz;
      return { changes: [] };
    },
  });
  if (shared) await take(shared, t.author.shared);
}

/** @param {any} session @param {import("./drafts.js").Authored} quiz @param {(text: string) => void} notify */
export async function extraTime(session, quiz, notify) {
  await ask({
    title: t.extraTime.of(quiz.title),
    why: t.extraTime.why,
    verb: t.extraTime.verb,
    done: "",
    changes: [],
    fields: [{ name: "username", label: t.extraTime.player, rule: t.extraTime.playerRule, input: create("input", { autocomplete: "off", spellcheck: false, maxLength: 64 }) }, timeField("ONE_AND_A_HALF")],
    send: async ({ username, extraTime: time, reason }) => {
      const { userId, username: name } = await accountOf(session, username, "username");
      const [, before, after] = await decide(session, { userId, quizId: quiz.id, extraTime: time, reason });
      notify(t.extraTime.given(name, before, after));
      return { changes: [] };
    },
  });
}

/** The names in a text, one a line or separated by commas. @param {string} text */
const namesOf = (text) => [...new Set(text.split(/[\n,]/).map((name) => name.trim()).filter(Boolean))];
