// Which rows of a log does the page have, and which of them may still change?

import { Loader } from "./loader.js";
import { SIZE, Windows } from "./windows.js";

/** The rows of one attempt and rank: sparse, bounded, filled by frames. */
export class RowStore {
  /** `source.rows(query)` asks the server for a frame; `onChange` is told that something is new. */
  constructor(source, onChange) {
    this.source = source;
    this.onChange = onChange;
    this.reset();
  }

  reset() {
    this.windows = new Windows((from) => from + SIZE > this.settled);
    this.total = 0;
    this.settled = 0;
    this.build = 0;
    this.end = 0;
    this.complete = false;
    this.edition = (this.edition ?? 0) + 1;
    const edition = this.edition;
    this.loader = new Loader(this.windows, (index, count) => this.load(edition, index, count), (error) => this.onChange(error));
  }

  get(n) {
    return this.windows.get(n - 1);
  }

  /** The connection is new: what could still change is told anew. */
  hello({ total, settled, build, end, complete = false }) {
    this.windows.dropFrom(this.settled);
    Object.assign(this, { total, settled, build, end, complete });
    this.onChange();
  }

  /** A frame of the socket: in order, the newest state. */
  apply({ header, rows }) {
    rows.forEach((row, index) => {
      if (!header.append || index > 0) { this.windows.set(row.n - 1, row); return; }
      const old = this.get(row.n);
      if (old) this.windows.set(row.n - 1, { ...old, text: old.text + row.text });
    });
    this.total = header.total;
    this.settled = header.settled;
    this.build = header.build;
    this.end = header.end;
    this.complete = header.complete;
    this.onChange();
  }

  /** Rows [first, last] are looked at. */
  want(first, last) {
    this.loader.want(Math.max(0, first - 1), last, this.complete ? this.total : this.settled);
  }

  async load(edition, index, count) {
    const { header, rows } = await this.source.rows({ first: index + 1, count });
    if (edition !== this.edition) return;
    let taken = 0;
    for (const row of rows) {
      // A row that could still change when it was read may be older than what the socket said of it.
      if (row.n > header.settled && !header.complete) continue;
      this.windows.set(row.n - 1, row);
      taken += 1;
    }
    if (!taken) throw new Error("The server gave none of the rows.");
    this.onChange();
  }
}
