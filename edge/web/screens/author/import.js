// @ts-check
// `/author/import`: a quiz file, pasted or chosen, with a line for each item before anything is stored.

import { button, create, link } from "../../parts/dom.js";
import { t } from "../../parts/text.js";
import { checkbox, field, textArea, textInput } from "./fields.js";
import { frame, said, styles } from "./frame.js";

const IMPORT = `mutation ($input: ImportQuizInput!) {
  importQuiz(input: $input) {
    faults { place message }
    quizzes { quizId title revision replaces changes faults { place message } items { place outcome notes } }
  }
}`;
const PASTED = "topten-import";

/** @param {import("../../app.js").App} app */
export async function showImport(app) {
  app.title(t.author.import);
  await styles().catch(app.fail);
  /** @type {File | null} */
  let file = null;
  const kept = JSON.parse(sessionStorage.getItem(PASTED) ?? "{}");
  const error = create("p", { className: "error", role: "alert" });
  const report = create("div", { className: "report", tabIndex: -1 });
  const keep = () => sessionStorage.setItem(PASTED, JSON.stringify({ name: name.value, text: text.value }));
  const stale = () => {
    report.replaceChildren();
    keep();
  };
  const name = textInput(kept.name ?? "", stale, { maxLength: 120 });
  const text = textArea(kept.text ?? "", () => {
    file = null;
    chosen.value = "";
    stale();
  }, { rows: 10, spellcheck: false, className: "paste" });
  const chosen = create("input", {
    type: "file",
    onchange: () => {
      file = chosen.files?.[0] ?? null;
      if (file) name.value = file.name.replace(/\.[^.]*$/, "");
      text.value = "";
      stale();
    },
  });
  const replace = checkbox(t.author.replace, false, stale);

  /** @param {boolean} dryRun */
  async function send(dryRun) {
    error.textContent = "";
    const content = file ? new Uint8Array(await file.arrayBuffer()) : new TextEncoder().encode(text.value);
    if (!content.length) return (error.textContent = t.author.nothing);
    const input = { name: name.value.trim() || "quiz", base64: base64Of(content), dryRun, replace: replace.querySelector("input").checked };
    try {
      show((await app.session.request(IMPORT, { input })).importQuiz, dryRun);
    } catch (failure) {
      error.textContent = said(failure);
    }
  }

  /** @param {any} result @param {boolean} dryRun */
  function show({ faults, quizzes }, dryRun) {
    const good = quizzes.filter((/** @type {any} */ quiz) => !quiz.faults.length).length;
    const store = dryRun && good > 0 && button(t.author.store(good), () => send(false));
    if (!dryRun) sessionStorage.removeItem(PASTED);
    report.replaceChildren(
      ...faults.map((/** @type {any} */ { place, message }) => create("p", { className: "error" }, `${place === "$" ? t.author.file : place}: ${message}.`)),
      ...quizzes.map(quizReport),
      store || "",
    );
    report.focus();
    const first = dryRun ? null : quizzes.find((/** @type {any} */ quiz) => quiz.revision);
    app.announce(first ? t.author.stored(good) : t.author.checked);
  }

  app.fill(
    frame(
      "/author/import",
      create(
        "section",
        { className: "card import" },
        create("h1", {}, t.author.importTitle),
        create("p", { className: "lead" }, t.author.importWhy),
        create("div", { className: "pair" }, field(t.author.chooseFile, chosen), field(t.author.fileName, name, { rule: t.author.fileNameRule })),
        field(t.author.paste, text),
        replace,
        error,
        create("div", { className: "row" }, button(t.author.check, () => send(true), { className: "second" })),
      ),
      report,
    ),
  );
}

/** @param {any} quiz */
function quizReport({ quizId, title, revision, replaces, changes, faults, items }) {
  const heading = revision ? link(`/author/q/${encodeURIComponent(quizId)}`, title || quizId) : create("bdi", {}, title || quizId);
  const count = (/** @type {string} */ outcome) => items.filter((/** @type {any} */ item) => item.outcome === outcome).length;
  return create(
    "section",
    { className: "card" },
    create("div", { className: "console-head" }, create("h2", {}, heading), create("code", {}, quizId)),
    create("p", { className: "dim" }, [t.author.outcomes(count("TAKEN"), count("CHANGED"), count("REFUSED")), replaces && t.author.replaces, revision && t.author.isStored].filter(Boolean).join(" ")),
    ...faults.map((/** @type {any} */ { place, message }) => create("p", { className: "error" }, `${place === "$" ? t.author.file : place}: ${message}.`)),
    ...changes.map((/** @type {string} */ change) => create("p", { className: "dim" }, change)),
    create(
      "ul",
      { className: "row-list items" },
      ...items.map((/** @type {any} */ { place, outcome, notes }) =>
        create("li", { dataset: { outcome } }, create("span", { className: "place" }, place), create("span", { className: "verdict" }, t.author.itemOutcomes[outcome]), create("span", { className: "fact" }, notes.join("; "))),
      ),
    ),
  );
}

/** @param {Uint8Array} bytes */
function base64Of(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}
