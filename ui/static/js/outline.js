// What is listed, in which order? Rows with their sections' heads, folded or not, or only rows that match.

/** Items are counted from 0: {n, row} of a row (n is 0 while unknown), or {section, rows, folded}. */
export class Outline {
  constructor(store) {
    this.store = store;
    this.folded = new Set();
    this.matches = null;
  }

  /** Whether there are heads: only where there was a build. */
  get headed() {
    return !this.matches && this.store.build > 0;
  }

  get sizes() {
    const { build, total } = this.store;
    return { build: this.folded.has("build") ? 0 : build, run: this.folded.has("run") ? 0 : total - build };
  }

  get length() {
    if (this.matches) return this.matches.count;
    if (!this.headed) return this.store.total;
    const { build, run } = this.sizes;
    return build + run + (this.store.total > this.store.build ? 2 : 1);
  }

  at(index) {
    if (this.matches) {
      const row = this.matches.get(index);
      return { n: row?.n ?? 0, row };
    }
    if (!this.headed) return this.row(index + 1);
    const { build } = this.sizes;
    if (index === 0) return this.headOf(1);
    if (index <= build) return this.row(index);
    if (index === build + 1) return this.headOf(this.store.build + 1);
    return this.row(this.store.build + index - build - 1);
  }

  row(n) {
    return { n, row: this.store.get(n) };
  }

  head(section, rows) {
    return { section, rows, folded: this.folded.has(section) };
  }

  headOf(n) {
    const section = this.sectionOf(n);
    return this.head(section, section === "build" ? this.store.build : this.store.total - this.store.build);
  }

  sectionOf(n) {
    return n <= this.store.build ? "build" : "run";
  }

  /** The item of row n; of a folded one its section's head. Not for matches. */
  indexOf(n) {
    if (!this.headed) return n - 1;
    const { build, run } = this.sizes;
    if (n <= this.store.build) return build ? n : 0;
    return run ? build + 1 + n - this.store.build : build + 1;
  }

  /** Asks for what is missing of the items [from, to). */
  want(from, to) {
    if (this.matches) { this.matches.want(from, to); return; }
    let first = 0;
    let last = 0;
    for (const index of [from, to - 1]) {
      const item = this.at(Math.min(Math.max(0, index), this.length - 1));
      const n = item.n ?? (item.section === "build" ? 1 : this.store.build + 1);
      if (index === from) first = n;
      last = n;
    }
    if (last >= first) this.store.want(first, Math.min(last, this.store.total));
  }

  /** What the items [from, to] are as questions: [{first, count}] with the query of the matches, if any. */
  runs(from, to) {
    if (this.matches) return [{ ...this.matches.query, first: from + 1, count: to - from + 1 }];
    const found = [];
    const numbers = [from, to].map((index) => this.at(index).n);
    const [first, last] = [numbers[0] ?? this.behind(from), numbers[1] ?? this.behind(to) - 1];
    const { build } = this.store;
    if (!this.headed) return [{ first, count: last - first + 1 }];
    if (first <= build && !this.folded.has("build")) found.push({ first, count: Math.min(last, build) - first + 1 });
    if (last > build && !this.folded.has("run")) found.push({ first: Math.max(first, build + 1), count: last - Math.max(first, build + 1) + 1 });
    return found;
  }

  /** The row behind a head. */
  behind(index) {
    return this.at(index).section === "build" ? 1 : this.store.build + 1;
  }
}
