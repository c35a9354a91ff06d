// @ts-check
// What the address of a board says about how it is shown, and with which token.

const VIEWS = ["kiosk", "overlay", "embed"];

/** The view that an address asks for, if there is one. @param {URLSearchParams} query */
export const viewOf = (query) => VIEWS.find((each) => each === query.get("view"));

/**
 * The board token of an address: behind `#`, where no server and no log sees it, or in the query. Undefined for a screen of the
 * signed-in player, which is never shown within another page.
 * @param {URLSearchParams} query
 */
export function boardTokenOf(query) {
  const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? query.get("token") ?? undefined;
  return token ?? (viewOf(query) === "embed" ? "" : undefined);
}
