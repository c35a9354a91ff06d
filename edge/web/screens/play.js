// @ts-check
// `/`: the quizzes, and the board beside them.

import { BoardPanel } from "../parts/board-panel.js";
import { button, create, link } from "../parts/dom.js";
import { noticesFor } from "../parts/notices.js";
import { roomEntry } from "../parts/room-entry.js";
import { signInForm } from "../parts/sign-in.js";
import { explain, t } from "../parts/text.js";

const LIST = `query ($after: String) {
  quizzes(first: 50, after: $after) {
    edges { node { id title description tags questionCount timing { limitSeconds } } }
    pageInfo { hasNextPage endCursor }
  }
}`;

/** @param {import("../app.js").App} app */
export function showSignIn(app) {
  app.title(t.signIn);
  app.fill(
    create(
      "section",
      { className: "card welcome" },
      create("h1", {}, t.welcome),
      create("p", { className: "lead" }, t.welcomeMore),
      signInForm(app.session, () => app.signedIn()),
    ),
    roomEntry(app),
    watching(app),
  );
}

/** The way to the boards for somebody without an account. @param {import("../app.js").App} app */
function watching(app) {
  const error = create("p", { className: "error", role: "alert" });
  const watch = async () => {
    error.textContent = "";
    try {
      if (!app.isGuest) await app.session.continueAsGuest(t.guest);
      history.pushState(null, "", "/b/all");
      await app.signedIn();
    } catch (failure) {
      error.textContent = explain(failure);
    }
  };
  return create("section", { className: "card watching" }, create("p", { className: "hint" }, t.watchAsGuestWhy), error, create("div", { className: "row" }, button(t.watchAsGuest, watch, { className: "second" })));
}

/** @param {import("../app.js").App} app */
export function showPlay(app) {
  app.title(t.quizzes);
  const cards = create("div", { className: "quiz-list" });
  const section = create("section", {}, create("h1", { className: "screen-title" }, t.quizzes), roomEntry(app), cards);
  const columns = create("div", { className: "columns" }, section);
  const panel = new BoardPanel(app, { onUpdate: noticesFor(app) });
  app.fill(columns);
  // The board stands below the quizzes on a phone: it comes once they are there, and is not pushed away by them.
  list(app, cards).then(() => columns.append(panel.element));
  panel.show("all");
  panel.title.replaceChildren(link("/b/all", t.boardNames.all));
  return () => panel.close();
}

/**
 * @param {import("../app.js").App} app
 * @param {HTMLElement} container
 */
async function list(app, container) {
  container.replaceChildren(create("ul", { className: "cards" }, ...[1, 2, 3].map(() => create("li", { className: "placeholder" }))));
  try {
    const quizzes = [];
    let after = null;
    do {
      /** @type {any} */
      const page = (await app.session.request(LIST, { after })).quizzes;
      quizzes.push(...page.edges.map((/** @type {any} */ { node }) => node));
      after = page.pageInfo.hasNextPage ? page.pageInfo.endCursor : null;
    } while (after);
    if (quizzes.length) container.replaceChildren(create("ul", { className: "cards" }, ...quizzes.map(card)));
    else container.replaceChildren(create("p", { className: "hint" }, t.noQuizzes));
  } catch (error) {
    const again = button(t.tryAgain, () => list(app, container));
    container.replaceChildren(create("p", { className: "error", role: "alert" }, explain(error)), again);
  }
}

/** @param {any} quiz */
function card(quiz) {
  const limit = quiz.timing && t.timeLimit(quiz.timing.limitSeconds);
  const about = [t.questions(quiz.questionCount), limit, ...quiz.tags].filter(Boolean).join(" · ");
  return create(
    "li",
    {},
    link(
      `/q/${encodeURIComponent(quiz.id)}`,
      create(
        "span",
        { className: "quiz-card" },
        create("strong", {}, create("bdi", {}, quiz.title)),
        create("span", { className: "description" }, create("bdi", {}, quiz.description)),
        create("small", {}, about),
      ),
      { dataset: { quiz: quiz.id } },
    ),
  );
}
