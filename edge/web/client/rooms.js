// @ts-check
// Live rooms: what everybody in one sees, a player's seat and answers, and the commands of its host. Answers and commands are
// sent until the server has said what became of them, and count once.

import { givenAnswer } from "./attempts.js";
import { ApiError, untilHeard } from "./connection.js";

const FIRST_PAUSE = 500;
const OUTCOME = "seatId nickname verdict pointsAwarded points rank extraTime fullPoints deadline answer { questionId selectedOption selectedOptions text matches { option target } }";
const READ = "query ($pin: ID!) { room(pin: $pin) { roomId pin version phase title questionNumber players joiningLocked nicknames } }";
const INVITATION = "query ($pin: ID!) { room(pin: $pin) { joinUrl qrSvg } }";
const OWN = `query ($pin: ID!) { myRoomOutcome(pin: $pin) { ${OUTCOME} } }`;
const OPEN = "mutation ($input: OpenRoomInput!) { openRoom(input: $input) { pin } }";
const JOIN = `mutation ($input: JoinRoomInput!) { joinRoom(input: $input) { rejoined outcome { ${OUTCOME} } } }`;
const CODE = "mutation ($pin: ID!) { createSeatCode(pin: $pin) { code expiresAt } }";
const MOVE = `mutation ($pin: ID!, $code: String!) { moveSeat(pin: $pin, code: $code) { outcome { ${OUTCOME} } } }`;
const ANSWER = "mutation ($input: AnswerRoomQuestionInput!) { answerRoomQuestion(input: $input) { answer { questionId selectedOption selectedOptions text matches { option target } } } }";
const VARIABLES = "$pin: ID!, $expectedVersion: Int!, $commandId: ID!";
const ARGUMENTS = "pin: $pin, expectedVersion: $expectedVersion, commandId: $commandId";
const EFFECT = "applied room { version phase questionNumber }";
const COMMANDS = {
  START: `mutation (${VARIABLES}) { effect: startRoom(${ARGUMENTS}) { ${EFFECT} } }`,
  NEXT: `mutation (${VARIABLES}) { effect: nextStep(${ARGUMENTS}) { ${EFFECT} } }`,
  BACK: `mutation (${VARIABLES}) { effect: previousStep(${ARGUMENTS}) { ${EFFECT} } }`,
  LOCK: `mutation (${VARIABLES}) { effect: lockQuestion(${ARGUMENTS}) { ${EFFECT} } }`,
  EXTEND: `mutation (${VARIABLES}, $seconds: Int!) { effect: extendQuestion(${ARGUMENTS}, seconds: $seconds) { ${EFFECT} } }`,
  REVEAL: `mutation (${VARIABLES}) { effect: reveal(${ARGUMENTS}) { ${EFFECT} } }`,
  FREEZE: `mutation (${VARIABLES}) { effect: freezeBoard(${ARGUMENTS}) { ${EFFECT} } }`,
  UNFREEZE: `mutation (${VARIABLES}) { effect: freezeBoard(${ARGUMENTS}, frozen: false) { ${EFFECT} } }`,
  END: `mutation (${VARIABLES}) { effect: closeRoom(${ARGUMENTS}) { ${EFFECT} } }`,
};
const LOCK = "mutation ($pin: ID!, $locked: Boolean!) { lockRoom(pin: $pin, locked: $locked) { version } }";
const KICK = "mutation ($pin: ID!, $seatId: ID!) { kickPlayer(pin: $pin, seatId: $seatId) { version } }";
const EXTRA_TIME = "mutation ($pin: ID!, $seatId: ID!, $extraTime: ExtraTime!, $fullPoints: Boolean!) { setExtraTime(pin: $pin, seatId: $seatId, extraTime: $extraTime, fullPoints: $fullPoints) { seatId extraTime fullPoints } }";
const HOSTS = "query ($pin: ID!) { roomHosts(pin: $pin) { userId opened user { username } } }";
const ACCOUNT = "query ($username: String!) { user(username: $username) { userId } }";
const ADD_HOST = "mutation ($pin: ID!, $userId: ID!) { addRoomHost(pin: $pin, userId: $userId) { version } }";
const REMOVE_HOST = "mutation ($pin: ID!, $userId: ID!) { removeRoomHost(pin: $pin, userId: $userId) { version } }";
const RESULTS_FILE = "query ($roomId: ID!, $format: RoomResultsFormat!) { roomResultsFile(roomId: $roomId, format: $format) { name mediaType base64 } }";
const RESULTS = `query ($roomId: ID!, $after: String) {
  roomResults(roomId: $roomId, first: 200, after: $after) {
    questions { questionId text answered right discrimination } players { seatId rank nickname points } extraTimes { seatId extraTime fullPoints } next
  }
}`;

/**
 * @typedef {"LOBBY" | "QUESTION" | "LOCKED" | "REVEAL" | "BOARD" | "PODIUM" | "ENDED"} Phase
 * @typedef {keyof typeof COMMANDS} Command
 * @typedef {"NONE" | "ONE_AND_A_HALF" | "DOUBLE" | "UNLIMITED"} ExtraTime
 * @typedef {{ seatId: string, extraTime: ExtraTime, fullPoints: boolean }} SeatExtraTime
 * @typedef {{ seatId: string, nickname: string }} Player
 * @typedef {Player & { rank: number, points: number }} RoomEntry
 * @typedef {{ userId: string, opened: boolean, user: { username: string } | null }} Host `user` is null after an erasure
 *
 * @typedef {object} Room a room as everybody in it sees it
 * @property {string} roomId
 * @property {string} pin
 * @property {number} version
 * @property {Phase} phase
 * @property {string} title
 * @property {number} questionNumber from 1; 0 in the lobby
 * @property {number} questionCount
 * @property {any} question while it is open, locked or revealed; otherwise null
 * @property {string | null} askedAt
 * @property {string | null} deadline null at the host's pace
 * @property {number} players
 * @property {number} answered how many of them have answered the question
 * @property {any} rightAnswer at the reveal, otherwise null
 * @property {string | null} explanation at the reveal
 * @property {{ optionId: string, count: number }[]} distribution at the reveal
 * @property {RoomEntry[]} board the best 10, once the board is shown
 * @property {boolean} frozen whether the board stands still
 * @property {Player[]} newestPlayers in the lobby the last 50, newest first
 * @property {boolean} joiningLocked
 * @property {"CHOSEN" | "GENERATED" | "USERNAME"} nicknames where the names of its players come from
 * @property {boolean} stale whether the server has only the last known state
 *
 * @typedef {object} Outcome a player's own place
 * @property {string} seatId
 * @property {string} nickname
 * @property {any} answer to the current question; null if there is none
 * @property {string | null} verdict once the question is revealed
 * @property {number} pointsAwarded
 * @property {number} points on the board
 * @property {number | null} rank on the board
 * @property {ExtraTime} extraTime given by the host
 * @property {boolean} fullPoints whether the host decided that speed points do not fall for this player
 * @property {string | null} deadline when the open question locks for this player
 *
 * @typedef {Outcome & { version: number }} OwnOutcome at a version of the room
 */

/** The rooms of a session: of a player, a guest or a host. Every method throws an ApiError. */
export class Rooms {
  /** @param {import("./session.js").Session} session @param {import("./boards.js").Boards} boards */
  constructor(session, boards) {
    this.session = session;
    this.boards = boards;
    /** The last solution of a challenge, which stays good for another nickname. */
    this.solution = "";
  }

  /**
   * What changes in a room: `for await (const { frame, me, state } of rooms.watch(pin))`, where the frame is the whole Room and
   * never an older one than before unless the server's stores were restored, and `me` the outcome of a player with a seat, after each frame with a new version until the
   * room ends. It ends with the loop or with `return()`; any number of watches share one stream.
   * @param {string} pin
   * @returns {AsyncIterableIterator<{ frame?: Room, me?: OwnOutcome, state?: import("./stream.js").State }> & { return(): Promise<any> }}
   */
  watch(pin) {
    return /** @type {any} */ (this.boards.watch(`room:${pin}`));
  }

  /**
   * What is known of a room without watching it.
   * @param {string} pin
   * @returns {Promise<Pick<Room, "roomId" | "pin" | "version" | "phase" | "title" | "questionNumber" | "players" | "joiningLocked" | "nicknames">>}
   */
  async read(pin) {
    return (await this.session.request(READ, { pin })).room;
  }

  /**
   * How players find a room: its address, and a code of that to scan, as an SVG element.
   * @param {string} pin
   * @returns {Promise<{ joinUrl: string, qrSvg: string }>}
   */
  async invitation(pin) {
    return (await this.session.request(INVITATION, { pin })).room;
  }

  /** Open a room and return its PIN. @param {{ quizId: string, options?: Record<string, unknown> }} input an `OpenRoomInput` @returns {Promise<string>} */
  async open(input) {
    return (await this.session.request(OPEN, { input })).openRoom.pin;
  }

  /**
   * Take a seat, or one's own again with its name and points. Where the room asks for a proof of work this device computes
   * for some seconds, in a worker.
   * @param {string} pin
   * @param {string} nickname ignored where players choose none
   * @param {() => void} [onComputing] called before it computes
   * @returns {Promise<Outcome>}
   */
  async join(pin, nickname, onComputing) {
    const join = async () => (await this.session.request(JOIN, { input: { pin, nickname, solution: this.solution } })).joinRoom.outcome;
    return join().catch(async (error) => {
      if (error.field !== "input.solution") throw error;
      onComputing?.();
      this.solution = await (await import("./challenge.js")).solutionFor(this.session, pin);
      return join();
    });
  }

  /**
   * A code by which a guest takes their seat along to another device, once. A new one replaces it.
   * @param {string} pin
   * @returns {Promise<{ code: string, expiresAt: string }>}
   */
  async seatCode(pin) {
    return (await this.session.request(CODE, { pin })).createSeatCode;
  }

  /** Take the seat to which a code of another device belongs. PLAYER_NOT_FOUND if there is none. @param {string} pin @param {string} code @returns {Promise<Outcome>} */
  async moveSeat(pin, code) {
    return (await this.session.request(MOVE, { pin, code })).moveSeat.outcome;
  }

  /** The player's own place. PLAYER_NOT_FOUND without a seat, ROOM_CLOSED after a removal. @param {string} pin @returns {Promise<Outcome>} */
  async outcome(pin) {
    return (await this.session.request(OWN, { pin })).myRoomOutcome;
  }

  /**
   * Answer a question and return the recorded answer: the player's first one, which stays. QUESTION_LOCKED if it came too late.
   * @param {string} pin
   * @param {string} questionId
   * @param {import("./attempts.js").Answer} answer
   * @param {() => void} [onWaiting] called while the server is away and this tries again
   * @returns {Promise<any>}
   */
  async answer(pin, questionId, answer, onWaiting) {
    const variables = { input: { pin, questionId, answer: givenAnswer(answer) } };
    return (await untilHeard(() => this.session.request(ANSWER, variables), onWaiting, FIRST_PAUSE)).answerRoomQuestion.answer;
  }

  /**
   * Carry out a host's command once, in the phase that the host saw; false if the room has gone on to another one since.
   * @param {Pick<Room, "pin" | "version" | "phase" | "questionNumber">} room
   * @param {Command} command
   * @param {number} [seconds] by how much EXTEND moves the deadline
   * @returns {Promise<boolean>}
   */
  async advance({ pin, version, phase, questionNumber }, command, seconds) {
    const commandId = crypto.randomUUID();
    for (let expectedVersion = version; ; ) {
      const variables = { pin, expectedVersion, commandId, ...(seconds && { seconds }) };
      const { applied, room } = (await untilHeard(() => this.session.request(COMMANDS[command], variables), undefined, FIRST_PAUSE)).effect;
      if (applied) return true;
      // A player was removed or given more time, which changes nothing about the command.
      if (room.phase !== phase || room.questionNumber !== questionNumber || room.version === expectedVersion) return false;
      expectedVersion = room.version;
    }
  }

  /** Close a room for new players, or open it again. @param {string} pin @param {boolean} locked */
  async lock(pin, locked) {
    await untilHeard(() => this.session.request(LOCK, { pin, locked }), undefined, FIRST_PAUSE);
  }

  /** Remove a player with their answers. @param {string} pin @param {string} seatId */
  async kick(pin, seatId) {
    await untilHeard(() => this.session.request(KICK, { pin, seatId }), undefined, FIRST_PAUSE);
  }

  /**
   * Give a player more time for each question, full points however long they take, or both; return all seats that have some.
   * @param {string} pin
   * @param {string} seatId
   * @param {ExtraTime} extraTime
   * @param {boolean} [fullPoints]
   * @returns {Promise<SeatExtraTime[]>}
   */
  async setExtraTime(pin, seatId, extraTime, fullPoints = false) {
    return (await untilHeard(() => this.session.request(EXTRA_TIME, { pin, seatId, extraTime, fullPoints }), undefined, FIRST_PAUSE)).setExtraTime;
  }

  /**
   * The hosts of a room, first the one who opened it and stays its host. For its hosts, as are the next two.
   * @param {string} pin
   * @returns {Promise<Host[]>}
   */
  async hosts(pin) {
    return (await this.session.request(HOSTS, { pin })).roomHosts;
  }

  /** Let another account host the room too. PLAYER_NOT_FOUND if none has the name. @param {string} pin @param {string} username */
  async addHost(pin, username) {
    const { user } = await this.session.request(ACCOUNT, { username });
    if (!user) throw new ApiError("PLAYER_NOT_FOUND", "");
    await untilHeard(() => this.session.request(ADD_HOST, { pin, userId: user.userId }), undefined, FIRST_PAUSE);
  }

  /** Take the room from a host, but not from the one who opened it. @param {string} pin @param {string} userId */
  async removeHost(pin, userId) {
    await untilHeard(() => this.session.request(REMOVE_HOST, { pin, userId }), undefined, FIRST_PAUSE);
  }

  /**
   * All results of a room, for its hosts.
   * @param {string} roomId
   * @returns {Promise<{ extraTimes: SeatExtraTime[], questions: { questionId: string, text: string, answered: number, right: number, discrimination: number | null }[], players: RoomEntry[] }>}
   */
  async results(roomId) {
    const players = [];
    for (let after = null; ; ) {
      const page = /** @type {any} */ ((await this.session.request(RESULTS, { roomId, after })).roomResults);
      players.push(...page.players);
      if (!page.next) return { questions: page.questions, extraTimes: page.extraTimes, players };
      after = page.next;
    }
  }

  /**
   * The results as a file, for the hosts of a room: with questions and players, or players alone.
   * @param {string} roomId
   * @param {"XLSX" | "JSON" | "PLAYERS_CSV" | "QUESTIONS_CSV"} format
   * @returns {Promise<{ name: string, mediaType: string, base64: string }>}
   */
  async resultsFile(roomId, format) {
    return (await this.session.request(RESULTS_FILE, { roomId, format })).roomResultsFile;
  }
}
