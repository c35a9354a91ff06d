// @ts-check
// `/screen/:pin`: a room on a big screen, read from across the room. Everything on it is on the players' devices too.

import { create, loadStyle } from "../../parts/dom.js";
import { choicesOf, explanationOf, questionText } from "../../parts/room/choices.js";
import { Countdown } from "../../parts/room/countdown.js";
import { invitation } from "../../parts/room/invitation.js";
import { followRoom } from "../../parts/room/live.js";
import { podiumOf, RoomBoard } from "../../parts/room/standings.js";
import { isNextStep, spaced, summaryOf, whyOutside } from "../../parts/room/words.js";
import { keepAwake } from "../../parts/wake-lock.js";
import { t } from "../../parts/text.js";

/**
 * @typedef {import("../../app.js").App} App
 * @typedef {import("../../client/rooms.js").Room} Room
 */

/** @param {App} app @param {{ pin: string }} params */
export async function showProjector(app, { pin }) {
  try {
    await Promise.all([app.rooms.read(pin), loadStyle("display.css"), loadStyle("rooms.css"), loadStyle("projector.css")]);
  } catch (error) {
    return app.fill(create("section", { className: "card outside" }, create("h1", {}, whyOutside(error, null))));
  }
  const board = new RoomBoard();
  const countdown = new Countdown();
  const invite = invitation(app, pin);
  const progress = create("span", { className: "count" });
  const answered = create("p", { className: "answered" });
  const stage = create("section", { className: "stage" });
  const live = followRoom(app, pin, onRoom);
  document.documentElement.dataset.view = "screen";
  const foot = create("p", { className: "room-foot" }, create("span", {}, `${location.host}/j/${pin}`), create("strong", {}, spaced(pin)));
  app.fill(create("div", { className: "room projector" }, create("div", { className: "room-head" }, progress, answered, live.element, countdown.element), stage, foot));
  const awake = keepAwake();

  /** @param {Room} room @param {Room | null} before */
  function onRoom(room, before) {
    const isNext = isNextStep(room, before);
    app.title(room.title);
    countdown.show(room);
    invite.show(room);
    progress.textContent = room.questionNumber && room.phase !== "ENDED" ? `${room.title} · ${t.progress(room.questionNumber, room.questionCount)}` : room.title;
    answered.textContent = room.phase === "QUESTION" || room.phase === "LOCKED" ? t.room.answered(room.answered, room.players) : "";
    foot.hidden = room.phase === "LOBBY" || room.phase === "ENDED" || room.joiningLocked;
    if (isNext) {
      stage.dataset.phase = room.phase;
      stage.replaceChildren(...content(room).filter(Boolean));
      if (before) app.announce(summaryOf(room));
    }
    if (room.phase === "LOBBY") showLobby(room);
    if (room.phase === "BOARD" || room.phase === "ENDED") board.show(room);
  }

  /** @param {Room} room @returns {any[]} */
  function content(room) {
    switch (room.phase) {
      case "LOBBY":
        return [invite.element, create("div", { className: "lobby" }, create("h1", {}), create("ul", { className: "chips" }))];
      case "BOARD":
        return [create("h1", {}, t.room.board), board.element];
      case "PODIUM":
        return [create("h1", {}, t.room.podium), podiumOf(room)];
      case "ENDED":
        return [create("h1", {}, t.room.ended), board.element];
      default:
        return [create("div", { className: "question-text" }, ...questionText(room.question).filter(Boolean)), choicesOf(room), explanationOf(room)];
    }
  }

  /** @param {Room} room */
  function showLobby({ players, newestPlayers }) {
    const [heading, list] = [stage.querySelector("h1"), stage.querySelector(".chips")];
    if (!heading || !list) return;
    heading.textContent = t.room.lobby(players);
    list.replaceChildren(...newestPlayers.map(({ nickname }) => create("li", {}, create("bdi", {}, nickname))));
  }

  return () => {
    delete document.documentElement.dataset.view;
    awake();
    live.close();
    countdown.close();
  };
}
