// The board on the page: rows that glide to their new place, and a quiet word for who can't see them.

const MOVE = { duration: 450, easing: "cubic-bezier(0.2, 0.8, 0.2, 1)" };
const SAY_EVERY = 5000;
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const numbers = new Intl.NumberFormat();

export class Board {
  /** `list` is an <ol>, `own` says where the player stands below it, `empty` that nobody has scored, `said` is a status. */
  constructor(list, own, empty, said) {
    this.list = list;
    this.own = own;
    this.empty = empty;
    this.said = said;
    this.rows = new Map();
    this.saidAt = 0;
    this.lastPlace = null;
  }

  /** Show another board from now on. */
  clear() {
    this.list.replaceChildren();
    this.rows.clear();
    this.lastPlace = null;
    this.empty.hidden = this.own.hidden = true;
  }

  /** Show a frame; `userId` is whose row is marked. */
  show(frame, userId) {
    const before = new Map([...this.rows].map(([id, row]) => [id, row.getBoundingClientRect().top]));
    const entries = frame.leaderboard;
    const gone = new Set(this.rows.keys());
    const order = entries.map((entry) => {
      gone.delete(entry.userId);
      const row = this.rows.get(entry.userId) ?? this.#row(entry.userId);
      this.#fill(row, entry, entry.userId === userId);
      return row;
    });
    for (const id of gone) this.rows.delete(id);
    this.list.replaceChildren(...order);
    this.empty.hidden = entries.length > 0;
    if (!calm.matches) this.#glide(before);
    this.#say(entries.find((entry) => entry.userId === userId));
  }

  /** Say where the player stands, if that is below the list. */
  showOwn({ rank, score }) {
    this.own.hidden = rank === null || rank <= this.list.children.length;
    this.own.textContent = rank === null ? "" : `You are number ${numbers.format(rank)} with ${numbers.format(score)} points.`;
  }

  #row(id) {
    const row = document.createElement("li");
    for (const name of ["rank", "move", "name", "country", "score"]) {
      const cell = document.createElement("span");
      cell.className = name;
      row.append(cell);
    }
    this.rows.set(id, row);
    return row;
  }

  #fill(row, entry, own) {
    const [rank, move, name, country, score] = row.children;
    const before = Number(row.dataset.score ?? entry.score);
    const up = entry.previousRank ? entry.previousRank - entry.rank : 0;
    rank.textContent = entry.rank;
    move.textContent = up > 0 ? `▲${up}` : up < 0 ? `▼${-up}` : "";
    move.dataset.way = Math.sign(up);
    move.setAttribute("aria-hidden", "true");
    name.textContent = entry.username;
    country.textContent = entry.country ?? "";
    score.textContent = numbers.format(entry.score);
    row.dataset.rank = entry.rank;
    row.dataset.user = entry.username;
    row.dataset.score = entry.score;
    row.classList.toggle("own", own);
    if (entry.score > before && !calm.matches) {
      row.animate([{ backgroundColor: "var(--flash)" }, {}], { duration: 900 });
    }
  }

  #glide(before) {
    for (const [id, row] of this.rows) {
      const from = before.get(id);
      const by = from === undefined ? 24 : from - row.getBoundingClientRect().top;
      if (by) {
        const start = { transform: `translateY(${by}px)`, opacity: from === undefined ? 0 : 1 };
        row.animate([start, { transform: "none", opacity: 1 }], MOVE);
      }
    }
  }

  #say(own) {
    const place = own ? `${own.rank}/${own.score}` : "";
    if (place === this.lastPlace || !own || Date.now() - this.saidAt < SAY_EVERY) return;
    this.lastPlace = place;
    this.saidAt = Date.now();
    this.said.textContent = `You are number ${own.rank} with ${numbers.format(own.score)} points.`;
  }
}
