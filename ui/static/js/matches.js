// Which rows match a query, and where among them is a row? The server finds, the page asks by pages.

import { Loader } from "./loader.js";
import { SIZE, Windows } from "./windows.js";

const AGAIN = 1500; // milliseconds between two looks at a log that grows

export class Matches {
  /** `query` has q and stream. */
  constructor(source, query, onChange) {
    this.source = source;
    this.query = query;
    this.onChange = onChange;
    this.windows = new Windows();
    this.loader = new Loader(this.windows, (index, count) => this.load(index, count), (error) => onChange(error));
    this.count = 0;
    this.known = false; // whether the server has answered
    this.end = 0; // bytes of the log that were looked through
    this.closed = false;
  }

  /** The k-th matching row (from 0), or undefined. */
  get(k) {
    return this.windows.get(k);
  }

  want(from, to) {
    if (this.known) this.loader.want(Math.max(0, from), Math.min(to, this.count), this.count);
  }

  async load(index, count) {
    const { header, rows } = await this.source.rows({ ...this.query, first: index + 1, count });
    if (this.closed) return null;
    rows.forEach((row, i) => this.windows.set(index + i, row));
    Object.assign(this, { count: header.matches, known: true, end: header.end });
    if (!rows.length && index < header.matches) throw new Error("The server gave none of the rows.");
    this.onChange();
    return rows;
  }

  /** The log has grown to that many bytes. */
  grown(end, settled) {
    if (this.closed || this.timer || end <= this.end) return;
    this.timer = setTimeout(async () => {
      this.timer = null;
      const from = Math.floor(Math.max(0, this.firstBehind(settled)) / SIZE) * SIZE;
      await this.load(from, SIZE).catch(() => {});
      this.windows.dropFrom(this.count);
    }, AGAIN);
  }

  /** The last window may hold rows that have changed since. */
  firstBehind(settled) {
    let k = this.count;
    while (k > 0 && (this.get(k - 1)?.n ?? 0) > settled) k -= 1;
    return Math.min(k, this.count - 1);
  }

  async rowAt(k) {
    if (k < 0 || (this.known && k >= this.count)) return null;
    return this.get(k) ?? (await this.load(Math.max(0, k - 10), SIZE / 5), this.get(k)) ?? null;
  }

  /** How many matching rows are before row n: where n is among them, or would be. */
  async placeOf(n) {
    if (!this.known) await this.load(0, SIZE);
    let [low, high] = [0, this.count];
    while (low < high) {
      const middle = (low + high) >> 1;
      const row = await this.rowAt(middle);
      if (row && row.n < n) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
  }
}
