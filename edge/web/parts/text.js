// @ts-check
// The page's sentences in its language.

import strings from "../strings/en.js";
import { link } from "./dom.js";

document.documentElement.lang = strings.lang;
document.documentElement.dir = strings.dir;

export const t = strings;

/** What a player reads about an error, with the way to their data if they are blocked. @param {unknown} error @returns {(string | Node)[]} */
export const refusal = (error) =>
  /** @type {any} */ (error)?.block ? [explain(error), " ", link("/my-data", t.ownData.title)] : [explain(error)];

/** What a player reads about an error. @param {unknown} error */
export function explain(error) {
  const { reason, message, block } = /** @type {Partial<import("../client/index.js").ApiError>} */ (error ?? {});
  if (block) return t.blocked(block.reason, block.until);
  return /** @type {Record<string, string>} */ (t.errors)[reason ?? ""] ?? (message || t.errors.UNAVAILABLE);
}
