// @ts-check
// A plain page of another origin: it signs a player in, shows a live board, and hands in an attempt exactly once.

import { ApiError, connect } from "topten-client";

const given = new URLSearchParams(location.search);
const url = given.get("server") ?? "http://127.0.0.1:8080";
const board = given.get("board") ?? "weekly";
const { session, boards, attempts } = connect({ url });
const QUIZ = "query ($id: ID!) { quiz(id: $id) { id title version questions { id text kind options { id text } } } }";
const $ = (/** @type {string} */ selector) => /** @type {any} */ (document.querySelector(selector));

$("form").addEventListener("submit", async (/** @type {SubmitEvent} */ event) => {
  event.preventDefault();
  try {
    await session.login({ username: $("[name=username]").value, password: $("[name=password]").value });
    $("output").value = "";
  } catch (error) {
    $("output").value = error instanceof ApiError ? error.message : String(error);
  }
});

session.addEventListener("change", async () => {
  $("form").hidden = session.user !== null;
  $("#play").disabled = session.user === null;
  if (session.user) await attempts.handInPending();
});

$("#play").addEventListener("click", async () => {
  const id = given.get("quiz") ?? "arithmetic-sprint";
  const { quiz } = await session.request(QUIZ, { id });
  const attempt = attempts.open(quiz);
  for (const { id, options } of quiz.questions) attempt.answers[id] = options[0].id;
  const { result } = await attempts.handIn(attempt, () => ($("#own").textContent = "Waiting for the server …"));
  $("#own").textContent = `${result?.pointsAwarded} points`;
});

$("#board").textContent = board;
session.resume().catch(() => ($("output").value = "The server is not responding."));
for await (const { frame, me, state } of boards.watch(board)) {
  if (state) $("#state").textContent = state.name;
  if (me?.rank) $("#own").textContent = `You are number ${me.rank} with ${me.score} points`;
  if (frame) {
    const rows = frame.leaderboard.map(({ username, score }) => {
      const row = document.createElement("li");
      row.textContent = `${username} ${score}`;
      return row;
    });
    $("ol").replaceChildren(...rows);
  }
}
