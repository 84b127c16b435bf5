// Where in the whole log is a text? The server knows; the page steps from hit to hit.

import { Matches } from "./matches.js";

const AGAIN = 2000; // milliseconds between two counts of a log that grows

export class Find {
  /** `on`: hits(find), show(n), rows() (how many the log has), fail(error) */
  constructor(source, on) {
    this.source = source;
    this.on = on;
    this.clear();
  }

  clear() {
    this.asking?.abort();
    this.matches?.close();
    clearTimeout(this.timer);
    Object.assign(this, { query: null, numbers: [], count: 0, index: -1, matches: null, timer: null, total: 0, answered: false });
    this.tell();
  }

  tell() { this.on.hits(this); }

  get current() { return this.index < 0 ? 0 : (this.numbers[this.index] ?? this.beyond ?? 0); }

  /** Searches and shows the first hit from row `from` on. */
  async search(query, from) {
    this.clear();
    if (!query.q) return;
    this.query = query;
    this.matches = new Matches(this.source, query, () => {});
    this.tell();
    if (!(await this.ask())) this.again(query, from);
    else if (this.count) await this.to(await this.placeOf(from));
  }

  /** The server was away or busy: the same question a moment later. */
  again(query, from) {
    if (this.query !== query) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => { if (this.query === query) this.search(query, from); }, AGAIN);
  }

  /** Whether an answer came that is still wanted. */
  async ask() {
    this.asking?.abort();
    const asking = new AbortController();
    this.asking = asking;
    try {
      const answer = await this.source.search(this.query, asking.signal);
      Object.assign(this, { numbers: answer.rows, count: answer.count, total: answer.total, answered: true });
      this.tell();
      this.grown(this.on.rows()); // the answer may be a moment older than the page
      return true;
    } catch (error) {
      if (!asking.signal.aborted) this.on.fail(error);
      return false;
    }
  }

  /** The first hit in row n or behind it; the first of all where there is none. */
  async placeOf(n) {
    const { numbers } = this;
    let [low, high] = [0, numbers.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (numbers[middle] < n) low = middle + 1;
      else high = middle;
    }
    if (low === numbers.length && this.count > numbers.length) low = await this.matches.placeOf(n);
    return low < this.count ? low : 0;
  }

  step(back) {
    if (!this.count) return null;
    return this.to((this.index + (back ? -1 : 1) + this.count) % this.count);
  }

  async to(index) {
    const { query } = this;
    const n = this.numbers[index] ?? (await this.matches.rowAt(index).catch(() => null))?.n;
    if (!n || query !== this.query) return;
    this.index = index;
    this.beyond = n;
    this.tell();
    this.on.show(n);
  }

  /** The log has more rows than were searched. */
  grown(total) {
    if (!this.query || this.timer || total <= this.total) return;
    this.timer = setTimeout(() => { this.timer = null; if (this.query) this.ask(); }, AGAIN);
  }
}

/** What marks a hit in the page as the server finds it. */
export function patternOf(text, exact) {
  return text ? new RegExp(text.replace(/[\\^$.*+?()[\]{}|/-]/g, (c) => (c === "-" ? "\\x2d" : `\\${c}`)), exact ? "gu" : "giu") : null;
}
