// @ts-check
// The session of a player: who is signed in, and requests that survive the end of an access token.

import { ApiError, Connection } from "./connection.js";
import { UrlToken } from "./credentials.js";

const USER = "user { userId username country roles }";
const TOKENS = "accessToken refreshToken";
const ME = "{ me { userId username country roles } }";
const LOGIN = `mutation ($input: LoginInput!) { login(input: $input) { ${TOKENS} ${USER} } }`;
const REGISTER = `mutation ($input: RegisterInput!) { register(input: $input) { ${TOKENS} ${USER} } }`;
const CONTINUE = `mutation ($nickname: String!) { continueAsGuest(nickname: $nickname) { ${TOKENS} ${USER} } }`;
const REFRESH = `mutation ($token: String) { refreshToken(refreshToken: $token) { ${TOKENS} } }`;
const LOGOUT = "mutation ($token: String) { logout(refreshToken: $token) }";
const LOCK = "topten-session";
/** @type {Promise<void>} */
let lastExchange = Promise.resolve();

/**
 * @typedef {{ userId: string, username: string, country: string | null, roles: string[] }} User
 * @typedef {import("./credentials.js").CookieCredentials | import("./credentials.js").TokenCredentials} SessionCredentials
 */

/** Reads one board with a board token, in place of a session: without an account, and without a sign-in. */
export class BoardReader {
  /** @param {string} token @param {string} [url] */
  constructor(token, url = "") {
    /** @type {User | null} */
    this.user = null;
    this.connection = new Connection(url, new UrlToken(token));
  }

  /**
   * The `data` of a response. Throws an ApiError.
   * @param {string} query
   * @param {object} [variables]
   */
  request(query, variables) {
    return this.connection.send(query, variables);
  }
}

/**
 * Mutations that change the session's tokens, one at a time in all tabs and the worker: responses that overtake one another
 * would leave the tokens of the older session, and a late refusal would remove those of a newer one.
 */
export class Renewal {
  /** @param {Connection} connection @param {SessionCredentials} credentials */
  constructor(connection, credentials) {
    this.connection = connection;
    this.credentials = credentials;
    /** @type {Promise<void> | null} */
    this.refreshing = null;
  }

  /**
   * @param {() => Promise<void>} exchange
   * @returns {Promise<void>}
   */
  async alone(exchange) {
    if (navigator.locks) return void (await navigator.locks.request(LOCK, exchange));
    // Browsers have no locks for pages without TLS. Those of this tab, at least, are one after another.
    const turn = lastExchange.then(exchange);
    lastExchange = turn.catch(() => {});
    await turn;
  }

  /** Send a mutation that changes the session's tokens. @param {string} query @param {object} variables */
  send(query, variables) {
    return this.connection.send(query, variables, this.credentials.sessionHeaders());
  }

  /**
   * Exchange the session's tokens for new ones; concurrent calls share one request, and one that another tab has just made
   * is not repeated. Throws an ApiError: UNAUTHENTICATED if the session has ended, or nobody is signed in.
   * @param {string} [used] the access token that was refused
   */
  refresh(used) {
    this.refreshing ??= this.alone(async () => {
      const { accessToken, refreshToken } = this.credentials;
      if (used !== accessToken) return;
      if (!this.credentials.isRenewable) throw new ApiError("UNAUTHENTICATED", "Nobody is signed in.");
      const tokens = (await this.send(REFRESH, { token: refreshToken })).refreshToken;
      // Without locks, somebody may have signed in or out in another tab meanwhile.
      if (refreshToken === this.credentials.refreshToken) this.credentials.keep(tokens);
    }).finally(() => {
      this.refreshing = null;
    });
    return this.refreshing;
  }
}

/**
 * The signed-in player. `signInAgain` is called when the session has ended in the middle of something: it resolves once
 * somebody has signed in again, and rejects if nobody will. The event `change` is fired when somebody else is signed in, or
 * nobody.
 */
export class Session extends EventTarget {
  /** @type {User | null} */
  #user = null;
  /** How often somebody has signed in or out here: what was asked before says nothing about the session of now. */
  #changes = 0;
  #renewal;

  /** @param {string} url @param {SessionCredentials} credentials */
  constructor(url, credentials) {
    super();
    this.connection = new Connection(url, credentials);
    this.credentials = credentials;
    this.#renewal = new Renewal(this.connection, credentials);
    /** @type {() => Promise<void>} */
    this.signInAgain = () => Promise.reject(new ApiError("UNAUTHENTICATED", "The session has ended. Sign in again."));
    /** @type {Promise<void> | null} */
    this.signingIn = null;
  }

  /** The signed-in player, as far as this tab knows; null if nobody is. */
  get user() {
    return this.#user;
  }

  /** Take up the browser's session; null if there is none. Throws an ApiError if the server does not say. */
  async resume() {
    const before = this.#changes;
    /** @type {User | null} */
    let user = null;
    try {
      user = (await this.#renewed(ME)).me;
    } catch (error) {
      if (!(error instanceof ApiError) || error.isTemporary) throw error;
    }
    // A late refusal must not end the session that was opened meanwhile.
    if (before === this.#changes) this.#set(user);
    return this.user;
  }

  /**
   * The `data` of a response. Renews an expired access token; if the session has ended, waits until the player has signed
   * in again. Throws an ApiError: UNAUTHENTICATED if nobody is signed in, or the player has signed out in the meantime.
   * @param {string} query
   * @param {object} [variables]
   * @returns {Promise<any>}
   */
  async request(query, variables) {
    const { user } = this;
    for (;;) {
      try {
        return await this.#renewed(query, variables);
      } catch (error) {
        const ended = error instanceof ApiError && error.reason === "UNAUTHENTICATED";
        // Nobody is asked to sign in again who has signed out, or was never signed in.
        if (!ended || !user || !this.#isStill(user)) throw error;
      }
      this.signingIn ??= this.signInAgain().finally(() => {
        this.signingIn = null;
      });
      await this.signingIn;
    }
  }

  /** Throws an ApiError: CREDENTIALS_INVALID. @param {{ username: string, password: string }} input */
  login(input) {
    return this.#open(LOGIN, { input }, "login");
  }

  /**
   * Create an account and sign in. A guest becomes the player, with the same id. Throws an ApiError: USERNAME_TAKEN, INVALID_ARGUMENT.
   * @param {{ username: string, password: string, country: string | null }} input
   */
  register(input) {
    const { refreshToken } = this.credentials;
    const guest = this.user?.roles.includes("guest") && refreshToken ? { guestRefreshToken: refreshToken } : {};
    return this.#open(REGISTER, { input: { ...input, ...guest } }, "register");
  }

  /** Sign in without a password, for some hours, to watch boards. Throws an ApiError: INVALID_ARGUMENT. @param {string} nickname */
  continueAsGuest(nickname) {
    return this.#open(CONTINUE, { nickname }, "continueAsGuest");
  }

  /** Sign out, here and on the server. */
  async logout() {
    this.#user = null;
    await this.#renewal.alone(async () => {
      const token = this.credentials.refreshToken;
      this.credentials.keep(null);
      // Again: a sign-in that was under way may have come before.
      this.#user = null;
      this.#changes += 1;
      await this.#renewal.send(LOGOUT, { token }).catch(() => {});
    });
    // Other tabs look for the session once they hear of this: it has to be over by then.
    this.dispatchEvent(new Event("change"));
  }

  /**
   * @param {string} query
   * @param {object} variables
   * @param {string} name
   */
  async #open(query, variables, name) {
    await this.#renewal.alone(async () => {
      const opened = (await this.#renewal.send(query, variables))[name];
      this.credentials.keep(opened);
      this.#changes += 1;
      this.#set(opened.user);
    });
  }

  /**
   * @param {string} query
   * @param {object} [variables]
   */
  async #renewed(query, variables) {
    const { user } = this;
    const { accessToken } = this.credentials;
    try {
      return await this.connection.send(query, variables);
    } catch (error) {
      if (!(error instanceof ApiError) || error.reason !== "UNAUTHENTICATED" || !this.#isStill(user)) throw error;
    }
    await this.#renewal.refresh(accessToken);
    // What one player has asked for is not sent for another.
    if (!this.#isStill(user)) throw new ApiError("UNAUTHENTICATED", "Somebody else is signed in now.");
    return this.connection.send(query, variables);
  }

  /** @param {User | null} user */
  #set(user) {
    // A guest who registers keeps the id.
    const changed = !this.#isStill(user) || String(user?.roles) !== String(this.#user?.roles);
    this.#user = user;
    if (changed) this.dispatchEvent(new Event("change"));
  }

  /** Whether nobody has signed in or out since `user` was the player. @param {User | null} user */
  #isStill(user) {
    return this.#user?.userId === user?.userId;
  }
}
