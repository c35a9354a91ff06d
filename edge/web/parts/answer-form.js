// @ts-check
// The form of an answer, for each kind of question. A form calls `onAnswer` with every change, with undefined for no answer.

import { isNumber } from "./answers.js";
import { create } from "./dom.js";
import { orderingForm } from "./ordering.js";
import { t } from "./text.js";

/**
 * @typedef {import("../client/attempts.js").Answer} Answer
 * @typedef {object} Form
 * @property {Node} element
 * @property {(digit: number) => void} [press] what a key from 1 to 9 does
 * @property {() => boolean} [check] whether the player may go on; if not, the form says why
 */

/**
 * The form of a question, which the element `#question` labels.
 * @param {any} question
 * @param {any} answer
 * @param {(answer: Answer | undefined) => void} onAnswer
 * @param {(text: string) => void} announce
 * @returns {Form}
 */
export function answerForm(question, answer, onAnswer, announce) {
  switch (question.kind) {
    case "MULTIPLE_CHOICE":
      return choiceForm(question, "checkbox", answer?.selectedOptions ?? [], (options) => onAnswer(options.length ? { selectedOptions: options } : undefined));
    case "NUMERIC":
      return textForm(answer?.text ?? "", onAnswer, { inputMode: "decimal", hint: t.numberRule, fault: (text) => (isNumber(text) ? "" : t.numberFault) });
    case "SHORT_TEXT":
      return textForm(answer?.text ?? "", onAnswer, { hint: t.textRule });
    case "ORDERING":
      return orderingForm(question, answer?.selectedOptions, (options) => onAnswer({ selectedOptions: options }), announce);
    case "MATCHING":
      return matchingForm(question, answer?.matches ?? [], (matches) => onAnswer(matches.length ? { matches } : undefined));
    default:
      return choiceForm(question, "radio", answer ? [answer] : [], ([option]) => onAnswer(option));
  }
}

/**
 * @param {any} question
 * @param {"radio" | "checkbox"} type
 * @param {string[]} selected
 * @param {(options: string[]) => void} onSelect
 * @returns {Form}
 */
function choiceForm(question, type, selected, onSelect) {
  const isOne = type === "radio";
  const inputs = question.options.map((/** @type {any} */ option) =>
    create("input", { type, name: question.id, value: option.id, checked: selected.includes(option.id), onchange: select }),
  );
  const labels = question.options.map((/** @type {any} */ option, /** @type {number} */ index) =>
    create("label", { className: "option" }, inputs[index], create("kbd", { "aria-hidden": "true" }, String(index + 1)), create("bdi", {}, option.text)),
  );
  function select() {
    onSelect(inputs.filter((/** @type {HTMLInputElement} */ input) => input.checked).map((/** @type {HTMLInputElement} */ input) => input.value));
  }
  return {
    element: create(
      "div",
      { className: "options", role: isOne ? "radiogroup" : "group", "aria-labelledby": "question", "aria-describedby": isOne ? undefined : "answer-hint" },
      !isOne && create("p", { className: "hint", id: "answer-hint" }, t.chooseAll),
      ...labels,
    ),
    press(digit) {
      inputs[digit - 1]?.click();
      inputs[digit - 1]?.focus();
    },
  };
}

/**
 * @param {string} text
 * @param {(answer: Answer | undefined) => void} onAnswer
 * @param {{ hint: string, inputMode?: string, fault?: (text: string) => string }} options
 * @returns {Form}
 */
function textForm(text, onAnswer, { hint, inputMode = "text", fault = () => "" }) {
  const message = create("p", { className: "fault", id: "answer-fault", role: "alert" });
  const input = create("input", {
    value: text,
    inputMode,
    maxLength: 200,
    autocomplete: "off",
    "aria-labelledby": "question",
    "aria-describedby": "answer-hint answer-fault",
    oninput: () => {
      if (message.textContent) check();
      onAnswer(input.value.trim() && !fault(input.value) ? { text: input.value.trim() } : undefined);
    },
    onchange: () => check(),
  });
  function check() {
    message.textContent = input.value.trim() ? fault(input.value) : "";
    input.setAttribute("aria-invalid", String(message.textContent !== ""));
    return message.textContent === "";
  }
  return {
    element: create("div", { className: "field text-answer" }, input, create("small", { id: "answer-hint" }, hint), message),
    check() {
      if (check()) return true;
      input.focus();
      return false;
    },
  };
}

/**
 * @param {any} question
 * @param {{ option: string, target: string }[]} matches
 * @param {(matches: { option: string, target: string }[]) => void} onMatch
 * @returns {Form}
 */
function matchingForm(question, matches, onMatch) {
  const selects = question.options.map((/** @type {any} */ option) => {
    const chosen = matches.find((match) => match.option === option.id)?.target ?? "";
    const targets = question.targets.map((/** @type {any} */ target) => create("option", { value: target.id, selected: target.id === chosen }, target.text));
    return create("select", { name: option.id, onchange: match }, create("option", { value: "" }, t.chooseTarget), ...targets);
  });
  function match() {
    onMatch(selects.filter((/** @type {any} */ each) => each.value).map((/** @type {any} */ each) => ({ option: each.name, target: each.value })));
  }
  return {
    element: create(
      "div",
      { className: "matches", role: "group", "aria-labelledby": "question" },
      ...question.options.map((/** @type {any} */ option, /** @type {number} */ index) =>
        create("label", { className: "match" }, create("bdi", {}, option.text), selects[index]),
      ),
    ),
  };
}
