// @ts-check
// The drafts of an author: read, saved a moment after each change, and kept on this device until the server has them.

import { ApiError } from "../../client/index.js";

/** What the screens of authors know of a quiz. */
export const QUIZ = "{ id title state version changed revision questionCount opensAt closesAt changedAt ownerId }";
const READ = `query ($id: ID!) { quizDraft(id: $id) { quiz ${QUIZ} document faults { place message } } }`;
const SAVE = `mutation ($input: SaveQuizDraftInput!) { saveQuizDraft(input: $input) { quiz ${QUIZ} document faults { place message } } }`;
const SAVE_AFTER = 1_500;
const TRY_AGAIN_AFTER = 5_000;

/**
 * @typedef {{ place: string, message: string }} Fault
 * @typedef {{ id: string, title: string, state: string, version: number, changed: boolean, revision: number, opensAt: string | null, closesAt: string | null, ownerId: string | null }} Authored
 * @typedef {"saved" | "unsaved" | "saving" | "offline" | "conflict" | "refused"} Saving
 */

/** Make a draft, or replace one at a revision. @param {any} session @param {import("./document.js").Quiz} quiz @param {number} revision */
export async function save(session, quiz, revision) {
  const input = { quizId: quiz.id, document: `${JSON.stringify(quiz, null, 2)}\n`, revision };
  return (await session.request(SAVE, { input })).saveQuizDraft;
}

/** A draft that is being edited. `onChange` is called when faults, revision or the state of saving change. */
export class Draft {
  /**
   * @param {any} session
   * @param {string} id
   * @param {() => void} onChange
   */
  constructor(session, id, onChange) {
    this.session = session;
    this.id = id;
    this.onChange = onChange;
    /** @type {import("./document.js").Quiz} */
    this.document = { id };
    /** @type {Authored} */
    this.quiz = /** @type {any} */ (null);
    /** @type {Fault[]} */
    this.faults = [];
    /** @type {Saving} */
    this.saving = "saved";
    this.refusal = "";
    this.changes = 0;
    /** @type {Promise<void> | null} */
    this.running = null;
    this.timer = 0;
  }

  /** Read it, with what this device has kept. Throws an ApiError. */
  async open() {
    const { quizDraft } = await this.session.request(READ, { id: this.id });
    this.#take(quizDraft);
    this.document = JSON.parse(quizDraft.document);
    const kept = JSON.parse(localStorage.getItem(this.#key) ?? "null");
    if (!kept) return;
    this.document = kept.document;
    // What was kept was made from another revision than the one that is there now.
    if (kept.revision === this.quiz.revision) this.changed();
    else this.#set("conflict");
  }

  /** Note a change of the document, which is saved in a moment. */
  changed() {
    this.changes += 1;
    localStorage.setItem(this.#key, JSON.stringify({ document: this.document, revision: this.quiz.revision }));
    if (this.saving === "conflict") return;
    this.#set("unsaved");
    this.#plan(SAVE_AFTER);
  }

  /** Save now what is not saved. Resolves when that is done, or has failed. */
  async flush() {
    clearTimeout(this.timer);
    await this.running;
    if (this.saving === "unsaved" || this.saving === "offline") {
      this.running = this.#save().finally(() => (this.running = null));
      await this.running;
    }
  }

  /** Give up this device's changes for those of somebody else. Throws an ApiError. */
  async loadTheirs() {
    localStorage.removeItem(this.#key);
    this.#set("saved");
    await this.open();
    this.onChange();
  }

  /** Save this device's document in place of somebody else's. Throws an ApiError. */
  async keepMine() {
    this.#take((await this.session.request(READ, { id: this.id })).quizDraft);
    this.#set("unsaved");
    await this.flush();
  }

  /** Take over what an act has returned. @param {Authored} quiz */
  took(quiz) {
    this.quiz = quiz;
    this.onChange();
  }

  async #save() {
    const { changes } = this;
    this.#set("saving");
    try {
      this.#take(await save(this.session, this.document, this.quiz.revision));
    } catch (error) {
      this.#refused(error);
      return;
    }
    if (changes !== this.changes) return this.changed();
    localStorage.removeItem(this.#key);
    this.#set("saved");
  }

  /** @param {unknown} error */
  #refused(error) {
    if (!(error instanceof ApiError)) throw error;
    this.refusal = error.message;
    if (error.reason === "VERSION_CONFLICT") return this.#set("conflict");
    if (!error.isTemporary) return this.#set("refused");
    this.#set("offline");
    this.#plan(TRY_AGAIN_AFTER);
  }

  /** @param {number} pause */
  #plan(pause) {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.flush(), pause);
  }

  /** @param {{ quiz: Authored, faults: Fault[] }} draft */
  #take({ quiz, faults }) {
    this.quiz = quiz;
    this.faults = faults;
  }

  /** @param {Saving} saving */
  #set(saving) {
    this.saving = saving;
    this.onChange();
  }

  get #key() {
    return `topten-draft:${this.id}`;
  }
}
