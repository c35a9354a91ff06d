// @ts-check
// Who is calling, and where the proof of it is kept.

const TOKENS = "topten:tokens:";

/**
 * The tokens of a session, as `login`, `register` and `refreshToken` return them; empty in cookie mode.
 * @typedef {{ accessToken: string, refreshToken: string }} Tokens
 */

/** A session whose tokens the browser keeps in cookies that no script can read. For pages of the server's own origin. */
export class CookieCredentials {
  cookies = /** @type {const} */ ("same-origin");

  headers() {
    return { "Topten-Session": "cookie" };
  }

  /** The headers of a request that opens, renews or ends a session. */
  sessionHeaders() {
    return this.headers();
  }

  /** The refresh token to send; cookie mode sends none. */
  get refreshToken() {
    return null;
  }

  /** Whether there may be a session to renew: only the server sees the cookie. */
  get isRenewable() {
    return true;
  }

  /** @returns {string | undefined} */
  get accessToken() {
    return undefined;
  }

  /** Keep new tokens, or none after a sign-out: the browser has done so. @param {Tokens | null} _tokens */
  keep(_tokens) {}
}

/**
 * A session whose tokens this page keeps, for pages of other origins, which get no cookies. Tabs share them through the
 * storage. Scripts of the page can read them: use it on pages whose scripts you trust.
 */
export class TokenCredentials {
  cookies = /** @type {const} */ ("omit");

  /** @param {string} url @param {Storage} storage `sessionStorage` forgets the session with the tab */
  constructor(url, storage) {
    this.key = TOKENS + url;
    this.storage = storage;
  }

  /** @returns {Record<string, string>} */
  headers() {
    return this.accessToken ? { Authorization: `Bearer ${this.accessToken}` } : {};
  }

  /** The headers of a request that opens, renews or ends a session: an expired token would be refused there too. */
  sessionHeaders() {
    return {};
  }

  get refreshToken() {
    return this.#tokens?.refreshToken ?? null;
  }

  /** Whether there may be a session to renew. */
  get isRenewable() {
    return this.refreshToken !== null;
  }

  get accessToken() {
    return this.#tokens?.accessToken;
  }

  /** @param {Tokens | null} tokens */
  keep(tokens) {
    if (tokens) this.storage.setItem(this.key, JSON.stringify({ accessToken: tokens.accessToken, refreshToken: tokens.refreshToken }));
    else this.storage.removeItem(this.key);
  }

  /** @returns {Tokens | null} */
  get #tokens() {
    return JSON.parse(this.storage.getItem(this.key) ?? "null");
  }
}

/** A token in the URL: of one board, or of the streams of a session. */
export class UrlToken {
  cookies = /** @type {const} */ ("omit");

  /** @param {string} token */
  constructor(token) {
    this.urlToken = token;
  }

  headers() {
    return {};
  }
}
