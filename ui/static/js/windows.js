// Which windows of a long list are kept? The newest looked at, within a bound; the rest is asked for again.

export const SIZE = 500; // entries of a window
const MOST_WINDOWS = 200;
const FEWEST_WINDOWS = 6; // what is in view, however long its rows
const MOST_CHARACTERS = 32 * 1024 * 1024;

export class Windows {
  /** `keep(from)`: whether the window that begins there must stay. */
  constructor(keep = () => false) {
    this.keep = keep;
    this.clear();
  }

  clear() {
    this.map = new Map(); // index → {entries, characters}, least lately used first
    this.characters = 0;
  }

  get(index) {
    return this.map.get(Math.floor(index / SIZE))?.entries[index % SIZE];
  }

  /** The entry is `{text, …}`. */
  set(index, entry) {
    const number = Math.floor(index / SIZE);
    let window = this.map.get(number);
    if (!window) {
      window = { entries: new Array(SIZE), characters: 0 };
      this.map.set(number, window);
      this.evict(number);
    }
    const more = entry.text.length - (window.entries[index % SIZE]?.text.length ?? 0);
    window.entries[index % SIZE] = entry;
    window.characters += more;
    this.characters += more;
  }

  touch(index) {
    const number = Math.floor(index / SIZE);
    const window = this.map.get(number);
    if (!window) return;
    this.map.delete(number);
    this.map.set(number, window);
  }

  evict(fresh) {
    const full = () => this.map.size > MOST_WINDOWS || (this.characters > MOST_CHARACTERS && this.map.size > FEWEST_WINDOWS);
    if (!full()) return;
    for (const [number, window] of this.map) {
      if (!full()) return;
      if (number === fresh || this.keep(number * SIZE)) continue;
      this.map.delete(number);
      this.characters -= window.characters;
    }
  }

  /** Forgets the entries from this index on. */
  dropFrom(index) {
    for (const [number, window] of this.map) {
      if ((number + 1) * SIZE <= index) continue;
      const from = Math.max(0, index - number * SIZE);
      for (let i = from; i < SIZE; i += 1) {
        const size = window.entries[i]?.text.length ?? 0;
        window.characters -= size;
        this.characters -= size;
        window.entries[i] = undefined;
      }
      if (from === 0) this.map.delete(number);
    }
  }

  /** {index, count} of what is not there of [from, to), as one question; null where all is. */
  missing(from, to) {
    let index = from;
    while (index < to && this.get(index)) index += 1;
    if (index >= to) return null;
    let stop = Math.min(to, (Math.floor(index / SIZE) + 1) * SIZE);
    while (stop > index + 1 && this.get(stop - 1)) stop -= 1;
    return { index, count: stop - index };
  }
}
