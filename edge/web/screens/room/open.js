// @ts-check
// `/q/:quiz/host`: open a room with a quiz, for its host.

import { ApiError } from "../../client/index.js";
import { create, link, loadStyle, whileBusy } from "../../parts/dom.js";
import { quizOf } from "../../parts/quiz.js";
import { explain, t } from "../../parts/text.js";

const TIMES = [10, 20, 30, 60, 120, 300];
const DEFAULT_TIME = 30;
const MOST_PLAYERS = 5_000;

/** @param {import("../../app.js").App} app @param {{ quiz: string }} params */
export async function showOpen(app, { quiz: id }) {
  let quiz;
  try {
    [quiz] = await Promise.all([quizOf(app, id), loadStyle("host.css")]);
  } catch (error) {
    return app.fail(error);
  }
  app.title(t.room.host);
  const fields = {
    seconds: select("seconds", t.room.time, [[0, t.room.hostsPace], ...TIMES.map((each) => /** @type {[number, string]} */ ([each, t.room.seconds(each)]))], DEFAULT_TIME),
    nicknames: select("nicknames", t.room.names, Object.entries(t.room.nameRules), "CHOSEN"),
    frozen: select("frozen", t.room.freeze, range(quiz.questionCount).map((each) => [each, t.room.freezeFor(each)]), 0),
    most: field("most", t.room.maxPlayers, { type: "number", min: 1, max: MOST_PLAYERS, value: 200, inputMode: "numeric" }),
    allAnswered: check("all-answered", t.room.lockWhenAll, true),
    speed: check("speed", t.room.speedPoints, false),
    ...(quiz.roomsCountOnBoards && !quiz.timing ? { counts: check("counts", t.room.counts, false) } : {}),
    proofOfWork: check("proof-of-work", t.room.proofOfWork, false),
  };
  const [seconds, speed] = [fields.seconds.querySelector("select"), fields.speed.querySelector("input")];
  seconds.addEventListener("change", () => {
    speed.disabled = seconds.value === "0";
    speed.checked &&= !speed.disabled;
  });
  const error = create("p", { className: "error", role: "alert" });
  const submit = create("button", { type: "submit" }, t.room.open);
  const form = create("form", { className: "sign-in open-room", noValidate: true }, ...Object.values(fields), error, create("div", { className: "row" }, submit, link(`/q/${encodeURIComponent(id)}`, t.previous, { className: "button second" })));
  const open = async () => {
    error.textContent = "";
    try {
      const options = {
        secondsPerQuestion: Number(seconds.value),
        lockWhenAllAnswered: fields.allAnswered.querySelector("input").checked,
        speedPoints: speed.checked,
        frozenQuestions: Number(fields.frozen.querySelector("select").value),
        maxPlayers: Number(fields.most.querySelector("input").value) || 0,
        nicknames: fields.nicknames.querySelector("select").value,
        countsOnBoards: fields.counts?.querySelector("input").checked ?? false,
        proofOfWork: fields.proofOfWork.querySelector("input").checked,
      };
      const pin = await app.rooms.open({ quizId: id, options });
      await app.router.go(`/host/${pin}`);
    } catch (failure) {
      error.textContent = failure instanceof ApiError && failure.field === "input.options.maxPlayers" ? t.room.maxPlayersFault : explain(failure);
    }
  };
  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    whileBusy(submit, open);
  });
  app.fill(create("section", { className: "card" }, create("p", { className: "hint" }, create("bdi", {}, quiz.title)), create("h1", {}, t.room.host), create("p", { className: "lead" }, t.room.hostWhy), form));
}

/** @param {number} most */
const range = (most) => Array.from({ length: Math.min(most, 10) + 1 }, (_, index) => index);

/** @param {string} id @param {string} label @param {Record<string, any>} properties */
const field = (id, label, properties) => create("div", { className: "field" }, create("label", { htmlFor: id }, label), create("input", { id, ...properties }));

/** @param {string} id @param {string} label @param {any[][]} choices values and their texts @param {string | number} chosen */
const select = (id, label, choices, chosen) =>
  create(
    "div",
    { className: "field" },
    create("label", { htmlFor: id }, label),
    create("select", { id }, ...choices.map(([value, text]) => create("option", { value: String(value), selected: value === chosen }, text))),
  );

/** @param {string} id @param {string} label @param {boolean} checked */
const check = (id, label, checked) => create("label", { className: "check" }, create("input", { type: "checkbox", id, checked }), create("span", {}, label));
