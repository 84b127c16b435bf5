// Which charts are there, and when is each drawn? Only those in view, a few in each frame.
import { h } from "./dom.js";
import { Chart } from "./chart.js";
import { Feed } from "./metric_feed.js";

const BUDGET = 7; // milliseconds of a frame that drawing may take
const AHEAD = "300px 0px"; // how far below and above the window charts are drawn
const SHUT_FROM = 40; // charts: the groups after them start closed
let boards = 0;

/** Charts in groups. `view()` tells how they are drawn, `onZoom(range)` is told of what was dragged. */
export class Board {
  constructor(host, { view, onZoom, onTrouble, onPlace = () => {} }) {
    this.host = host;
    this.look = view;
    this.onZoom = onZoom;
    this.onTrouble = onTrouble;
    this.placeAt = onPlace;
    this.key = `board-${(boards += 1)}`;
    this.charts = new Map(); // name to Chart
    this.groups = new Map(); // name to {element, grid}
    this.waiting = new Set();
    this.frame = 0;
    this.feed = new Feed((tracks) => this.changed(tracks));
    this.eyes = new IntersectionObserver((entries) => { for (const { target, isIntersecting } of entries) target.chart.setInView(isIntersecting); }, { rootMargin: AHEAD });
    this.theme = document.documentElement.dataset.theme;
    this.themes = new MutationObserver(() => { this.theme = document.documentElement.dataset.theme; this.redraw(); });
    this.themes.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  }

  get view() { return this.look(); }

  /** `groups` are [{name, title, charts: [{name, title, lines, …}]}], in their order. */
  show(groups) {
    const names = new Set(groups.flatMap(({ charts }) => charts.map(({ name }) => name)));
    for (const [name, chart] of this.charts) if (!names.has(name)) { this.eyes.unobserve(chart.element); chart.remove(); this.charts.delete(name); }
    let before = 0;
    for (const group of groups) {
      this.fill(this.group(group, before < SHUT_FROM), group.charts);
      before += group.charts.length;
    }
    for (const [name, { element }] of this.groups) if (!groups.some((group) => group.name === name)) { element.remove(); this.groups.delete(name); }
    const wanted = groups.map(({ name }) => this.groups.get(name).element);
    if (wanted.some((element, at) => this.host.children[at] !== element)) this.host.replaceChildren(...wanted);
  }

  group({ name, title, charts }, open) {
    if (!this.groups.has(name)) {
      const grid = h("div", { class: "chart-grid" });
      const count = h("span", { class: "muted" });
      this.groups.set(name, { grid, count, element: title === null ? grid : h("details", { class: "chart-group", open }, h("summary", {}, title, " ", count), grid) });
    }
    const found = this.groups.get(name);
    found.count.textContent = charts.length > 1 ? String(charts.length) : "";
    return found.grid;
  }

  fill(grid, charts) {
    const wanted = charts.map(({ name, title, lines, ...rest }) => {
      if (!this.charts.has(name)) this.charts.set(name, new Chart(this, name));
      const chart = this.charts.get(name);
      chart.setLines(title, lines, rest);
      return chart;
    });
    if (wanted.length === grid.children.length && wanted.every(({ element }, at) => grid.children[at] === element)) return;
    grid.replaceChildren(...wanted.map(({ element }) => element));
    for (const { element } of wanted) { this.eyes.unobserve(element); this.eyes.observe(element); }
  }

  /** New points of tracks: their charts are drawn again, if somebody sees them. */
  changed(tracks) {
    const found = new Set(tracks);
    for (const chart of this.charts.values()) if (chart.inView && chart.lines.some(({ track }) => found.has(track))) this.dirty(chart);
  }

  redraw() {
    this.feed.forgetZoom();
    for (const chart of this.charts.values()) this.dirty(chart);
  }

  dirty(chart) {
    if (!chart.inView) return;
    this.waiting.add(chart);
    this.frame ||= requestAnimationFrame(() => this.drawSome());
  }

  async drawSome() {
    const begun = performance.now();
    try {
      for (const chart of this.waiting) {
        this.waiting.delete(chart);
        await chart.draw();
        if (performance.now() - begun > BUDGET) break;
      }
    } catch (error) {
      this.onTrouble(error);
    } finally {
      this.frame = this.waiting.size ? requestAnimationFrame(() => this.drawSome()) : 0;
    }
  }

  zoom(range) { this.onZoom(range); }

  /** Zooms by a factor around the middle of what is shown. */
  scale(factor) {
    const shown = this.view.zoom ?? this.extent();
    if (!shown) return;
    const middle = (shown.min + shown.max) / 2;
    const half = ((shown.max - shown.min) / 2) * factor;
    const all = this.extent();
    const wide = factor > 1 && all && middle - half <= all.min && middle + half >= all.max;
    this.onZoom(wide ? null : { min: middle - half, max: middle + half });
  }

  /** From where to where the axis goes when all is shown. */
  extent() {
    let min = Infinity;
    let max = -Infinity;
    for (const { lines } of this.charts.values()) {
      for (const { track } of lines) {
        const [from, to] = ends(track, this.view.axis);
        min = Math.min(min, from);
        max = Math.max(max, to);
      }
    }
    return min < max ? { min, max } : null;
  }

  get size() { return this.charts.size; }

  close() {
    cancelAnimationFrame(this.frame);
    for (const chart of this.charts.values()) chart.remove();
    this.charts.clear();
    this.eyes.disconnect();
    this.themes.disconnect();
  }
}

function ends({ summary, origin }, axis) {
  if (axis === "step") return [summary.first_step, summary.last_step];
  const zero = axis === "time" ? 0 : origin();
  return [summary.first_time - zero, summary.last_time - zero];
}
