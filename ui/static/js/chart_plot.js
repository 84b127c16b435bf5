// How is one chart drawn? uPlot with our colours, axes, zoom and keys.
import { BYTES_APART, SECONDS_APART, STEPS_APART, place, ticks, writer } from "./chart_words.js";

const DASHES = [[], [6, 4], [2, 3], [10, 3, 2, 3]];
const FAINT = 0.28; // of a line that stands behind its smoothed one
const NEAR = 40; // pixels from the pointer within which a line counts as meant, and beyond its end is read
const LEAST_DRAG = 6; // pixels
let library = null;

/** uPlot, fetched when the first chart is drawn. */
export function loadLibrary() {
  library ??= import("../vendor/uplot.mjs").then((module) => module.default, (error) => { library = null; throw error; });
  return library;
}

/** The colours of the theme in force, for a canvas that knows no variables. */
function colours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  return { lines: Array.from({ length: 10 }, (_, at) => read(`--chart-${at}`)), text: read("--muted"), grid: read("--line"), ground: read("--surface"), red: read("--red"), font: `11px ${getComputedStyle(document.body).fontFamily}` };
}

/**
 * Draws `lines` ({colour, dash, smooth}) with `data` as uPlot has it; a smoothed line stands right after
 * the one that it was made of. `at` has the callbacks `onHover`, `onZoom` and `onReset`, and
 * `isSeen`: what nobody sees need not follow the pointer over other charts.
 */
export class Plot {
  constructor(uPlot, host, { lines, data, view, unit, limit, size, key }, at) {
    this.uPlot = uPlot;
    this.view = view;
    this.limit = limit;
    this.unit = unit;
    this.at = at;
    this.marks = [];
    const paint = colours();
    this.paint = paint;
    const write = writer(unit);
    new uPlot({
      ...size,
      padding: [10, 20, 0, 0],
      legend: { show: false },
      scales: {
        x: { time: view.axis === "time", range: (_, min, max) => wide(view.zoom, min, max) },
        y: { distr: view.log ? 3 : 1, range: (_, min, max) => this.high(min, max) },
      },
      axes: [this.across(paint), this.upwards(paint, write, unit)],
      series: [{}, ...lines.map((line) => this.line(line, paint))],
      cursor: this.cursor(key),
      hooks: { init: [(chart) => { this.chart = chart; }], setCursor: [() => this.hover()], setSelect: [() => this.selected()], draw: [() => this.drawMarks()] },
    }, data, host);
  }

  across(paint) {
    const { axis } = this.view;
    return { stroke: paint.text, font: paint.font, size: 28, gap: 4, grid: { stroke: paint.grid, width: 1 }, ticks: { stroke: paint.grid, width: 1, size: 4 }, space: 64, incrs: axis === "step" ? STEPS_APART : SECONDS_APART, values: (_, marks, __, ___, each) => ticks(axis, marks, each) };
  }

  upwards(paint, write, unit) {
    const values = (_, marks) => marks.map((mark) => (mark === null ? "" : write(mark)));
    return { stroke: paint.text, font: paint.font, size: unit?.startsWith("bytes") ? 72 : 58, gap: 4, grid: { stroke: paint.grid, width: 1 }, ticks: { show: false }, space: 34, ...(unit?.startsWith("bytes") && !this.view.log ? { incrs: BYTES_APART } : {}), values };
  }

  line({ colour, dash, faint, smooth, hidden, fill }, paint) {
    const stroke = paint.lines[colour % paint.lines.length];
    return { stroke, fill: fill ? `${stroke}22` : undefined, width: smooth ? 2 : 1.5, dash: DASHES[dash % DASHES.length], alpha: faint ? FAINT : 1, show: !hidden, points: faint ? { show: false } : { size: 5, fill: stroke } };
  }

  cursor(key) {
    return {
      y: false,
      drag: { x: true, y: false, setScale: false, dist: LEAST_DRAG },
      points: { size: 7 },
      dataIdx: (chart, series, index) => pointAt(chart, series, index),
      sync: { key, scales: ["x", null], setSeries: false, filters: { pub: (type) => type === "mousemove" || type === "mouseleave", sub: () => this.at.isSeen() } },
      bind: { dblclick: () => (event) => { event.preventDefault(); this.at.onReset(); return null; } },
    };
  }

  /** The range of values, with the limit in it where there is one. */
  high(min, max) {
    if (min === null || min === undefined || max === null) return this.view.log ? [0.1, 1] : [0, this.limit || 1];
    if (this.view.log) return this.uPlot.rangeLog(min === max ? min / 2 : min, min === max ? max * 2 : max, 10, false);
    if (this.unit === "share") return [0, Math.max(max, 1) * 1.02];
    if (this.unit) return [0, Math.max(max, this.limit ?? 0) * 1.06 || 1];
    const room = (max - min) * 0.06 || Math.abs(max) * 0.1 || 1;
    const zero = min >= 0 && min - room < 0;
    return [zero ? 0 : min - room, max + room];
  }

  hover() {
    const { left, top, idx, idxs, event } = this.chart.cursor;
    const away = left === undefined || left < 0 || idx === null || idx === undefined;
    this.at.onHover(away ? null : idxs, away ? null : this.chart.data[0][idx], away || !event ? -1 : this.nearest(idxs, top));
  }

  nearest(idxs, top) {
    let found = -1;
    let best = NEAR;
    for (let index = 1; index < this.chart.series.length; index += 1) {
      const value = this.chart.data[index][idxs[index]];
      if (!this.chart.series[index].show || value === null || value === undefined) continue;
      const distance = Math.abs(this.chart.valToPos(value, "y") - top);
      if (distance < best) { best = distance; found = index; }
    }
    return found;
  }

  selected() {
    const { left, width } = this.chart.select;
    if (width < LEAST_DRAG) return;
    this.chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.at.onZoom({ min: this.chart.posToVal(left, "x"), max: this.chart.posToVal(left + width, "x") });
  }

  /** `marks` are [x, colour] of values that are no numbers: crosses at the bottom. */
  drawMarks() {
    const { ctx, bbox } = this.chart;
    const unit = devicePixelRatio;
    ctx.save();
    if (this.limit) this.drawLimit(ctx, bbox, unit);
    ctx.lineWidth = 1.5 * unit;
    const arm = 3 * unit;
    for (const [x, colour] of this.marks) {
      const left = this.chart.valToPos(x, "x", true);
      if (left < bbox.left || left > bbox.left + bbox.width) continue;
      const low = bbox.top + bbox.height - 6 * unit;
      ctx.strokeStyle = this.paint.lines[colour % this.paint.lines.length];
      ctx.beginPath();
      ctx.moveTo(left - arm, low - arm); ctx.lineTo(left + arm, low + arm);
      ctx.moveTo(left + arm, low - arm); ctx.lineTo(left - arm, low + arm);
      ctx.stroke();
    }
    ctx.restore();
  }

  drawLimit(ctx, bbox, unit) {
    const top = this.chart.valToPos(this.limit, "y", true);
    if (top < bbox.top || top > bbox.top + bbox.height) return;
    ctx.strokeStyle = this.paint.red;
    ctx.lineWidth = 1.5 * unit;
    ctx.setLineDash([5 * unit, 4 * unit]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, top);
    ctx.lineTo(bbox.left + bbox.width, top);
    ctx.stroke();
    ctx.setLineDash([]);
  }

  set(data, marks) {
    this.marks = marks;
    const [xs] = data;
    this.chart.batch(() => {
      this.chart.setData(data, false);
      const [min, max] = wide(this.view.zoom, xs[0], xs[xs.length - 1]);
      this.chart.setScale("x", { min, max });
    });
  }

  /** As by the left and right arrow: the point beside the one that is looked at. */
  step(direction) {
    const xs = this.chart.data[0];
    if (!xs.length) return;
    const { min, max } = this.chart.scales.x;
    const now = this.chart.cursor.idx;
    const inside = (index) => index >= 0 && index < xs.length && xs[index] >= min && xs[index] <= max;
    let next = now === null || now === undefined ? (direction > 0 ? xs.findIndex((x) => x >= min) : xs.length - 1) : now + direction;
    while (next >= 0 && next < xs.length && !this.seen(next)) next += direction;
    if (!inside(next)) return;
    this.chart.setCursor({ left: Math.max(0, this.chart.valToPos(xs[next], "x")), top: 0 }, true, true);
  }

  seen(index) {
    return this.chart.series.some(({ show }, series) => series > 0 && show && this.chart.data[series][index] !== undefined);
  }

  leave() { this.chart.setCursor({ left: -10, top: -10 }, true, true); }

  resize(size) {
    if (size.width !== this.chart.width || size.height !== this.chart.height) this.chart.setSize(size);
  }

  words(x) { return place(x, this.view.axis); }

  destroy() { this.chart.destroy(); }
}

/** The point of a line that is nearest to a place; null where the line has ended, or not begun. */
function pointAt(chart, series, index) {
  const [xs] = chart.data;
  const ys = chart.data[series];
  if (series === 0 || ys[index] !== undefined) return index;
  let left = index;
  let right = index;
  while (left >= 0 && ys[left] === undefined) left -= 1;
  while (right < ys.length && ys[right] === undefined) right += 1;
  const far = (other) => Math.abs(chart.valToPos(xs[other], "x") - chart.valToPos(xs[index], "x"));
  if (left >= 0 && right < ys.length) return far(left) <= far(right) ? left : right;
  const end = left >= 0 ? left : right;
  return end < ys.length && far(end) <= NEAR ? end : null;
}

function wide(zoom, min, max) {
  if (zoom) return [zoom.min, zoom.max];
  if (min === null || min === undefined) return [0, 1];
  return min === max ? [min - 0.5, max + 0.5] : [min, max];
}
