// How are a million rows scrolled? Only those in view are in the page; a place is a row and pixels, never a height.

import { h } from "./dom.js";
import { Ruler } from "./ruler.js";
import { drawHead, drawRow, headElement, rowElement } from "./rowview.js";

const BESIDE = 500; // pixels of rows that are ready above and below
const JUMP = 3; // views; a longer way is a jump, by the scrollbar
const REST = 160; // milliseconds without scrolling until the scrollbar is put right
const FRESH = 500; // milliseconds
const BOX = 100000; // pixels
const NEAR = 2; // pixels from the end that are the end

export class LogView {
  /** `on`: follow(following), changed(), more(n, length), copy(n), pick(n, event), fold(section) */
  constructor(outline, look, on) {
    Object.assign(this, { outline, look, on });
    this.rows = h("div", { class: "log-rows" });
    this.canvas = h("div", { class: "log-canvas" }, this.rows);
    this.stuck = headElement();
    this.stuck.classList.add("stuck");
    this.scroller = h("div", { class: "log-scroll", tabindex: "0", role: "log", "aria-live": "off", "aria-label": "Log" }, this.canvas);
    this.place = { index: 0, offset: 0 };
    this.following = true;
    this.wrap = false;
    this.elements = new Map(); // what it shows → element
    this.pinned = new Set(); // elements that hold an end of the selection
    this.stamp = 0; // changes with the look of all rows
    this.lastTop = 0;
    this.left = 0;
    this.base = 0; // where the box of rows begins
    this.before = { at: 0, count: 0 }; // items a moment ago
    this.ruler = new Ruler(20);
    this.listen();
    new ResizeObserver(() => this.resized()).observe(this.scroller);
  }

  listen() {
    const passive = { passive: true };
    this.scroller.addEventListener("scroll", () => this.scrolled(), passive);
    this.scroller.addEventListener("wheel", (event) => { if (event.deltaY < 0) this.leave(); }, passive);
    for (const element of [this.rows, this.stuck]) element.addEventListener("click", (event) => this.clicked(event));
  }

  clicked(event) {
    const { target } = event;
    const row = target.closest(".line");
    if (!row) return;
    if (target.closest(".ln") && row.dataset.n) this.on.pick(Number(row.dataset.n), event);
    else if (target.closest(".head-fold")) this.on.fold(row.dataset.section);
    else if (target.dataset?.more) this.on.more(Number(row.dataset.n), Number(target.dataset.more));
    else if (target.dataset?.copy) this.on.copy(Number(row.dataset.n));
  }

  get height() { return this.scroller.clientHeight; }
  get top() { return this.outline.at(Math.min(this.place.index, Math.max(0, this.outline.length - 1))); }

  // ---- what changed ----

  /** Draws soon, once for all that happens until then. */
  update() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => { this.frame = 0; this.draw(); });
  }

  /** All rows look different: another query, time or mark. */
  restyle() { this.stamp += 1; this.update(); }

  /** Does what changes the order of items and keeps the same row at the top. */
  rearrange(change, index = null) {
    const { n, section } = this.outline.length ? this.top : {};
    const { offset } = this.place;
    change();
    this.ruler.forget();
    if (index !== null) this.place = { index, offset: 0 };
    else if (this.outline.matches) this.place = { index: 0, offset: 0 };
    else if (n) this.place = { index: this.outline.indexOf(n), offset };
    else if (section === "run") this.place = { index: this.outline.indexOf(this.outline.store.build + 1) - 1, offset: 0 };
    this.force = true;
    this.restyle();
  }

  setWrap(wrap) {
    this.wrap = wrap;
    this.rows.style.minWidth = "";
    this.scroller.classList.toggle("wrap", wrap);
    this.ruler.even = !wrap;
    this.ruler.forget();
    this.force = true;
    this.restyle();
  }

  resized() {
    this.measureUnit();
    const { clientWidth } = this.scroller;
    if (clientWidth !== this.width && this.wrap) this.ruler.forget();
    this.width = clientWidth;
    this.scroller.parentElement?.style.setProperty("--scrollbar", `${this.scroller.offsetWidth - clientWidth}px`);
    this.force = true;
    this.update();
  }

  measureUnit() {
    const unit = parseFloat(getComputedStyle(this.scroller).getPropertyValue("--unit")) || 20;
    if (unit === this.ruler.unit) return;
    this.ruler.unit = unit;
    this.ruler.forget();
  }

  reset() {
    this.place = { index: 0, offset: 0 };
    this.ruler.forget();
    this.setFollowing(true);
    this.force = true;
    this.restyle();
  }

  // ---- where it is ----

  scrolled() {
    const top = this.scroller.scrollTop;
    this.shift();
    const by = top - this.lastTop;
    if (Math.abs(by) < 0.5) return;
    this.lastTop = top;
    const { ruler, height } = this;
    if (Math.abs(by) > JUMP * height) this.place = ruler.placeAt(top, height);
    else this.place = ruler.walk(this.place, by);
    if (by < 0) this.leave();
    else if (this.atEnd()) this.setFollowing(true);
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.rest(), REST);
    this.update();
    this.on.changed();
  }

  /** Numbers stay at the left. (Each `sticky` element would cost a layer of its own.) */
  shift() {
    const { scrollLeft } = this.scroller;
    if (scrollLeft === this.left) return;
    this.left = scrollLeft;
    this.rows.style.setProperty("--x", `${scrollLeft}px`);
    this.rows.style.minWidth = scrollLeft > 0 ? `${this.rows.offsetWidth}px` : ""; // as wide as it was, whatever rows come
  }

  /** Between scrolls: the scrollbar to where it belongs, the heights as they were measured. */
  rest() {
    this.ruler.estimate();
    this.force = true;
    this.update();
  }

  atEnd() {
    const { ruler, height } = this;
    ruler.count = this.outline.length;
    const fresh = (ruler.count - this.before.count) * ruler.unit; // nobody scrolls to an end that runs away
    return !ruler.isBehind(ruler.walk(ruler.last(height), -NEAR - Math.min(Math.max(0, fresh), height)), this.place);
  }

  leave() {
    if (this.ruler.count * this.ruler.unit > this.height) this.setFollowing(false);
  }

  setFollowing(following) {
    if (this.following === following) return;
    this.following = following;
    this.on.follow(following);
  }

  goToEnd() { this.setFollowing(true); this.force = true; this.update(); this.on.changed(); }
  goToTop() { this.goTo(0, 0); }

  /** Shows the item, a third down the view; nothing moves where it is in view and `gently`. */
  goTo(index, share = 1 / 3, gently = false) {
    this.setFollowing(false);
    this.ruler.count = this.outline.length;
    const above = this.ruler.number(this.place);
    const below = this.ruler.number(this.ruler.walk(this.place, this.height - 2 * this.ruler.unit));
    if (!gently || index < above || index > below) {
      this.place = this.ruler.walk({ index, offset: 0 }, -this.height * share);
      this.force = true;
    }
    this.update();
    this.on.changed();
  }

  // ---- drawing ----

  draw() {
    const { ruler, outline, height } = this;
    if (!height) return;
    ruler.count = outline.length;
    if (performance.now() - this.before.at > FRESH) this.before = { at: performance.now(), count: ruler.count };
    const last = ruler.last(height);
    if (this.following || ruler.isBehind(this.place, last)) this.place = last;
    for (let round = 0; round < 3; round += 1) {
      this.from = ruler.walk(this.place, -BESIDE).index;
      this.to = Math.min(ruler.count, ruler.walk(this.place, height + BESIDE).index + 1);
      this.fill();
      if (ruler.even || !this.measure()) break;
      if (this.following) this.place = ruler.last(height);
    }
    outline.want(this.from, this.to);
    this.settle();
    this.stick();
  }

  /** The head of the section in view stays at the top. */
  stick() {
    const { outline, place } = this;
    const top = outline.headed && place.index < outline.length ? outline.at(place.index) : {};
    this.stuck.hidden = !top.n;
    if (top.n) this.drawItem(this.stuck, outline.headOf(top.n));
  }

  fill() {
    const kept = new Map();
    const wanted = [];
    for (let index = this.from; index < this.to; index += 1) {
      const item = this.outline.at(index);
      const key = item.section ?? (item.n || `?${index}`);
      const element = this.elements.get(key) ?? (item.section ? headElement() : rowElement());
      this.elements.delete(key);
      kept.set(key, element);
      element.index = index;
      this.drawItem(element, item);
      wanted.push(element);
    }
    this.scroller.style.setProperty("--digits", String(Math.max(3, String(this.outline.store.total).length)));
    this.replace(wanted, kept);
  }

  drawItem(element, item) {
    if (item.section) { drawHead(element, item, this.look.seconds(item.section)); return; }
    if (element.stamp !== this.stamp || element.row !== item.row) {
      drawRow(element, item, this.look);
      element.stamp = this.stamp;
      element.row = item.row;
      element.measured = false;
    }
    element.classList.toggle("marked", this.look.isMarked(item.n));
    element.classList.toggle("hit", item.n !== 0 && item.n === this.look.hit);
    element.classList.remove("away");
  }

  /** The elements into the page in their order; those with an end of the selection stay, out of sight. */
  replace(wanted, kept) {
    const before = [];
    const after = [];
    for (const [key, element] of this.elements) {
      if (!this.pinned.has(element)) { element.remove(); continue; }
      element.classList.add("away");
      kept.set(key, element);
      (element.index < this.from ? before : after).push(element);
    }
    this.elements = kept;
    let next = this.rows.firstChild;
    for (const element of [...before, ...wanted, ...after]) {
      if (element === next) next = next.nextSibling;
      else this.rows.insertBefore(element, next);
    }
  }

  /** Learns the heights of what is drawn; whether any of them is new. */
  measure() {
    let news = false;
    for (const element of this.elements.values()) {
      if (element.classList.contains("away") || (element.measured && this.ruler.known.has(element.index))) continue;
      const { height } = element.getBoundingClientRect();
      element.measured = true;
      if (this.ruler.known.get(element.index) === height) continue;
      this.ruler.learn(element.index, height);
      news = true;
    }
    return news;
  }

  /** Rows that stay where they are need no painting: the box moves seldom, its padding grows instead. */
  put(top) {
    if (!(top - this.base >= 0 && top - this.base < BOX)) {
      this.base = Math.floor(top - BOX / 2);
      this.rows.style.top = `${this.base}px`;
    }
    this.rows.style.paddingTop = `${top - this.base}px`;
  }

  /** Sets the scrolled height, and the rows so that the place is at the top of the view. */
  settle() {
    const { ruler, scroller, height } = this;
    this.canvas.style.height = `${Math.max(ruler.length, height)}px`;
    let top = scroller.scrollTop;
    const right = ruler.topOf(this.place, height);
    const off = Math.abs(right - top);
    const edge = Math.min(top, right, ruler.length - height - Math.max(top, right)) < 2 * height;
    if (off > 1 && (this.force || this.following || edge || off > ruler.length / 50)) {
      scroller.scrollTop = right;
      top = scroller.scrollTop;
    }
    this.force = false;
    this.lastTop = top;
    let above = this.place.offset;
    for (let index = this.from; index < this.place.index; index += 1) above += ruler.height(index);
    this.put(top - above);
  }
}
