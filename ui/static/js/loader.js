// Which windows are asked for, in which order, and what when the server is away?

import { SIZE } from "./windows.js";

const AT_ONCE = 3;
const PAUSE = 1500; // milliseconds after a question that failed

/** Fetches what is looked at now; what was scrolled past before its turn came is never asked for. */
export class Loader {
  /** `ask(index, count)` gives a promise; `windows` are filled by whoever asked. */
  constructor(windows, ask, onFailure) {
    Object.assign(this, { windows, ask, onFailure });
    this.busy = new Set();
    this.wanted = [0, 0, 0];
    this.resting = 0;
  }

  /** Entries [from, to) are in view; those beside it come afterwards. `length` is the whole list's. */
  want(from, to, length) {
    this.wanted = [from, Math.min(to, length), length];
    for (let i = from; i < to; i += SIZE / 2) this.windows.touch(i);
    this.next();
  }

  next() {
    if (Date.now() < this.resting) return;
    const [from, to, length] = this.wanted;
    const places = [[from, to], [to, Math.min(length, to + SIZE / 2)], [Math.max(0, from - SIZE / 2), from]];
    for (const [start, stop] of places) {
      let at = start;
      while (at < stop && this.busy.size < AT_ONCE) {
        const hole = this.windows.missing(at, stop);
        if (!hole) break;
        const begin = Math.floor(hole.index / SIZE) * SIZE;
        const question = this.windows.missing(begin, Math.min(length, begin + SIZE));
        at = begin + SIZE;
        if (question && !this.busy.has(begin)) this.load(begin, question);
      }
    }
  }

  async load(begin, { index, count }) {
    this.busy.add(begin);
    try {
      await this.ask(index, count);
    } catch (error) {
      this.resting = Date.now() + PAUSE;
      setTimeout(() => this.next(), PAUSE);
      this.onFailure?.(error);
    } finally {
      this.busy.delete(begin);
    }
    this.next();
  }
}
