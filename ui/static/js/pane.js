// One log in view: its rows, where they come from, and what is marked, filtered and folded of them.

import { Copying } from "./copying.js";
import { h, say, toast } from "./dom.js";
import { Find, patternOf } from "./find.js";
import { count, now } from "./format.js";
import { LogView } from "./logview.js";
import { Matches } from "./matches.js";
import { Outline } from "./outline.js";
import { RowStore } from "./rows.js";
import { LogSource } from "./source.js";
import { Ticks } from "./ticks.js";

const QUIET = 5000; // milliseconds between two messages that say the same
const WAITING = { waiting: "Waiting for its turn. The log begins here.", queued: "Queued. The log begins here.", starting: "A worker has taken it. The log begins here.", running: "Nothing printed yet." };

export class LogPane {
  /** `on`: job(job), shown(pane), state(pane), changed(pane), hits(pane), pick(pane, n, event), unfilter(), choose(pane, choice) */
  constructor(job, on) {
    this.on = on;
    this.job = null;
    this.shown = 0;
    this.state = "wait";
    this.marks = null; // {first, last}
    this.wanted = null; // marks to be shown as soon as their rows are there
    this.missed = 0; // rows when following stopped
    this.build(job);
    this.ticking = setInterval(() => { if (this.state === "on") { this.view.update(); this.drawTicks(); } }, 1000);
  }

  build(job) {
    this.source = new LogSource(job, {
      job: (message) => this.on.job(message.job),
      attempt: (message) => this.begin(message.number),
      hello: (message) => { if (message.attempt === this.shown) this.store.hello(message); },
      rows: (frame) => { if (frame.header.attempt === this.shown) this.store.apply(frame); },
      error: (message) => this.refused(message.problem),
      end: () => this.setState("over"),
      state: (state) => { if (this.state !== "over") this.setState(state); },
    });
    this.store = new RowStore(this.source, (error) => this.onRows(error));
    this.outline = new Outline(this.store);
    this.look = { time: "off", address: () => this.address, pattern: null, hit: 0, expanded: new Map(), origin: (n) => this.origin(n), seconds: (section) => this.seconds(section), isMarked: (n) => this.marks !== null && n >= this.marks.first && n <= this.marks.last };
    this.view = new LogView(this.outline, this.look, {
      follow: () => { this.missed = this.store.total; this.drawJump(); },
      changed: () => this.on.changed(this),
      fold: (section) => this.fold(section),
      pick: (n, event) => this.on.pick(this, n, event),
      more: (n, length) => { this.look.expanded.set(n, length); this.view.ruler.forget(); this.view.restyle(); },
      copy: (n) => this.copying.row(n),
    });
    this.copying = new Copying(this.view, this.outline, this.source);
    this.find = new Find(this.source, { hits: () => this.onHits(), show: (n) => this.show(n), rows: () => this.store.total, fail: (error) => this.fail(error) });
    this.ticks = new Ticks(this.view, this.outline);
    new ResizeObserver(() => this.drawTicks()).observe(this.view.scroller);
    this.choice = h("select", { class: "pane-choice", "aria-label": "Which attempt", onchange: () => this.on.choose(this, this.choice.value) });
    this.facts = h("span", { class: "pane-facts" });
    this.empty = h("p", { class: "log-empty", hidden: true });
    this.jump = h("button", { type: "button", class: "jump", hidden: true, onclick: () => this.view.goToEnd() }, h("span", {}, ""), h("kbd", {}, "End"));
    this.element = h("div", { class: "pane" }, h("div", { class: "pane-head" }, this.choice, this.facts), h("div", { class: "pane-body" }, this.view.scroller, this.ticks.canvas, this.view.stuck, this.empty, this.jump));
  }

  // ---- which log ----

  /** `pinned` 0: the newest attempt, and then the next ones. */
  connect(pinned, rank = this.source.rank, attempt = pinned) {
    const other = rank !== this.source.rank || (attempt && attempt !== this.shown);
    this.source.rank = rank;
    if (other) this.clear(attempt);
    this.setState("wait");
    this.source.connect(pinned);
  }

  close() {
    clearInterval(this.ticking);
    this.source.close();
    this.find.clear();
    this.copying.close();
    this.outline.matches?.close();
  }

  clear(attempt) {
    this.shown = attempt;
    this.source.attempt = attempt;
    this.look.hit = 0;
    this.look.expanded.clear();
    this.marks = null;
    this.deleted = "";
    this.outline.folded.clear();
    this.store.reset();
    this.view.reset();
    if (this.outline.matches) this.filter(this.outline.matches.query);
    this.find.clear();
  }

  begin(number) {
    if (number === this.shown) return;
    if (this.shown && !this.source.pinned && !this.view.following && this.store.total) {
      toast(`Attempt ${number} has begun.`);
      this.source.attempt = this.shown;
      this.connect(this.shown); // whoever reads is not torn away
      return;
    }
    if (this.shown) toast(`Attempt ${number} begins.`);
    this.clear(number);
    this.on.shown(this);
  }

  setJob(job) {
    this.job = job;
    this.drawEmpty();
    this.view.update();
  }

  setState(state) {
    this.state = state;
    this.on.state(this);
    this.drawEmpty();
    this.drawJump();
    this.view.update();
  }

  refused(problem) {
    const text = problem.detail || problem.title;
    if (problem.code !== "log_deleted") { this.fail(new Error(text)); return; }
    this.deleted = text;
    this.source.close();
    this.setState("over");
  }

  fail(error) {
    if (Date.now() - (this.failed ?? 0) < QUIET) return;
    this.failed = Date.now();
    toast(error.message, true);
  }

  // ---- what happens to its rows ----

  onRows(error) {
    if (error) { this.fail(error); return; }
    this.outline.matches?.grown(this.store.end, this.store.settled);
    this.find.grown(this.store.total);
    if (this.wanted && (this.store.total >= this.wanted.first || this.store.complete)) this.showWanted();
    this.drawEmpty();
    this.drawJump();
    this.view.update();
    this.on.changed(this);
  }

  /** The query of this log's links. */
  get address() {
    const { rank } = this.source;
    return `?attempt=${this.shown || 1}${rank ? `&rank=${rank}` : ""}`;
  }

  get attempt() { return this.job?.attempts.findLast(({ number }) => number === this.shown); }

  origin(n) {
    const { building_at: building, granted_at: granted, started_at: started } = this.attempt ?? {};
    return (n <= this.store.build ? (building ?? granted) : (started ?? granted)) ?? this.store.get(1)?.time ?? 0;
  }

  /** How long a section took, or takes by now. */
  seconds(section) {
    const { building_at: building, granted_at: granted, started_at: started, ended_at: ended, end } = this.attempt ?? {};
    const from = section === "build" ? (building ?? granted) : started;
    if (!from) return null;
    return ((section === "build" ? started : null) ?? ended ?? (end ? null : now()) ?? from) - from;
  }

  drawEmpty() {
    const nothing = !this.store.total;
    let text = "";
    if (this.deleted && nothing) text = this.deleted;
    else if (nothing) text = WAITING[this.job?.state] ?? (this.state === "over" ? "It printed nothing." : "");
    else if (this.outline.matches?.known && !this.outline.matches.count) text = "No row matches.";
    say(this.empty, text);
  }

  drawJump() {
    const { following } = this.view;
    this.jump.hidden = following;
    if (following) return;
    const fresh = this.outline.matches || !this.missed || this.state === "over" ? 0 : this.store.total - this.missed;
    const word = this.state === "over" ? "Go to the end" : "Follow";
    this.jump.firstChild.textContent = `↓ ${fresh > 0 ? `${count(fresh, "new row")} · ` : ""}${word}`;
  }

  // ---- what is looked at ----

  fold(section) {
    const { folded } = this.outline;
    const fold = !folded.has(section);
    this.view.rearrange(() => { if (fold) folded.add(section); else folded.delete(section); });
    this.drawTicks();
  }

  /** {q, case, stream} or null for all rows. */
  async filter(query) {
    this.outline.matches?.close();
    if (!query) { this.unfilter(); return; }
    const matches = new Matches(this.source, query, (error) => {
      if (error) this.fail(error);
      else matches.grown(this.store.end, this.store.settled); // the answer may be a moment older than the page
      this.drawEmpty();
      this.view.update();
      this.on.changed(this);
    });
    this.matching = matches;
    const { n } = this.outline.length ? this.view.top : {};
    const { following } = this.view;
    try {
      const index = n && !following ? await matches.placeOf(n) : (await matches.load(0, 500), 0);
      if (this.matching === matches) this.view.rearrange(() => { this.outline.matches = matches; }, index);
      this.on.changed(this);
      this.drawTicks();
    } catch (error) { this.fail(error); }
    this.drawEmpty();
  }

  unfilter() {
    this.matching = null;
    if (this.outline.matches) this.view.rearrange(() => { this.outline.matches = null; });
    this.drawEmpty();
    this.drawTicks();
    this.on.changed(this);
  }

  setPattern(text, exact) {
    this.look.pattern = patternOf(text, exact);
    if (!text) this.look.hit = 0;
    this.view.restyle();
  }

  /** Searches from what is in view. */
  search(query) {
    this.setPattern(query.q, query.case === "1");
    return this.find.search(query, this.find.current || this.view.top?.n || 1);
  }

  onHits() {
    if (this.look) { this.look.hit = this.find?.current ?? 0; this.view.update(); }
    if (this.find) this.on.hits(this);
    this.drawTicks();
  }

  drawTicks() {
    if (this.find && this.ticks) this.ticks.draw(this.find.numbers, this.look.hit, this.find.count === this.find.numbers.length);
  }

  async show(n) {
    const index = await this.indexOf(n);
    if (index !== null) this.view.goTo(index, 1 / 3, true);
  }

  async indexOf(n) {
    const { matches } = this.outline;
    if (matches) {
      const k = await matches.placeOf(n);
      if ((await matches.rowAt(k))?.n === n) return k;
      this.on.unfilter();
      this.unfilter();
    }
    const section = this.outline.sectionOf(n);
    if (this.outline.headed && this.outline.folded.has(section)) this.fold(section);
    return this.outline.indexOf(n);
  }

  /** Marks the rows and shows them as soon as they are there. */
  async showRows(marks) {
    this.wanted = marks;
    this.view.setFollowing(false);
    if (this.store.total >= marks.first || this.store.complete) await this.showWanted();
  }

  async showWanted() {
    const { first, last } = this.wanted;
    this.wanted = null;
    if (first > this.store.total) { toast(`The log has ${count(this.store.total, "row")} only.`, true); this.view.goToEnd(); return; }
    this.marks = { first, last };
    const index = await this.indexOf(first);
    this.view.goTo(index, 1 / 3);
    this.view.restyle();
  }
}
