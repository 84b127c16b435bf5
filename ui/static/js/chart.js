// One chart: its title, its curves, and the table of what they stand at.
import { h, say } from "./dom.js";
import { aligned, drawable, goesBack, placed, smoothed, spliced } from "./chart_math.js";
import { Plot, loadLibrary } from "./chart_plot.js";
import { LineTable } from "./chart_table.js";

const HEIGHT = 210; // pixels
const HEIGHT_BIG = 420;
const NARROWEST = 120;

export class Chart {
  /** `board` has the view, and is told of what is done here: `seen`, `zoom`, `reset`, `dirty`. */
  constructor(board, name) {
    this.board = board;
    this.name = name;
    this.lines = [];
    this.inView = false;
    this.big = false;
    this.plot = null;
    this.shape = "";
    this.made = "";
    this.table = new LineTable((index, alone) => this.toggle(index, alone));
    this.title = h("figcaption");
    this.hint = h("span", { class: "chart-hint" });
    this.bigger = h("button", { type: "button", class: "quiet icon", "aria-pressed": "false", "aria-label": "Larger", title: "Larger", onclick: () => this.enlarge() }, "⤢");
    this.host = h("div", { class: "chart-plot", tabindex: "0", role: "group", "aria-roledescription": "chart", onkeydown: (event) => this.key(event), onblur: () => this.plot?.leave() });
    this.note = h("p", { class: "chart-note", hidden: true });
    this.told = h("output", { class: "unseen", "aria-live": "polite" });
    this.element = h("figure", { class: "chart" }, h("div", { class: "chart-title" }, this.title, this.hint, h("span", { class: "grow" }), this.bigger), this.host, this.note, h("div", { class: "chart-lines" }, this.table.element), this.told);
    this.element.chart = this;
    this.seen = false; // really, not only nearly
    this.eye = new IntersectionObserver(([{ isIntersecting }]) => { this.seen = isIntersecting; });
    this.eye.observe(this.host);
    this.watch = new ResizeObserver(() => this.resize());
    this.watch.observe(this.host);
  }

  /** `lines` are {track, label, colour, dash}; what was hidden stays so. */
  setLines(title, lines, { unit = "", limit = null, hint = "", fill = false } = {}) {
    if (this.hint.textContent !== hint) this.hint.textContent = hint;
    const told = JSON.stringify([title, unit, limit, fill, lines.map(({ track, label, colour, dash }) => [track.id, label, colour, dash])]);
    if (told === this.made) return;
    this.made = told;
    const hidden = new Set(this.lines.filter((line) => line.hidden).map(({ track }) => track.id));
    this.lines = lines.map((line) => ({ ...line, hidden: hidden.has(line.track.id) }));
    this.unit = unit;
    this.limit = limit;
    this.fill = fill;
    this.title.textContent = title;
    this.host.setAttribute("aria-label", `${title}: a chart of ${lines.length === 1 ? "one line" : `${lines.length} lines`}. Left and right read its points, plus and minus zoom, 0 shows all.`);
    this.table.show(this.lines, unit);
    this.board.dirty(this);
  }

  setInView(inView) {
    this.inView = inView;
    if (inView) this.board.dirty(this);
    else this.drop();
  }

  drop() {
    this.plot?.destroy();
    this.plot = null;
  }

  remove() {
    this.drop();
    this.watch.disconnect();
    this.eye.disconnect();
    this.element.remove();
  }

  get tracks() { return this.lines.map(({ track }) => track); }

  /** Draws what is known now; asks for what is missing. */
  async draw() {
    if (!this.inView || !this.element.isConnected) return;
    const { view } = this.board;
    this.board.feed.want(this.lines.filter(({ hidden }) => !hidden).map(({ track }) => track), view);
    this.table.refresh();
    if (!this.lines.some(({ track }) => track.columns)) return;
    const uPlot = await loadLibrary();
    if (!this.inView) return;
    const { data, marks } = this.data(view);
    const shape = JSON.stringify([view.axis, view.log, view.smoothing > 0, this.limit, this.unit, this.board.theme, this.lines.map(({ track, colour, dash, hidden }) => [track.id, colour, dash, hidden])]);
    if (this.plot && shape === this.shape) { this.plot.view = view; this.plot.set(data, marks); return; }
    this.drop();
    this.shape = shape;
    this.plot = new Plot(uPlot, this.host, { lines: this.strokes(view), data, view, unit: this.unit, limit: this.limit, size: this.size(), key: this.board.key }, { onHover: (...found) => this.hover(...found), onZoom: (zoom) => this.board.zoom(zoom), onReset: () => this.board.zoom(null), isSeen: () => this.seen });
    this.plot.set(data, marks);
  }

  /** The lines as they are drawn: a smoothed one stands behind the one that it comes from. */
  strokes({ smoothing }) {
    return this.lines.flatMap(({ colour, dash, hidden }) => (smoothing ? [{ colour, dash, hidden, faint: true }, { colour, dash, hidden, smooth: true }] : [{ colour, dash, hidden, fill: this.fill }]));
  }

  data(view) {
    const marks = [];
    const notes = new Set();
    const found = this.lines.flatMap(({ track, colour, hidden }) => {
      const line = hidden ? { xs: [], ys: [] } : lineOf(track, view);
      line.ys.forEach((y, at) => { if (!Number.isFinite(y)) marks.push([line.xs[at], colour]); });
      if (view.log && line.ys.some((y) => y <= 0)) notes.add("Values that are not above 0 are left out on a log scale.");
      if (!hidden && view.axis === "step" && track.columns && (goesBack(track.columns.times) || goesBack(track.columns.steps))) notes.add("Its steps go back somewhere: over time it reads in order.");
      const shown = { xs: line.xs, ys: drawable(line.ys, view.log) };
      if (!view.smoothing) return [shown];
      const span = line.xs.length ? line.xs[line.xs.length - 1] - line.xs[0] : 0;
      return [shown, { xs: line.xs, ys: drawable(smoothed(line, view.smoothing, span), view.log) }];
    });
    if (marks.length) notes.add("× marks values that are NaN or infinite.");
    say(this.note, [...notes].join(" "));
    return { data: aligned(found), marks };
  }

  size() {
    return { width: Math.max(NARROWEST, Math.floor(this.host.clientWidth)), height: this.big ? HEIGHT_BIG : HEIGHT };
  }

  resize() {
    if (this.plot && this.host.clientWidth) this.plot.resize(this.size());
  }

  enlarge() {
    this.big = !this.big;
    this.bigger.setAttribute("aria-pressed", String(this.big));
    this.element.classList.toggle("big", this.big);
    this.resize();
  }

  toggle(index, alone) {
    const line = this.lines[index];
    if (alone) {
      const already = this.lines.every((other) => other.hidden === (other !== line));
      for (const other of this.lines) other.hidden = !already && other !== line;
    } else line.hidden = !line.hidden;
    this.table.toggled();
    this.board.dirty(this);
  }

  hover(indexes, x, meant) {
    if (!this.plot) return;
    const each = this.board.view.smoothing ? 2 : 1;
    const values = indexes && this.lines.map((_, line) => valueAt(this.plot.chart.data[1 + line * each], indexes[1 + line * each]));
    this.table.here(values, meant < 0 ? -1 : Math.floor((meant - 1) / each));
    this.element.classList.toggle("hovered", Boolean(indexes));
    if (document.activeElement === this.host && values) this.told.textContent = `${this.plot.words(x)}: ${this.table.words(values)}`;
    this.board.placeAt(indexes ? this.plot.words(x) : "");
  }

  key(event) {
    const act = { ArrowLeft: () => this.plot?.step(-1), ArrowRight: () => this.plot?.step(1), "+": () => this.board.scale(0.5), "=": () => this.board.scale(0.5), "-": () => this.board.scale(2), 0: () => this.board.zoom(null), Escape: () => this.plot?.leave() }[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }
}

const valueAt = (ys, index) => (index === null || index === undefined ? undefined : ys[index]);

/** What is known of a track on an axis, finer where it was zoomed into. */
function lineOf(track, { axis }) {
  if (!track.columns) return { xs: [], ys: [] };
  const origin = axis === "relative" ? track.origin() : 0;
  const coarse = placed(track.columns, axis, origin);
  return track.fine && track.finer.startsWith(`${axis} `) ? spliced(coarse, placed(track.fine, axis, origin)) : coarse;
}
