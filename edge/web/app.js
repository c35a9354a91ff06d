// @ts-check
// The page: which screen an address shows, and what all screens have in common.

import { ApiError, connect } from "./client/index.js";
import { boardTokenOf, viewOf } from "./parts/display-address.js";
import { button, create, link } from "./parts/dom.js";
import { Router } from "./parts/router.js";
import { signInDialog } from "./parts/sign-in.js";
import { explain, t } from "./parts/text.js";

const MIN_PAUSE = 1_000;
const MAX_PAUSE = 10_000;
const BOARD = /^\/b\/(?<board>[^/]+)$/;
// Whether an address shows a board with a board token.
const isPublic = (/** @type {URLSearchParams} */ query) => Boolean(viewOf(query)) && boardTokenOf(query) !== undefined;
// The page names the modules of its address at once (`edge/http/page.py`); those of other screens are loaded when they are shown.
const play = () => import("./screens/play.js");
const quiz = () => import("./screens/quiz.js");
const player = () => import("./screens/mod/player.js");
const directory = () => import("./screens/mod/directory.js");
const $ = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @typedef {(app: App, params: any, query: URLSearchParams) => ReturnType<import("./parts/router.js").Screen>} Show */

export class App {
  constructor() {
    const { session, boards, attempts, timed, rooms, notices } = connect({ onSessionChanged: () => this.start() });
    this.session = session;
    this.boards = boards;
    this.attempts = attempts;
    this.timed = timed;
    this.rooms = rooms;
    this.notices = notices;
    /** @type {Map<string, any>} */
    this.quizzes = new Map();
    this.session.signInAgain = () =>
      (this.isGuest ? Promise.reject(new ApiError("UNAUTHENTICATED", "")) : signInDialog(this.session)).catch((error) => {
        this.signOut();
        throw error;
      });
    const signIn = this.#from(play, (module) => module.showSignIn);
    /** @template M @param {() => Promise<M>} load @param {(module: M) => Show} choose @param {{ guests?: boolean }} [options] @returns {import("./parts/router.js").Screen} */
    const signedIn = (load, choose, { guests = false } = {}) => {
      const show = this.#from(load, choose);
      return (params, query) => (this.session.user && (guests || !this.isGuest) ? show(params, query) : signIn(params, query));
    };
    const board = signedIn(() => import("./screens/board.js"), (module) => module.showBoard, { guests: true });
    const display = this.#from(() => import("./screens/display.js"), (module) => module.showDisplay);
    const ownDisplay = signedIn(() => import("./screens/display.js"), (module) => module.showDisplay);
    this.router = new Router(
      [
        [/^\/$/, signedIn(play, (module) => module.showPlay)],
        [/^\/q\/(?<quiz>[^/]+)$/, signedIn(() => import("./screens/start.js"), (module) => module.showStart)],
        [/^\/q\/(?<quiz>[^/]+)\/review$/, signedIn(quiz, (module) => module.showReview)],
        [/^\/q\/(?<quiz>[^/]+)\/(?<n>[1-9]\d?)$/, signedIn(quiz, (module) => module.showQuestion)],
        [/^\/result\/(?<action>[^/]+)$/, signedIn(() => import("./screens/result.js"), (module) => module.showResult)],
        [/^\/q\/(?<quiz>[^/]+)\/host$/, signedIn(() => import("./screens/room/open.js"), (module) => module.showOpen)],
        [/^\/j\/(?<pin>[^/]+)$/, this.#from(() => import("./screens/room/join.js"), (module) => module.showJoin)],
        [/^\/host\/(?<pin>\d{6,7})$/, signedIn(() => import("./screens/room/host.js"), (module) => module.showHost)],
        [/^\/screen\/(?<pin>\d{6,7})$/, signedIn(() => import("./screens/room/projector.js"), (module) => module.showProjector, { guests: true })],
        [/^\/my-data$/, this.#from(() => import("./screens/data.js"), (module) => module.showOwnData)],
        [/^\/ops$/, signedIn(() => import("./screens/ops.js"), (module) => module.showOperations)],
        [/^\/mod$/, signedIn(() => import("./screens/mod/queue.js"), (module) => module.showQueue)],
        [/^\/mod\/(?<list>players|blocked)$/, signedIn(directory, (module) => module.showDirectory)],
        [/^\/mod\/players\/(?<user>[^/]+)$/, signedIn(player, (module) => module.showPlayer)],
        [/^\/author$/, signedIn(() => import("./screens/author/list.js"), (module) => module.showAuthored)],
        [/^\/author\/import$/, signedIn(() => import("./screens/author/import.js"), (module) => module.showImport)],
        [/^\/author\/q\/(?<quiz>[^/]+)(?:\/(?<n>[1-9]\d{0,2}))?$/, signedIn(() => import("./screens/author/editor.js"), (module) => module.showEditor)],
        [BOARD, (params, query) => (isPublic(query) ? display : viewOf(query) ? ownDisplay : board)(params, query)],
      ],
      () => this.notFound(),
    );
    $("main").previousElementSibling?.previousElementSibling?.append(t.skip);
  }

  /**
   * A screen of a module, which is loaded first.
   * @template M
   * @param {() => Promise<M>} load
   * @param {(module: M) => Show} choose
   * @returns {import("./parts/router.js").Screen}
   */
  #from(load, choose) {
    return async (params, query) => {
      const { visit } = this.router;
      const module = await load().catch(() => null);
      if (visit !== this.router.visit) return; // the player went on
      return module ? choose(module)(this, params, query) : this.fail(new ApiError("UNAVAILABLE", ""));
    };
  }

  /** Take up the session and show the address; with a board token there is none. While the server is away, wait for it instead of asking for a password. */
  async start() {
    if (BOARD.test(location.pathname) && isPublic(new URLSearchParams(location.search))) return this.router.show();
    for (let pause = MIN_PAUSE; ; pause = Math.min(2 * pause, MAX_PAUSE)) {
      try {
        await this.session.resume();
        break;
      } catch {
        this.title(t.reconnecting);
        this.fill(create("section", { className: "card" }, create("h1", {}, t.reconnecting), create("p", { className: "lead", role: "status" }, t.reconnectingWhy)));
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    }
    await this.signedIn();
  }

  /** Show the address as the player who is signed in now. */
  async signedIn() {
    this.quizzes.clear();
    if (this.session.user) this.attempts.handInPending();
    this.#header();
    await this.router.show();
  }

  /** Whether the player has no password, and takes part in rooms alone. */
  get isGuest() {
    return this.session.user?.roles.includes("guest") ?? false;
  }

  async signOut() {
    this.attempts.clear();
    await this.session.logout();
    await this.signedIn();
  }

  /** Replace the content of the page. @param {...Node} children */
  fill(...children) {
    const isFirst = !$("main").hasChildNodes();
    $("notices").replaceChildren();
    $("main").replaceChildren(...children);
    this.#markPart();
    if (!isFirst) {
      $("main").focus({ preventScroll: true });
      scrollTo(0, 0);
    }
  }

  /** @param {string} text */
  title(text) {
    document.title = `${text} · Topten`;
  }

  /** Say something to screen readers. @param {string} text */
  announce = (text) => {
    $("announcement").textContent = text;
  };

  /** A quiz, read once. @param {string} id @param {() => Promise<any>} read */
  async quiz(id, read) {
    if (!this.quizzes.has(id)) this.quizzes.set(id, await read());
    return this.quizzes.get(id);
  }

  /** Read a quiz again when it is shown next. @param {string} id */
  forgetQuiz(id) {
    this.quizzes.delete(id);
  }

  notFound() {
    this.title(t.notFound);
    this.fill(create("section", { className: "card" }, create("h1", {}, t.notFound), link("/", t.toQuizzes, { className: "button" })));
  }

  /** Say what went wrong, with a way on. @param {unknown} error */
  fail(error) {
    if (error instanceof ApiError && error.reason === "UNAUTHENTICATED") return; // signed out in the meantime
    const isLasting = error instanceof ApiError && !error.isTemporary; // asked again, the answer would be the same
    const again = !isLasting && button(t.tryAgain, () => this.router.show());
    const home = link("/", t.toQuizzes, { className: isLasting ? "button" : "button second" });
    this.title(explain(error));
    this.fill(create("section", { className: "card" }, create("h1", {}, explain(error)), create("div", { className: "row" }, again, home)));
  }

  /** Mark the part of the page that the address is in. */
  #markPart() {
    const partOf = (/** @type {string} */ path) => path.split("/")[1].replace(/^(q|result)$/, "");
    for (const each of $("header").querySelectorAll("nav a")) {
      each.ariaCurrent = partOf(each.getAttribute("href") ?? "/") === partOf(location.pathname) ? "true" : null;
    }
  }

  #header() {
    const { user } = this.session;
    const home = link("/", create("img", { src: "/icon.svg", alt: "", width: 28, height: 28 }), { className: "brand", "aria-label": t.home });
    home.append(create("span", { className: "brand-name" }, "Topten"));
    $("header").replaceChildren(home);
    if (!user) return;
    $("header").append(
      create(
        "nav",
        {},
        link("/", t.play),
        link("/b/all", t.boards),
        ["author", "admin"].some((role) => user.roles.includes(role)) && link("/author", t.author.write),
        ["moderator", "admin"].some((role) => user.roles.includes(role)) && link("/mod", t.mod.moderation),
        user.roles.includes("admin") && link("/ops", t.operations),
      ),
      create(
        "div",
        { className: "account" },
        create("bdi", { id: "name" }, user.username),
        button(t.signOut, () => this.signOut(), { className: "quiet small" }),
      ),
    );
  }
}

new App().start();
