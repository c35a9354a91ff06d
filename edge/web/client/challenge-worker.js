// @ts-check
// The worker that solves one challenge.

import { Search } from "./sha256.js";

addEventListener("message", (/** @type {MessageEvent<import("./challenge.js").Challenge>} */ { data: { challenge, maxNumber, salt } }) => {
  postMessage(new Search(salt, challenge).among(0, maxNumber + 1));
});
