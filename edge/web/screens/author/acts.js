// @ts-check
// What an author does with a whole quiz. Acts that ask something are in `dialogs.js`.

import { ApiError } from "../../client/index.js";
import { button } from "../../parts/dom.js";
import { t } from "../../parts/text.js";
import { QUIZ } from "./drafts.js";
import { said } from "./frame.js";

// Loaded with the first act that asks something.
const dialogs = () => import("./dialogs.js");
const people = () => import("./people.js");
const versions = () => import("./versions.js");

const PUBLISH = `mutation ($id: ID!, $revision: Int!, $version: Int!) { publishQuiz(id: $id, revision: $revision, version: $version) { quiz ${QUIZ} } }`;
const CLOSE = `mutation ($id: ID!) { closeQuiz(id: $id) ${QUIZ} }`;

/**
 * @param {import("../../app.js").App} app
 * @param {import("./drafts.js").Draft} draft
 * @param {object} page
 * @param {() => void} page.toFirstFault
 * @param {(text: string) => void} page.notify
 * @returns {Node[]}
 */
export function actButtons(app, draft, { toFirstFault, notify }) {
  const { quiz, faults } = draft;
  const session = app.session;
  /** @param {string} text @param {() => Promise<void>} act @param {string} [style] */
  const act = (text, act, style = "second small") =>
    button(
      text,
      async () => {
        try {
          await act();
        } catch (error) {
          draft.refusal = said(error);
          draft.saving = error instanceof ApiError && error.reason === "VERSION_CONFLICT" ? "conflict" : "refused";
          draft.onChange();
        }
      },
      { className: style, dataset: { key: text } },
    );
  const publish = async () => {
    await draft.flush();
    if (draft.faults.length) return toFirstFault();
    const { id, revision, version } = draft.quiz;
    await take((await session.request(PUBLISH, { id, revision, version })).publishQuiz.quiz, t.author.published);
  };
  /** @param {any} quiz_ @param {string} text */
  const take = async (quiz_, text) => {
    const isOther = quiz_.revision !== draft.quiz.revision;
    draft.took(quiz_);
    notify(text);
    if (!isOther) return;
    await draft.loadTheirs();
    // Its form shows what was there before.
    await app.router.go(`/author/q/${encodeURIComponent(draft.id)}`, { replace: true });
  };
  const isPublished = quiz.version > 0;
  const isOwner = session.user?.roles.includes("admin") || quiz.ownerId === session.user?.userId;
  const isLive = ["OPEN", "SCHEDULED"].includes(quiz.state);
  return [
    faults.length ? act(t.author.faultCount(faults.length), async () => toFirstFault(), "second small") : act(isPublished ? t.author.publishChanges : t.author.publish, publish, "small"),
    ...(isPublished ? [act(t.author.schedule, async () => (await dialogs()).schedule(session, draft, take))] : []),
    ...(isPublished ? [act(t.author.versions, async () => (await versions()).versions(session, draft, take))] : []),
    ...(isLive ? [act(t.author.close, async () => take((await session.request(CLOSE, { id: quiz.id })).closeQuiz, t.author.closed))] : []),
    ...(isOwner ? [act(t.author.share, async () => (await people()).share(session, quiz, take))] : []),
    ...(isPublished ? [act(t.extraTime.act, async () => (await people()).extraTime(session, quiz, notify))] : []),
    act(t.author.copy, async () => (await dialogs()).copy(app, draft)),
    act(t.author.export, async () => (await dialogs()).exportFile(session, quiz, notify)),
    ...(isPublished ? [act(t.author.rejudge, async () => (await dialogs()).rejudge(session, quiz, notify))] : []),
    ...(quiz.state !== "ARCHIVED" ? [act(t.author.archive, async () => (await dialogs()).archive(session, quiz, take), "quiet small")] : []),
  ];
}
