// @ts-check
// `/author`: the quizzes that an author owns or edits, for admins those of everybody.

import { ApiError } from "../../client/index.js";
import { rowKeys } from "../../parts/console.js";
import { button, create, link } from "../../parts/dom.js";
import { t } from "../../parts/text.js";
import { ask } from "../mod/dialog.js";
import { PagedList } from "../mod/paged-list.js";
import { newQuestion, slug } from "./document.js";
import { save } from "./drafts.js";
import { frame, stateTag, styles } from "./frame.js";

const LIST = `query ($after: String, $all: Boolean!) {
  authoredQuizzes(first: 50, after: $after, all: $all) {
    edges { node { id title state version changed questionCount opensAt closesAt changedAt } }
    pageInfo { hasNextPage endCursor }
  }
}`;
const ID = /^[a-z0-9][a-z0-9-]{0,63}$/;

/** @param {import("../../app.js").App} app */
export async function showAuthored(app) {
  app.title(t.author.myQuizzes);
  const all = Boolean(app.session.user?.roles.includes("admin"));
  const list = new PagedList({
    read: async (after) => (await app.session.request(LIST, { after, all })).authoredQuizzes,
    row: quizRow,
    empty: t.author.noQuizzes,
  });
  try {
    await Promise.all([styles(), list.open()]);
  } catch (error) {
    app.fail(error);
    return;
  }
  list.element.classList.add("authored");
  const start = button(t.author.newQuiz, () => create_(app));
  const head = create("div", { className: "console-head" }, create("h1", {}, t.author.myQuizzes), start);
  const element = frame("/author", head, list.element, create("p", { className: "hint keys" }, t.mod.keys));
  app.fill(element);
  list.focus();
  return rowKeys(element);
}

/** @param {any} quiz @returns {[string, ...(Node | string | false | null)[]]} */
function quizRow(quiz) {
  const times = [quiz.state === "SCHEDULED" && quiz.opensAt && t.opensAt(new Date(quiz.opensAt)), quiz.closesAt && t.author.closing(new Date(quiz.closesAt))];
  return [
    quiz.id,
    link(`/author/q/${encodeURIComponent(quiz.id)}`, create("bdi", {}, quiz.title || t.author.untitled), { className: "who" }),
    stateTag(quiz),
    create("span", { className: "dim" }, create("span", {}, t.questions(quiz.questionCount)), ...times.filter(Boolean).map((text) => create("span", {}, text))),
    create("span", { className: "dim when" }, quiz.changedAt ? t.author.changedAt(new Date(quiz.changedAt)) : ""),
  ];
}

/** Ask for a title and an ID, and open the new draft. @param {import("../../app.js").App} app */
async function create_(app) {
  const title = create("input", { maxLength: 120, autocomplete: "off" });
  const id = create("input", { maxLength: 64, autocomplete: "off", spellcheck: false });
  let isOwnId = false;
  id.addEventListener("input", () => (isOwnId = true));
  title.addEventListener("input", () => {
    if (!isOwnId) id.value = slug(title.value);
  });
  let made = "";
  const outcome = await ask({
    title: t.author.newQuiz,
    verb: t.author.createQuiz,
    done: "",
    reason: null,
    changes: [],
    fields: [
      { name: "title", label: t.author.title, input: title, fault: (values) => (values.title ? "" : t.author.titleFault) },
      { name: "quizId", label: t.author.id, rule: t.author.idRule, input: id, fault: (values) => (ID.test(values.quizId) ? "" : t.author.idFault) },
    ],
    send: async (values) => {
      const quiz = { id: values.quizId, title: values.title, questions: [newQuestion({ id: values.quizId })] };
      try {
        await save(app.session, quiz, 0);
      } catch (error) {
        if (error instanceof ApiError && ["VERSION_CONFLICT", "PERMISSION_DENIED"].includes(error.reason)) {
          throw new ApiError("INVALID_ARGUMENT", `quizId: ${t.author.idTaken}`);
        }
        throw error;
      }
      made = values.quizId;
      return { changes: [] };
    },
  });
  if (outcome) await app.router.go(`/author/q/${encodeURIComponent(made)}`);
}
