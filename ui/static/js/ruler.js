// Where does a row lie in the scrolled height? Browsers end near 17 (Firefox) or 33 million pixels, logs do not.

const LONGEST = 15e6; // pixels of the scrolled element
const KEPT = 50000; // measured heights

/** A place is {index, offset}: an item and how many of its pixels lie above. */
export class Ruler {
  constructor(unit) {
    this.unit = unit; // height of an item that is not wrapped
    this.count = 0;
    this.even = true; // all items have the unit's height
    this.forget();
  }

  forget() {
    this.known = new Map();
    this.sum = 0;
    this.mean = this.unit;
  }

  height(index) {
    return this.even ? this.unit : (this.known.get(index) ?? this.mean);
  }

  learn(index, height) {
    if (this.known.size > KEPT) this.forget();
    this.sum += height - (this.known.get(index) ?? 0);
    this.known.set(index, height);
  }

  /** Takes the measured heights for those of all; only between scrolls, for it moves the scrollbar. */
  estimate() {
    if (!this.even && this.known.size) this.mean = this.sum / this.known.size;
  }

  get length() {
    return Math.ceil(Math.min(LONGEST, this.count * (this.even ? this.unit : this.mean)));
  }

  /** The place that lies so many pixels further. */
  walk({ index, offset }, pixels) {
    let rest = offset + pixels;
    if (this.even) {
      const at = Math.max(0, index * this.unit + rest);
      const to = Math.min(this.count, Math.floor(at / this.unit));
      return { index: to, offset: to === this.count ? 0 : at - to * this.unit };
    }
    let at = index;
    while (rest < 0 && at > 0) { at -= 1; rest += this.height(at); }
    while (at < this.count && rest >= this.height(at)) { rest -= this.height(at); at += 1; }
    return { index: at, offset: at === this.count ? 0 : Math.max(0, rest) };
  }

  /** The place at the top of a view that ends with the last item. */
  last(view) {
    return this.walk({ index: this.count, offset: 0 }, -view);
  }

  number({ index, offset }) {
    return index + (index < this.count ? offset / this.height(index) : 0);
  }

  isBehind(place, other) {
    return place.index > other.index || (place.index === other.index && place.offset > other.offset);
  }

  /** The scrollTop that stands for a place. */
  topOf(place, view) {
    const most = Math.max(0, this.length - view);
    const end = this.number(this.last(view));
    return end > 0 ? Math.min(1, this.number(place) / end) * most : 0;
  }

  placeAt(top, view) {
    const most = Math.max(0, this.length - view);
    if (!most) return { index: 0, offset: 0 };
    const number = Math.min(1, top / most) * this.number(this.last(view));
    const index = Math.floor(number);
    return { index, offset: (number - index) * this.height(index) };
  }
}
