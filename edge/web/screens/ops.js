// @ts-check
// `/ops`: the checks of `topten doctor`, live, and the events that could not be counted. For admins.

import { consoleStyle } from "../parts/console.js";
import { button, create, link } from "../parts/dom.js";
import { explain, t } from "../parts/text.js";

const STATUS = `{
  systemStatus { checkedAt checks { kind subject text isWrong runbook } }
}`;
const LETTERS = `query ($after: String) {
  deadLetters(first: 20, after: $after, state: DEAD) {
    edges { node { letterId reason subject timestamp } }
    pageInfo { hasNextPage endCursor }
  }
}`;
const REPLAY = "mutation ($ids: [ID!]!) { replayDeadLetters(letterIds: $ids) { letterId counted reason } }";
const READ_EVERY = 5_000;
const KINDS = ["PROCESSES", "PIPELINE", "STORES", "PLAYERS"];

/**
 * @typedef {{ kind: string, subject: string, text: string, isWrong: boolean, runbook: string | null }} Check
 * @typedef {{ letterId: string, reason: string, subject: string, timestamp: string }} Letter
 */

/** @param {import("../app.js").App} app */
export async function showOperations(app) {
  app.title(t.operations);
  const letters = new Letters(app);
  const status = new Status(app, (count) => letters.expect(count));
  try {
    await Promise.all([consoleStyle(), status.read(), letters.read()]);
  } catch (error) {
    app.fail(error);
    return;
  }
  app.fill(create("div", { className: "console" }, status.head, create("div", { className: "checks" }, ...status.sections), letters.element));
  status.start();
  return () => status.stop();
}

/** The checks, read again every few seconds while the page is visible. */
class Status {
  /** @param {import("../app.js").App} app @param {(count: number) => void} onRead */
  constructor(app, onRead) {
    this.app = app;
    this.onRead = onRead;
    this.checkedAt = 0;
    this.verdict = create("h1", {});
    this.age = create("span", { className: "hint" });
    this.error = create("p", { className: "error", role: "alert" });
    this.paused = false;
    this.pauseButton = button(t.pause, () => this.#pause(), { className: "quiet small", "aria-pressed": "false" });
    this.head = create("div", { className: "console-head" }, this.verdict, this.age, this.pauseButton, this.error);
    /** @type {Map<string, { element: HTMLElement, cells: Record<string, HTMLElement> }>} */
    this.rows = new Map();
    this.lists = new Map(KINDS.map((kind) => [kind, create("ul", {})]));
    this.sections = KINDS.map((kind) => create("section", { className: "card" }, create("h2", {}, t.checkKinds[kind]), this.lists.get(kind)));
  }

  start() {
    this.reading = setInterval(() => document.visibilityState === "visible" && !this.paused && this.#again(), READ_EVERY);
    this.ticking = setInterval(() => this.#tick(), 1_000);
  }

  stop() {
    clearInterval(this.reading);
    clearInterval(this.ticking);
  }

  /** Throws an ApiError. */
  async read() {
    const { systemStatus } = await this.app.session.request(STATUS);
    this.checkedAt = Date.now();
    this.#show(systemStatus.checks);
  }

  async #again() {
    try {
      await this.read();
      this.error.textContent = "";
    } catch (error) {
      this.error.textContent = explain(error);
    }
  }

  #pause() {
    this.paused = !this.paused;
    this.pauseButton.textContent = this.paused ? t.unpause : t.pause;
    this.pauseButton.setAttribute("aria-pressed", String(this.paused));
    if (!this.paused) return this.#again();
  }

  /** @param {Check[]} checks */
  #show(checks) {
    const wrong = checks.filter((check) => check.isWrong);
    const verdict = wrong.length ? t.findings(wrong.length) : t.allWell;
    if (verdict !== this.verdict.textContent) {
      if (this.verdict.textContent) this.app.announce(verdict);
      this.verdict.textContent = verdict;
    }
    this.head.classList.toggle("wrong", wrong.length > 0);
    const shown = new Set();
    for (const check of checks) {
      const key = `${check.kind} ${check.subject}`;
      shown.add(key);
      this.#fill(this.rows.get(key) ?? this.#row(key, check), check);
    }
    for (const [key, { element }] of this.rows) {
      if (shown.has(key)) continue;
      element.remove();
      this.rows.delete(key);
    }
    this.#tick();
    this.onRead(wrong.length);
  }

  /** @param {string} key @param {Check} check */
  #row(key, { kind, subject }) {
    const cells = { mark: create("span", { className: "mark" }), text: create("span", { className: "fact" }), runbook: create("span", { className: "runbook" }) };
    const element = create("li", { dataset: { subject } }, cells.mark, create("span", { className: "subject" }, subject), cells.text, cells.runbook);
    const row = { element, cells };
    this.rows.set(key, row);
    this.lists.get(kind)?.append(element);
    return row;
  }

  /** @param {{ element: HTMLElement, cells: Record<string, HTMLElement> }} row @param {Check} check */
  #fill({ element, cells }, { text, isWrong, runbook, subject }) {
    element.classList.toggle("wrong", isWrong);
    cells.mark.textContent = isWrong ? t.wrong : t.well;
    cells.text.textContent = text;
    // A link that stands there keeps the focus.
    if (cells.runbook.dataset.runbook === (runbook ?? "")) return;
    cells.runbook.dataset.runbook = runbook ?? "";
    const name = t.runbook(subject);
    cells.runbook.replaceChildren(
      ...(!runbook ? [] : /^https?:/.test(runbook) ? [link(runbook, name, { target: "_blank", rel: "noreferrer" })] : [`${t.whatToDo}: `, create("code", {}, runbook)]),
    );
  }

  #tick() {
    this.age.textContent = this.paused ? t.paused : t.checkedAgo(Math.max(0, Math.round((Date.now() - this.checkedAt) / 1_000)));
  }
}

/** The events that could not be counted, a page at a time, to be replayed. */
class Letters {
  /** @param {import("../app.js").App} app */
  constructor(app) {
    this.app = app;
    this.count = 0;
    this.list = create("ul", { className: "letters" });
    this.empty = create("p", { className: "hint" }, t.noDeadLetters);
    this.outcome = create("p", { className: "hint", role: "status" });
    this.all = button(t.replayAll, () => this.#replay([...this.shown.keys()]), { className: "small", hidden: true });
    this.more = button(t.more, () => this.read(this.cursor), { className: "quiet small", hidden: true });
    /** @type {Map<string, HTMLElement>} */
    this.shown = new Map();
    /** @type {string | null} */
    this.cursor = null;
    this.element = create(
      "section",
      { className: "card dead-letters" },
      create("div", { className: "console-head" }, create("h2", {}, t.deadLetters), this.all),
      this.outcome,
      this.empty,
      this.list,
      this.more,
    );
  }

  /** Read the list again when the checks have found something else. @param {number} count */
  expect(count) {
    if (count !== this.count && this.element.isConnected) this.read().catch(() => {});
    this.count = count;
  }

  /** Throws an ApiError. @param {string | null} [after] */
  async read(after = null) {
    const { deadLetters } = await this.app.session.request(LETTERS, { after });
    const rows = deadLetters.edges.map((/** @type {{ node: Letter }} */ { node }) => [node.letterId, this.shown.get(node.letterId) ?? this.#row(node)]);
    this.shown = new Map([...(after ? this.shown : []), ...rows]);
    this.cursor = deadLetters.pageInfo.endCursor;
    this.more.hidden = !deadLetters.pageInfo.hasNextPage;
    this.#fill();
  }

  #fill() {
    for (const element of [...this.list.children]) if (![...this.shown.values()].includes(element)) element.remove();
    for (const element of this.shown.values()) if (!element.isConnected || element.parentElement !== this.list) this.list.append(element);
    this.empty.hidden = this.shown.size > 0;
    this.all.hidden = this.shown.size < 2;
  }

  /** @param {Letter} letter */
  #row({ letterId, reason, subject, timestamp }) {
    return create(
      "li",
      { dataset: { letter: letterId } },
      create("time", { dateTime: timestamp }, t.moment(new Date(timestamp))),
      create("code", {}, subject),
      create("bdi", { className: "fact" }, reason),
      create("code", { className: "id" }, letterId),
      button(t.replay, () => this.#replay([letterId]), { className: "second small", "aria-label": t.replayOf(letterId) }),
    );
  }

  /** @param {string[]} ids */
  async #replay(ids) {
    try {
      const { replayDeadLetters } = await this.app.session.request(REPLAY, { ids: ids.slice(0, 100) });
      const refused = replayDeadLetters.filter((/** @type {any} */ each) => !each.counted);
      for (const { letterId, counted } of replayDeadLetters) if (counted) this.shown.delete(letterId);
      this.#fill();
      this.outcome.textContent = t.replayed(replayDeadLetters.length - refused.length, refused[0]?.reason);
    } catch (error) {
      this.outcome.textContent = explain(error);
    }
  }
}
