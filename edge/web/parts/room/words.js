// @ts-check
// What happens in a room in words: for screen readers one summary of each change, and why somebody cannot come in.

import { ApiError } from "../../client/index.js";
import { explain, t } from "../text.js";

/** @typedef {import("../../client/rooms.js").Room} Room */

/** A PIN as it is read aloud: in groups of three. @param {string} pin */
export const spaced = (pin) => pin.replace(/(\d{3})(?=\d{3})/, "$1\u00a0");

/** Whether a room has gone on to another phase or question, or is shown for the first time. @param {Room} room @param {Room | null} before */
export const isNextStep = (room, before) => !before || room.phase !== before.phase || room.questionNumber !== before.questionNumber;

/** What everybody is told of a room when its phase changes. @param {Room} room */
export function summaryOf(room) {
  const { phase, title, questionNumber, questionCount, question, askedAt, deadline, board, frozen } = room;
  const [first] = board;
  const seconds = askedAt && deadline ? Math.round((Date.parse(deadline) - Date.parse(askedAt)) / 1_000) : 0;
  switch (phase) {
    case "LOBBY":
      return t.room.lobbySummary(title);
    case "QUESTION":
      return [`${t.progress(questionNumber, questionCount)}: ${question.text}`, seconds && t.room.secondsLeft(seconds)].filter(Boolean).join(" · ");
    case "LOCKED":
      return t.room.locked;
    case "REVEAL":
      return t.room.revealed;
    case "ENDED":
      return t.room.ended;
    default:
      return frozen ? t.room.frozen : first ? t.leads(first.nickname, first.points) : t.room.nobody;
  }
}

/**
 * Why somebody has no seat in a room, for the player; the room tells which of the reasons of ROOM_CLOSED it is.
 * @param {unknown} error
 * @param {Pick<Room, "phase" | "joiningLocked"> | null} room null if it is not known
 * @param {boolean} [hadSeat]
 * @returns {string}
 */
export function whyOutside(error, room, hadSeat = false) {
  const { reason, field } = error instanceof ApiError ? error : { reason: "", field: "" };
  if (reason === "INVALID_ARGUMENT" && field === "solution") return t.room.solutionFault;
  if (reason === "ROOM_NOT_FOUND" || (reason === "INVALID_ARGUMENT" && field !== "nickname")) return t.room.notFound;
  if (reason === "PLAYER_NOT_FOUND") return hadSeat ? t.room.moved : t.room.codeFault;
  if (reason === "NICKNAME_TAKEN") return t.room.nicknameTaken;
  if (reason === "INVALID_ARGUMENT") return t.room.nicknameFault;
  if (reason === "PERMISSION_DENIED") return t.room.accountsOnly;
  if (reason !== "ROOM_CLOSED") return explain(error);
  if (room?.phase === "ENDED") return t.room.over;
  if (hadSeat) return t.room.removed;
  return room?.joiningLocked ? t.room.closed : t.room.full;
}
