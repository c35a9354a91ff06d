// The page: signed out, a form; signed in, the quizzes and the board beside them.

import { ApiError, login, logout, me, register } from "./api.js";
import { Board } from "./board.js";
import { Live } from "./live.js";
import { Quizzes } from "./quiz.js";

const $ = (id) => document.getElementById(id);
const WORDS = { live: "live", connecting: "connecting", reconnecting: "reconnecting", stale: "stale", closed: "closed" };

const board = new Board($("entries"), $("own"), $("empty"), $("said"));
const quizzes = new Quizzes($("quiz"), (quiz) => showTabs(quiz));
const live = new Live({
  onFrame: (frame) => board.show(frame, player?.userId),
  onMe: (place) => board.showOwn(place),
  onState: showState,
  onChanged: () => me().then(enter, leave),
});
let player = null;
let shown = "all";

function showState(state) {
  $("state").dataset.state = state;
  $("state").textContent = WORDS[state];
}

function showBoard(name) {
  shown = name;
  board.clear();
  live.show(name);
  for (const tab of $("tabs").children) tab.setAttribute("aria-pressed", String(tab.dataset.board === name));
}

function showTabs(quiz) {
  const tabs = [
    ["all", "All time"],
    ["weekly", "This week"],
    ["monthly", "This month"],
  ];
  if (player?.country) tabs.push([`country:${player.country}`, player.country]);
  if (quiz) tabs.push([`quiz:${quiz.id}`, "This quiz"]);
  $("tabs").replaceChildren(
    ...tabs.map(([name, text]) => {
      const tab = document.createElement("button");
      tab.type = "button";
      tab.dataset.board = name;
      tab.textContent = text;
      tab.setAttribute("aria-pressed", String(name === shown));
      tab.addEventListener("click", () => showBoard(name));
      return tab;
    }),
  );
  if (!tabs.some(([name]) => name === shown)) showBoard("all");
}

function enter(user) {
  player = user;
  live.sign(user.userId);
  $("name").textContent = user.username;
  $("who").hidden = $("play").hidden = $("board").hidden = false;
  $("sign-in").hidden = true;
  showTabs(null);
  showBoard("all");
  quizzes.list();
}

function leave() {
  player = null;
  live.sign(null);
  board.clear();
  $("who").hidden = $("play").hidden = $("board").hidden = true;
  $("sign-in").hidden = false;
}

$("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  const how = event.submitter?.value ?? "login";
  const { username, password, country } = Object.fromEntries(new FormData(form));
  $("sign-in-error").textContent = "";
  try {
    if (how === "register") {
      const { register: session } = await register({ username, password, country: country.toUpperCase() || null });
      enter(session.user);
    } else {
      const { login: session } = await login({ username, password });
      enter(session.user);
    }
    form.reset();
  } catch (error) {
    $("sign-in-error").textContent = error instanceof ApiError ? error.message : "The server does not answer.";
  }
});

$("sign-out").addEventListener("click", async () => {
  await logout().catch(() => {});
  leave();
});

me().then(enter, leave);
