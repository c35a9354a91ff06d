// @ts-check
// What a board says to screen readers: one polite summary at a time, of the latest word on each subject.

const SAY_EVERY = 5_000;

export class Announcer {
  /** @param {(text: string) => void} say */
  constructor(say) {
    this.say = say;
    /** @type {Map<string, string>} */
    this.news = new Map();
    this.said = new Map();
    this.saidAt = 0;
  }

  /** Say a sentence with the next summary, in place of an earlier one on the same subject. @param {string} subject @param {string} text */
  put(subject, text) {
    if (this.said.get(subject) === text) this.news.delete(subject);
    else this.news.set(subject, text);
  }

  /** Say what is new, unless the last summary was less than five seconds ago. Call this often. */
  tick() {
    if (!this.news.size || Date.now() - this.saidAt < SAY_EVERY) return;
    this.say([...this.news.values()].join(" "));
    for (const [subject, text] of this.news) this.said.set(subject, text);
    this.news.clear();
    this.saidAt = Date.now();
  }

  /** Forget everything: another board is shown. */
  clear() {
    this.news.clear();
    this.said.clear();
  }
}
