// @ts-check
// Files that the page gives its reader to keep.

import { create } from "./dom.js";

/** @param {BlobPart} content @param {string} name @param {string} [type] */
export function download(content, name, type) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  create("a", { href: url, download: name }).click();
  URL.revokeObjectURL(url);
}

/** The bytes of a file that the API answers in Base64. @param {string} base64 */
export const bytesOf = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
