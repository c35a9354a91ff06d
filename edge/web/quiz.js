// Choosing a quiz, answering it, and what it earned. An action keeps its id until an answer has come, so that a second
// try after a lost connection is the same action.

import { ApiError, graphql } from "./api.js";

const LIST = `query ($after: String) {
  quizzes(first: 50, after: $after) {
    edges { node { id title description tags questions { id } } }
    pageInfo { hasNextPage endCursor }
  }
}`;
const ONE = "query ($id: ID!) { quiz(id: $id) { id title questions { id text kind points options { id text } } } }";
const SUBMIT = `mutation ($input: QuizActionInput!) {
  submitQuizAction(input: $input) { message duplicate pointsAwarded correctAnswers totalQuestions }
}`;

/** `make("p", {className: "x"}, "text", child)`: an element; text is text, never markup. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  Object.assign(element, properties);
  element.append(...children);
  return element;
}

export class Quizzes {
  /** Draws into `place`; `onChosen(quiz)` is told which quiz is open, null for the list. */
  constructor(place, onChosen) {
    this.place = place;
    this.onChosen = onChosen;
  }

  async list() {
    this.onChosen(null);
    this.place.replaceChildren(make("p", { className: "empty" }, "Fetching quizzes …"));
    try {
      const cards = [];
      let after = null;
      do {
        const { quizzes } = await graphql(LIST, { after });
        cards.push(...quizzes.edges.map(({ node }) => this.#card(node)));
        after = quizzes.pageInfo.hasNextPage ? quizzes.pageInfo.endCursor : null;
      } while (after);
      this.place.replaceChildren(make("ul", { className: "cards" }, ...cards));
    } catch (error) {
      this.#fail(error, () => this.list());
    }
  }

  #card(quiz) {
    const button = make("button", { type: "button", className: "card" });
    button.append(
      make("strong", {}, quiz.title),
      make("span", {}, quiz.description),
      make("small", {}, `${quiz.questions.length} questions · ${quiz.tags.join(", ")}`),
    );
    button.dataset.quiz = quiz.id;
    button.addEventListener("click", () => this.take(quiz.id));
    return make("li", {}, button);
  }

  async take(id) {
    try {
      const { quiz } = await graphql(ONE, { id });
      this.onChosen(quiz);
      this.#form(quiz);
    } catch (error) {
      this.#fail(error, () => this.take(id));
    }
  }

  #form(quiz) {
    const form = make("form", { className: "questions" });
    const title = make("h3", { tabIndex: -1 }, quiz.title);
    const error = make("p", { className: "error" });
    error.setAttribute("role", "alert");
    const submit = make("button", { type: "submit" }, "Hand in");
    const back = make("button", { type: "button", className: "second" }, "All quizzes");
    back.addEventListener("click", () => this.list());
    form.append(title, ...quiz.questions.map((question, index) => this.#question(question, index)), error);
    form.append(make("div", { className: "row" }, submit, back));
    const actionId = crypto.randomUUID();
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      submit.disabled = true;
      error.textContent = "";
      try {
        this.#result(quiz, await this.#submit(quiz, form, actionId));
      } catch (problem) {
        error.textContent = problem instanceof ApiError ? problem.message : "The connection broke. Hand in again.";
        submit.disabled = false;
      }
    });
    this.place.replaceChildren(form);
    title.focus();
  }

  #question(question, index) {
    const box = make("fieldset", {});
    box.append(make("legend", {}, make("span", { className: "number" }, `${index + 1}`), ` ${question.text}`));
    const options = make("div", { className: "options" });
    for (const option of question.options) {
      const choice = make("input", { type: "radio", name: question.id, value: option.id });
      options.append(make("label", {}, choice, make("span", {}, option.text)));
    }
    box.append(options);
    return box;
  }

  async #submit(quiz, form, actionId) {
    const chosen = new FormData(form);
    const answers = quiz.questions
      .filter((question) => chosen.has(question.id))
      .map((question) => ({ questionId: question.id, selectedOption: chosen.get(question.id) }));
    const input = { quizId: quiz.id, actionId, answers, timestamp: new Date().toISOString() };
    const { submitQuizAction } = await graphql(SUBMIT, { input });
    return submitQuizAction;
  }

  #result(quiz, result) {
    const title = make("h3", { tabIndex: -1 }, `${result.pointsAwarded} points`);
    const again = make("button", { type: "button" }, "Play it again");
    again.addEventListener("click", () => this.take(quiz.id));
    const back = make("button", { type: "button", className: "second" }, "All quizzes");
    back.addEventListener("click", () => this.list());
    const right = `${result.correctAnswers} of ${result.totalQuestions} right in “${quiz.title}”.`;
    this.place.replaceChildren(
      make("div", { className: "result" }, title, make("p", {}, right), make("div", { className: "row" }, again, back)),
    );
    title.focus();
  }

  #fail(error, retry) {
    const again = make("button", { type: "button" }, "Try again");
    again.addEventListener("click", retry);
    this.place.replaceChildren(make("p", { className: "error" }, error.message), again);
  }
}
