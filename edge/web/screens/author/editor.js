// @ts-check
// `/author/q/:quiz` the quiz as a whole, `/author/q/:quiz/:n` one of its questions: the draft, what is wrong with it, and its preview.

import { button, create, link } from "../../parts/dom.js";
import { t } from "../../parts/text.js";
import { actButtons } from "./acts.js";
import { MAX_QUESTIONS, move, newQuestion, shorter } from "./document.js";
import { Draft } from "./drafts.js";
import { frame, stateTag, styles } from "./frame.js";
import { preview } from "./preview.js";
import { questionForm } from "./question-form.js";
import { questionList } from "./question-list.js";
import { quizForm } from "./quiz-form.js";
import { savingNote } from "./saving.js";

/** @typedef {import("../../app.js").App} App */

/** @type {Editor | null} the one on the screen, which goes on when another question of its quiz is shown */
let current = null;

/** @param {App} app @param {{ quiz: string, n?: string }} params */
export async function showEditor(app, { quiz: id, n = "0" }) {
  try {
    if (current?.draft.id !== id) {
      const editor = new Editor(app, id);
      await Promise.all([styles(), editor.draft.open()]);
      current = editor;
    }
  } catch (error) {
    app.fail(error);
    return;
  }
  const editor = current;
  if (!editor.show(Number(n))) return app.notFound();
  return () => {
    editor.draft.flush();
    if (!location.pathname.startsWith(`${editor.address}/`) && location.pathname !== editor.address) current = null;
  };
}

class Editor {
  /** @param {App} app @param {string} id */
  constructor(app, id) {
    this.app = app;
    this.address = `/author/q/${encodeURIComponent(id)}`;
    this.draft = new Draft(app.session, id, () => this.#update());
    this.n = 0;
    this.title = create("h1", { className: "quiz-title" });
    this.status = create("div", { className: "draft-status" });
    this.acts = create("div", { className: "acts" });
    this.side = create("nav", { className: "card side", "aria-label": t.author.questions });
    this.form = create("section", { className: "card form" });
    this.shown = create("section", { className: "card preview", "aria-label": t.author.preview });
    this.notice = create("p", { className: "notice", hidden: true });
    /** @type {import("./question-form.js").Editing} */
    this.editing = { changed: () => this.#changed(), redraw: (key) => this.#redraw(key), announce: app.announce };
  }

  get questions() {
    return (this.draft.document.questions ??= []);
  }

  /** Show the quiz, or its question `n` from 1. Returns false if there is none. @param {number} n */
  show(n) {
    if (n > this.questions.length) return false;
    this.n = n;
    const head = create("div", { className: "editor-head" }, create("div", { className: "title-line" }, this.title, this.status), this.acts);
    const body = create("div", { className: "editor" }, this.side, this.form, this.shown);
    this.app.fill(frame("", head, this.notice, body));
    this.#draw();
    this.#update();
    if (n) /** @type {HTMLElement | null} */ (this.form.querySelector("[data-key=text]"))?.focus({ preventScroll: true });
    return true;
  }

  #changed() {
    this.notice.hidden = true;
    this.draft.changed();
    this.#drawPreview();
    this.#drawSide();
  }

  /** @param {string} [key] */
  #redraw(key = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.key) {
    this.#draw();
    this.#changed();
    if (key) /** @type {HTMLElement | null} */ (this.form.querySelector(`[data-key="${CSS.escape(key)}"]`))?.focus();
  }

  #draw() {
    const heading = create("h2", {}, this.n ? t.author.question(this.n) : t.author.aboutQuiz);
    const form = this.n ? questionForm(this.draft.document, this.n - 1, this.editing) : quizForm(this.draft.document, this.editing);
    this.form.replaceChildren(heading, form, ...(this.n ? [this.#foot()] : []));
    this.#drawPreview();
    this.#drawSide();
    this.#drawFaults();
  }

  #foot() {
    const next = this.n < this.questions.length ? link(`${this.address}/${this.n + 1}`, t.author.nextQuestion, { className: "button second small" }) : null;
    return create("div", { className: "row form-foot" }, next, button(t.author.deleteQuestion, () => this.#delete(), { className: "quiet small" }));
  }

  #drawPreview() {
    const question = this.questions[this.n - 1];
    this.shown.hidden = !question;
    if (question) this.shown.replaceChildren(create("p", { className: "preview-name" }, t.author.preview), preview(this.draft.document, question));
  }

  #drawSide() {
    const focused = this.side.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement).dataset.key : undefined;
    const add = button(t.author.addQuestion, () => this.#add(), { className: "second small", dataset: { key: "add" } });
    const list = questionList({
      address: this.address,
      questions: this.questions,
      current: this.n,
      faults: this.draft.faults,
      onMove: (from, by) => this.#move(from, by),
    });
    this.side.replaceChildren(list, this.questions.length < MAX_QUESTIONS ? add : "");
    if (focused) /** @type {HTMLElement | null} */ (this.side.querySelector(`[data-key="${CSS.escape(focused)}"]`))?.focus();
  }

  #add() {
    this.questions.push(newQuestion(this.draft.document));
    this.draft.changed();
    this.app.router.go(`${this.address}/${this.questions.length}`);
  }

  /** @param {number} index @param {number} by */
  #move(index, by) {
    const to = index + by;
    if (to < 0 || to >= this.questions.length) return;
    // The link or the button that moved the question keeps the focus.
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.key?.replace(/^question-\d+/, `question-${to}`);
    const shown = this.questions[this.n - 1];
    move(this.questions, index, to);
    this.draft.changed();
    this.n = shown ? this.questions.indexOf(shown) + 1 : 0;
    if (shown) history.replaceState(history.state, "", `${this.address}/${this.n}`);
    this.#draw();
    if (focused) /** @type {HTMLElement | null} */ (this.side.querySelector(`[data-key="${CSS.escape(focused)}"]`))?.focus();
    this.app.announce(t.moved(t.author.question(index + 1), to + 1, this.questions.length));
  }

  #delete() {
    const index = this.n - 1;
    const [gone] = this.questions.splice(index, 1);
    this.draft.changed();
    const rest = Math.min(this.n, this.questions.length);
    this.app.router.go(rest ? `${this.address}/${rest}` : this.address, { replace: true });
    const restore = button(t.author.undo, () => {
      this.questions.splice(index, 0, gone);
      this.draft.changed();
      this.notice.hidden = true;
      this.app.router.go(`${this.address}/${index + 1}`);
    }, { className: "second small" });
    this.#notify(t.author.deleted(index + 1), restore);
  }

  /** Say what was done, until the next change. @param {string} text @param {...Node} more */
  #notify(text, ...more) {
    this.notice.replaceChildren(text, " ", ...more);
    this.notice.hidden = false;
    this.app.announce(text);
  }

  /** Show what has changed about the draft, but for its form. */
  #update() {
    const { draft, app } = this;
    if (!draft.quiz) return;
    const name = draft.document.title || t.author.untitled;
    app.title(name);
    this.title.replaceChildren(create("bdi", {}, name));
    this.status.replaceChildren(stateTag(draft.quiz), savingNote(app, draft, () => this.show(Math.min(this.n, this.questions.length))));
    const page = { toFirstFault: () => this.#goToFault(), notify: (/** @type {string} */ text) => this.#notify(text) };
    const focused = this.acts.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement).dataset.key : undefined;
    this.acts.replaceChildren(...actButtons(app, draft, page));
    if (focused) /** @type {HTMLElement | null} */ (this.acts.querySelector(`[data-key="${focused}"]`))?.focus();
    this.#drawFaults();
    if (this.side.childElementCount) this.#drawSide();
  }

  /** Put each fault beside the field that it is about, or the nearest around it. */
  #drawFaults() {
    for (const element of this.form.querySelectorAll(".fault")) element.textContent = "";
    for (const element of this.form.querySelectorAll("[aria-invalid]")) element.removeAttribute("aria-invalid");
    for (const { place, message } of this.draft.faults) {
      const owner = this.#ownerOf(place);
      const element = owner?.querySelector(":scope > .fault");
      if (!owner || !element) continue;
      element.textContent = [element.textContent, t.author.faultText(message)].filter(Boolean).join(" ");
      owner.querySelector(":scope > :is(input, textarea, select)")?.setAttribute("aria-invalid", "true");
    }
  }

  /** @param {string} place @returns {Element | undefined} */
  #ownerOf(place) {
    for (let at = place; at; at = shorter(at) === at ? "" : shorter(at)) {
      const found = [...this.form.querySelectorAll(`[data-place="${CSS.escape(at)}"]`)].filter((each) => each.querySelector(":scope > .fault"));
      if (found.length) return found.at(-1);
    }
    return undefined;
  }

  /** Lead to the first fault: of the quiz as a whole, or of its first question that has one. */
  async #goToFault() {
    const numbers = this.draft.faults.map(({ place }) => Number(/^questions\[(\d+)\]/.exec(place)?.[1] ?? -1) + 1);
    const first = Math.min(...numbers);
    await this.app.router.go(first ? `${this.address}/${first}` : this.address);
    const faulty = [...this.form.querySelectorAll(".fault")].find((each) => each.textContent);
    const inside = this.form.querySelector("[aria-invalid]") ?? faulty?.parentElement?.querySelector("input, textarea, select") ?? this.side.querySelector("[data-key=add]");
    if (inside instanceof HTMLElement) inside.focus();
  }
}
