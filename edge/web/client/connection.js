// @ts-check
// How a client reaches its server: where it is, who is calling, and what time it is there.

const TIMEOUT = 15_000;
const MIN_PAUSE = 1_000;
const MAX_PAUSE = 15_000;
const ROOM = /^room:(\d{6,7})$/; // another one is a board: that of the room with an ID
const TEMPORARY = ["UNAVAILABLE", "RATE_LIMITED", "INTERNAL"];

/** A refusal. `reason` is one of the published reasons; `field` the argument that is at fault, empty if none is. */
export class ApiError extends Error {
  /**
   * @param {string} reason
   * @param {string} message
   * @param {number} [retryAfter] seconds
   * @param {{ reason: string, until: string | null } | null} [block] with PLAYER_BLOCKED why, and until when if it ends
   */
  constructor(reason, message, retryAfter, block = null) {
    super(message);
    const [, field, rule] = reason === "INVALID_ARGUMENT" ? (/^([\w.[\]]+): (.*)$/s.exec(message) ?? []) : [];
    this.name = "ApiError";
    this.reason = reason;
    this.field = field ?? "";
    this.rule = rule ?? message;
    this.retryAfter = retryAfter;
    this.block = block;
  }

  /** Whether sending the same again later can succeed. */
  get isTemporary() {
    return TEMPORARY.includes(this.reason);
  }
}

/** @param {{ message: string, extensions?: Record<string, any> }} error */
function refusalOf({ message, extensions = {} }) {
  const { reason = "INTERNAL", retryAfter, blockReason, blockedUntil } = extensions;
  return new ApiError(reason, message, retryAfter, blockReason === undefined ? null : { reason: blockReason, until: blockedUntil });
}

// What the server's clock is ahead of this device's, in milliseconds.
let ahead = 0;

/** The server's time in milliseconds, as far as responses have told it. The device's own clock may be wrong. */
export const serverNow = () => Date.now() + ahead;

/** Take the server's time from a timestamp that it sent just now. @param {string} timestamp */
export function setServerTime(timestamp) {
  const time = Date.parse(timestamp);
  if (!Number.isNaN(time)) ahead = time - Date.now();
}

/** What the server's clock is ahead of this device's, in milliseconds: for another thread of this device. */
export const clockAhead = () => ahead;

/** @param {number} milliseconds what another thread of this device has found */
export function setClockAhead(milliseconds) {
  ahead = milliseconds;
}

/**
 * Take the server's time from the date of a response, which is cut to the second and as old as the way back: the clock moves
 * only if it cannot be right, and each response makes it more exact. One that is far off moves to the middle of what is possible.
 * @param {number} date
 * @param {number} roundTrip both in milliseconds
 */
function limitServerTime(date, roundTrip) {
  const least = date - Date.now();
  if (Number.isNaN(least)) return;
  const most = least + 1_000 + roundTrip;
  const isFar = ahead < least - 1_000 || ahead > most + 1_000;
  ahead = isFar ? (least + most) / 2 : Math.min(Math.max(ahead, least), most);
}

/**
 * Send something until the server has said what became of it, and return that. While the server or the network is away, this
 * tries again by itself and calls `onWaiting`. Throws the ApiError of a refusal that lasts. The server must take it once, however
 * often it is sent.
 * @template T
 * @param {() => Promise<T>} send
 * @param {(error: ApiError) => void} [onWaiting]
 * @param {number} [firstPause] in milliseconds; it doubles each time, up to 15 s
 * @returns {Promise<T>}
 */
export async function untilHeard(send, onWaiting, firstPause = MIN_PAUSE) {
  for (let pause = firstPause; ; pause = Math.min(2 * pause, MAX_PAUSE)) {
    try {
      return await send();
    } catch (error) {
      if (!(error instanceof ApiError) || !error.isTemporary) throw error;
      onWaiting?.(error);
      await pauseOrOnline(Math.max(pause, 1_000 * (error.retryAfter ?? 0)));
    }
  }
}

/** Wait, but no longer than until the network is back. @param {number} milliseconds */
function pauseOrOnline(milliseconds) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve(undefined);
    };
    const timer = setTimeout(done, milliseconds);
    addEventListener("online", done);
  });
}

/**
 * Who is calling: see `credentials.js`.
 * @typedef {object} Credentials
 * @property {RequestCredentials} cookies whether requests carry cookies
 * @property {string} [urlToken] a token that stands in the URL
 * @property {() => Record<string, string>} headers
 */

/** A server, and who is calling it. */
export class Connection {
  /**
   * @param {string} url the address of the server without a path; empty for the origin of this page
   * @param {Credentials} credentials
   */
  constructor(url, credentials) {
    this.url = url.replace(/\/$/, "");
    this.credentials = credentials;
  }

  /**
   * Send a document and return the `data` of the response. Throws an ApiError: UNAVAILABLE if there is no response within 15
   * seconds.
   * @param {string} query
   * @param {object} [variables]
   * @param {Record<string, string>} [caller] headers that say who is calling, by default those of the credentials
   * @returns {Promise<any>}
   */
  async send(query, variables = {}, caller = this.credentials.headers()) {
    const { cookies, urlToken } = this.credentials;
    const headers = { "Content-Type": "application/json", ...caller };
    const sentAt = Date.now();
    const response = await fetch(`${this.url}/graphql${urlToken === undefined ? "" : `?${new URLSearchParams({ token: urlToken })}`}`, {
      method: "POST",
      headers,
      credentials: cookies,
      body: JSON.stringify({ query, variables }),
      signal: AbortSignal.timeout(TIMEOUT),
    }).catch(() => null);
    const body = (await response?.json().catch(() => null)) ?? {};
    const date = response?.headers.get("Date");
    if (date) limitServerTime(Date.parse(date), Date.now() - sentAt);
    const error = body.errors?.[0];
    if (error) throw refusalOf(error);
    if (!body.data) {
      throw new ApiError(body.code ?? "UNAVAILABLE", body.detail ?? "", Number(response?.headers.get("Retry-After")) || 0);
    }
    return body.data;
  }

  /** The address of the stream of a board, or of a room as `room:<pin>`. @param {string} name @param {string} [lastEventId] */
  streamUrl(name, lastEventId) {
    const pin = ROOM.exec(name)?.[1];
    const query = new URLSearchParams(pin ? {} : { board: name });
    if (this.credentials.urlToken !== undefined) query.set("token", this.credentials.urlToken);
    if (lastEventId) query.set("lastEventId", lastEventId);
    return `${this.url}/api/v1/${pin ? `rooms/${encodeURIComponent(pin)}` : "leaderboard"}/stream?${query}`;
  }
}
