// @ts-check
// What each kind of question has: its options and targets, and what is right.

import { button, create } from "../../parts/dom.js";
import { t } from "../../parts/text.js";
import { MAX_ACCEPTED, MAX_CHOICES, evenWeights, inRightOrder, kindOf, move, newChoice, removeOption, removeTarget, setRightOrder } from "./document.js";
import { checkbox, field, group, listRow, select, textInput } from "./fields.js";

/**
 * @typedef {import("./document.js").Question} Question
 * @typedef {import("./document.js").Choice} Choice
 * @typedef {import("./question-form.js").Editing} Editing
 */

/** @param {Question} question @param {string} path @param {Editing} editing */
export function keyForm(question, path, editing) {
  const form = { single_choice: choices, multiple_choice: choices, true_false: truth, numeric: number, short_text: texts, ordering, matching }[kindOf(question)];
  return create("fieldset", { className: "key", dataset: { place: `${path}.correct` } }, ...(form?.(question, path, editing) ?? []), create("p", { className: "fault" }));
}

/** @param {Question} question @param {string} path @param {Editing} editing */
function choices(question, path, editing) {
  const isOne = kindOf(question) === "single_choice";
  const isRight = (/** @type {Choice} */ { id }) => (isOne ? question.correct === id : question.correct.includes(id));
  const mark = (/** @type {Choice} */ option, /** @type {number} */ index) =>
    create("input", {
      type: isOne ? "radio" : "checkbox",
      name: `${question.id}-right`,
      checked: isRight(option),
      "aria-label": t.author.isRight(nameOf(option, index)),
      dataset: { key: `right-${option.id}` },
      onchange: (/** @type {any} */ event) => {
        if (isOne) question.correct = option.id;
        else question.correct = question.options.map(({ id }) => id).filter((/** @type {string} */ id) => (id === option.id ? event.target.checked : question.correct.includes(id)));
        if (question.weights) {
          question.weights = evenWeights(question);
          editing.redraw(`right-${option.id}`);
        } else editing.changed();
      },
    });
  const weight = (/** @type {Choice} */ option, /** @type {number} */ index) =>
    textInput(
      String(question.weights[option.id] ?? 0),
      (value) => {
        question.weights[option.id] = /^-?\d{1,3}$/.test(value) ? Number(value) : value;
        editing.changed();
      },
      { inputMode: "numeric", className: "weight", "aria-label": t.author.weightOf(nameOf(option, index)) },
    );
  const before = (/** @type {Choice} */ option, /** @type {number} */ index) => [mark(option, index)];
  const after = (/** @type {Choice} */ option, /** @type {number} */ index) => (question.weights ? [weight(option, index)] : []);
  return [
    create("legend", {}, isOne ? t.author.optionsOne : t.author.optionsMany),
    optionList(question, path, editing, { before, after }),
    !isOne &&
      group(
        `${path}.weights`,
        checkbox(
          t.author.partialWeights,
          Boolean(question.weights),
          (on) => {
            if (on) question.weights = evenWeights(question);
            else delete question.weights;
            editing.redraw("weights");
          },
          { dataset: { key: "weights" } },
        ),
      ),
  ];
}

/** @param {Question} question @param {string} _ @param {Editing} editing */
function truth(question, _, editing) {
  const option = (/** @type {boolean} */ value) =>
    create(
      "label",
      { className: "check" },
      create("input", {
        type: "radio",
        name: `${question.id}-right`,
        checked: question.correct === value,
        onchange: () => {
          question.correct = value;
          editing.changed();
        },
      }),
      t.author.truth(value),
    );
  return [create("legend", {}, t.author.statementIs), create("div", { className: "row" }, option(true), option(false))];
}

/** @param {Question} question @param {string} path @param {Editing} editing */
function number(question, path, editing) {
  const set = (/** @type {string} */ key) => (/** @type {string} */ value) => {
    const text = value.trim().replace(",", ".");
    if (text || key === "correct") question[key] = text;
    else delete question[key];
    editing.changed();
  };
  return [
    create("legend", {}, t.author.rightNumber),
    create(
      "div",
      { className: "pair" },
      field(t.author.number, textInput(String(question.correct ?? ""), set("correct"), { inputMode: "decimal" }), { place: `${path}.correct`, rule: t.numberRule }),
      field(t.author.tolerance, textInput(String(question.tolerance ?? ""), set("tolerance"), { inputMode: "decimal" }), { place: `${path}.tolerance`, rule: t.author.toleranceRule }),
    ),
  ];
}

/** @param {Question} question @param {string} path @param {Editing} editing */
function texts(question, path, editing) {
  /** @type {string[]} */
  const accepted = question.correct;
  const rows = accepted.map((text, index) =>
    listRow({
      name: text || t.author.accepted(index + 1),
      place: `${path}.correct[${index}]`,
      content: [
        field(t.author.accepted(index + 1), textInput(text, (value) => {
          accepted[index] = value;
          editing.changed();
        }, { maxLength: 200, dataset: { key: `accepted-${index}` } }), { place: `${path}.correct[${index}]`, hidesLabel: true, className: "grow" }),
      ],
      onRemove: accepted.length < 2 ? null : () => {
        accepted.splice(index, 1);
        editing.redraw(`accepted-${Math.min(index, accepted.length - 1)}`);
      },
    }),
  );
  const add = () => {
    accepted.push("");
    editing.redraw(`accepted-${accepted.length - 1}`);
  };
  const flag = (/** @type {string} */ key) =>
    checkbox(t.author.sensitive[key], Boolean(question[key]), (on) => {
      if (on) question[key] = true;
      else delete question[key];
      editing.changed();
    });
  return [
    create("legend", {}, t.author.acceptedTexts),
    create("ul", { className: "editor-rows" }, ...rows),
    accepted.length < MAX_ACCEPTED && button(t.author.addText, add, { className: "second small" }),
    create("div", { className: "row" }, flag("caseSensitive"), flag("accentSensitive"), flag("spaceSensitive")),
  ];
}

/** @param {Question} question @param {string} path @param {Editing} editing */
function ordering(question, path, editing) {
  const order = inRightOrder(question);
  const list = optionList({ ...question, options: order }, path, editing, {
    placeOf: (option) => question.options.indexOf(option),
    onOrder: (/** @type {Choice[]} */ choices) => setRightOrder(question, choices),
    onText: () => setRightOrder(question, order),
    onRemove: (option) => removeOption(question, question.options.indexOf(option)),
  });
  return [create("legend", {}, t.author.rightOrder), create("p", { className: "hint" }, t.author.orderHint), list, partial(question, editing)];
}

/** @param {Question} question @param {string} path @param {Editing} editing */
function matching(question, path, editing) {
  const targets = /** @type {[string, string][]} */ (question.targets.map((/** @type {Choice} */ { id, text }, /** @type {number} */ index) => [id, text || t.author.target(index + 1)]));
  /** @type {HTMLSelectElement[]} */
  const selects = [];
  const after = (/** @type {Choice} */ option, /** @type {number} */ index) => {
    const element = select(
      [["", t.chooseTarget], ...targets],
      question.correct[option.id] ?? "",
      (value) => {
        if (value) question.correct[option.id] = value;
        else delete question.correct[option.id];
        editing.changed();
      },
      { "aria-label": t.author.targetOf(nameOf(option, index)) },
    );
    selects.push(element);
    return [element];
  };
  const rows = question.targets.map((/** @type {Choice} */ target, /** @type {number} */ index) =>
    choiceRow(target, t.author.target(index + 1), `${path}.targets[${index}]`, {
      key: `target-${target.id}`,
      onText: () => {
        for (const { options } of selects) options[index + 1].text = target.text || t.author.target(index + 1);
        editing.changed();
      },
      onMove: mover(question.targets, index, `target-${target.id}`, editing),
      onRemove: question.targets.length < 3 ? null : () => {
        removeTarget(question, index);
        editing.redraw("add-target");
      },
    }),
  );
  const add = () => {
    question.targets.push(newChoice(question.targets));
    editing.redraw(`target-${question.targets.at(-1).id}`);
  };
  return [
    create("legend", {}, t.author.matches),
    optionList(question, path, editing, { after }),
    create(
      "div",
      { className: "targets", dataset: { place: `${path}.targets` } },
      create("h3", {}, t.author.targets),
      create("ul", { className: "editor-rows" }, ...rows),
      create("p", { className: "fault" }),
      question.targets.length < MAX_CHOICES && button(t.author.addTarget, add, { className: "second small", dataset: { key: "add-target" } }),
    ),
    partial(question, editing),
  ];
}

/** @param {Question} question @param {Editing} editing */
const partial = (question, editing) =>
  checkbox(t.author.partial, Boolean(question.partial), (on) => {
    if (on) question.partial = true;
    else delete question.partial;
    editing.changed();
  });

/**
 * The options of a question, to add, change, order and delete.
 * @param {Question} question
 * @param {string} path
 * @param {Editing} editing
 * @param {object} [more]
 * @param {(option: Choice, index: number) => Node[]} [more.before] what stands before the text of each
 * @param {(option: Choice, index: number) => Node[]} [more.after]
 * @param {(option: Choice) => number} [more.placeOf] the index of an option in the document
 * @param {(options: Choice[]) => void} [more.onOrder]
 * @param {() => void} [more.onText]
 * @param {(option: Choice) => void} [more.onRemove]
 */
function optionList(question, path, editing, { before = () => [], after = () => [], placeOf, onOrder, onText, onRemove } = {}) {
  const { options } = question;
  const changed = () => {
    onText?.();
    editing.changed();
  };
  const add = () => {
    options.push(newChoice(options));
    onOrder?.(options);
    editing.redraw(`option-${options.at(-1).id}`);
  };
  const rows = options.map((/** @type {Choice} */ option, /** @type {number} */ index) =>
    choiceRow(option, t.author.option(index + 1), `${path}.options[${placeOf?.(option) ?? index}]`, {
      key: `option-${option.id}`,
      before: before(option, index),
      after: after(option, index),
      onText: changed,
      onEnter: options.length < MAX_CHOICES ? add : undefined,
      onMove: mover(options, index, `option-${option.id}`, editing, onOrder),
      onRemove: options.length < 3 ? null : () => {
        const next = options[index + 1] ?? options[index - 1];
        if (onRemove) onRemove(option);
        else removeOption(question, index);
        editing.redraw(`option-${next.id}`);
      },
    }),
  );
  return create(
    "div",
    { className: "option-list", dataset: { place: `${path}.options` } },
    create("ul", { className: "editor-rows" }, ...rows),
    create("p", { className: "fault" }),
    options.length < MAX_CHOICES && button(t.author.addOption, add, { className: "second small", dataset: { key: "add-option" } }),
  );
}

/**
 * @param {Choice[]} list
 * @param {number} index
 * @param {string} key
 * @param {Editing} editing
 * @param {(choices: Choice[]) => void} [onOrder]
 */
const mover = (list, index, key, editing, onOrder) => (/** @type {number} */ by) => {
  const to = index + by;
  if (to < 0 || to >= list.length) return;
  const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.key;
  move(list, index, to);
  onOrder?.(list);
  editing.redraw(focused ?? key);
  editing.announce(t.moved(nameOf(list[to], to), to + 1, list.length));
};

/**
 * @param {Choice} choice
 * @param {string} name
 * @param {string} place
 * @param {{ key: string, before?: Node[], after?: Node[], onText: () => void, onEnter?: () => void, onMove: (by: number) => void, onRemove: (() => void) | null }} options
 */
function choiceRow(choice, name, place, { key, before = [], after = [], onText, onEnter, onMove, onRemove }) {
  const input = textInput(
    choice.text,
    (value) => {
      choice.text = value;
      onText();
    },
    { maxLength: 200, placeholder: name, dataset: { key } },
  );
  if (onEnter) {
    input.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      onEnter();
    });
  }
  const text = field(name, input, { place: `${place}.text`, hidesLabel: true, className: "grow" });
  return listRow({ name: choice.text || name, content: [...before, text, ...after], onMove, onRemove, place, key });
}

/** @param {Choice} choice @param {number} index */
const nameOf = (choice, index) => choice.text || t.author.option(index + 1);
