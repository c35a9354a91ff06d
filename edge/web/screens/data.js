// @ts-check
// `/my-data`: a player's own data, to be exported or erased. A password is enough, also for a player who is blocked.

import { ApiError } from "../client/index.js";
import { button, create, link, whileBusy } from "../parts/dom.js";
import { download } from "../parts/download.js";
import { explain, t } from "../parts/text.js";

const DATA_TOKEN = "mutation ($input: LoginInput!) { dataToken(input: $input) { token user { userId username block { reason expiresAt } } } }";
const EXPORT = "query ($after: String) { exportMyData(after: $after) { data next } }";
const ERASE = "mutation ($password: String!) { deleteMyAccount(password: $password) }";

/** @param {import("../app.js").App} app */
export function showOwnData(app) {
  app.title(t.ownData.title);
  const error = create("p", { className: "error", role: "alert" });
  const name = field("username", t.name, { autocomplete: "username", spellcheck: false, value: app.session.user?.username ?? "" });
  const password = field("password", t.password, { type: "password", autocomplete: "current-password" });
  const submit = create("button", { type: "submit" }, t.ownData.open);
  const form = create("form", { className: "sign-in", noValidate: true }, name, password, error, create("div", { className: "row" }, submit));
  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    const input = { username: name.querySelector("input").value, password: password.querySelector("input").value };
    whileBusy(submit, async () => {
      try {
        const { token, user } = (await app.session.connection.send(DATA_TOKEN, { input }, {})).dataToken;
        showAccount(app, token, user);
      } catch (failure) {
        const isWrong = failure instanceof ApiError && ["CREDENTIALS_INVALID", "INVALID_ARGUMENT"].includes(failure.reason);
        error.textContent = isWrong ? t.credentialsFault : explain(failure);
      }
    });
  });
  app.fill(create("section", { className: "card" }, create("h1", {}, t.ownData.title), create("p", { className: "lead" }, t.ownData.why), form));
}

/** @param {import("../app.js").App} app @param {string} token opens the data of this account alone @param {any} user */
function showAccount(app, token, user) {
  const send = (/** @type {string} */ query, /** @type {object} */ variables) =>
    app.session.connection.send(query, variables, { Authorization: `Bearer ${token}` });
  const status = create("p", { className: "hint", role: "status" });
  const error = create("p", { className: "error", role: "alert" });
  const attempt = (/** @type {() => Promise<void>} */ work) => async () => {
    error.textContent = "";
    await work().catch((failure) => (error.textContent = explain(failure)));
  };
  const save = attempt(async () => {
    download(JSON.stringify(await readAll(send), null, 2), `topten-${user.username}.json`, "application/json");
    status.textContent = t.ownData.exported;
  });
  const password = field("password", t.ownData.erasePassword, { type: "password", autocomplete: "current-password" });
  const erase = attempt(async () => {
    await send(ERASE, { password: password.querySelector("input").value });
    if (app.session.user?.userId === user.userId) await app.signOut();
    app.fill(create("section", { className: "card" }, create("h1", {}, t.ownData.erased), link("/", t.toQuizzes, { className: "button" })));
  });
  const { block } = user;
  app.fill(
    create(
      "section",
      { className: "card own-data" },
      create("h1", {}, create("bdi", {}, user.username)),
      block && create("p", { className: "error" }, t.blocked(block.reason, block.expiresAt)),
      create("div", { className: "row" }, button(t.ownData.export, save)),
      status,
      create("h2", {}, t.ownData.erase),
      create("p", { className: "lead" }, block ? t.ownData.eraseBlockedWhy : t.ownData.eraseWhy),
      password,
      error,
      create("div", { className: "row" }, button(t.ownData.erase, erase, { className: "second" })),
    ),
  );
}

/** Read all pages of an export; the lists of later ones go on. @param {(query: string, variables: object) => Promise<any>} send */
async function readAll(send) {
  /** @type {Record<string, any>} */
  const all = {};
  for (let after = null; ; ) {
    const { data, next } = (await send(EXPORT, { after })).exportMyData;
    for (const [name, value] of Object.entries(data)) all[name] = Array.isArray(value) && all[name] ? [...all[name], ...value] : value;
    if (!next) return all;
    after = next;
  }
}

/** @param {string} name @param {string} label @param {Record<string, any>} properties */
const field = (name, label, properties) =>
  create("div", { className: "field" }, create("label", { htmlFor: `data-${name}` }, label), create("input", { id: `data-${name}`, name, ...properties }));
