// One small curve for each job of a list: of its loss, or of what else it told.
import { ask } from "./api.js";
import { h } from "./dom.js";
import { number } from "./chart_words.js";

const BATCH = 100; // jobs in one request
const SOON = 60; // milliseconds in which wishes are collected
const EVERY = 10000; // milliseconds between two looks at what runs
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 96;
const HEIGHT = 22;
const EDGE = 2;

export class Sparks {
  /** `onSpark(job)` is told whose curve is new; `running()` gives the jobs whose curve goes on. */
  constructor(onSpark, running) {
    this.onSpark = onSpark;
    this.found = new Map(); // job to what was told of it, null for nothing
    this.wanted = new Set();
    this.timer = 0;
    setInterval(() => { if (document.visibilityState === "visible") this.want(running(), true); }, EVERY);
  }

  /** Gets those that are not known; `again` those that are, too. */
  want(jobs, again = false) {
    for (const job of jobs) if (again || !this.found.has(job)) this.wanted.add(job);
    if (this.wanted.size && !this.timer) this.timer = setTimeout(() => this.load(), SOON);
  }

  /** A job has ended: what is known of it is not the last of it. */
  forget(job) {
    if (this.found.has(job)) this.want([job], true);
  }

  async load() {
    const jobs = [...this.wanted].slice(0, BATCH);
    for (const job of jobs) this.wanted.delete(job);
    try {
      const { sparks } = await ask(`/sparks?${new URLSearchParams(jobs.map((job) => ["job", job]))}`);
      const told = new Map(sparks.map((spark) => [spark.job, spark]));
      for (const job of jobs) {
        this.found.set(job, told.get(job) ?? null);
        this.onSpark(job);
      }
    } catch { /* the list is good without; those that run are asked for again */ }
    this.timer = 0;
    this.want([]);
  }

  /** The cell's content; nothing where there is no curve. */
  draw(job) {
    const spark = this.found.get(job);
    if (!spark) return [];
    const { name, last, values } = spark;
    const words = `${name}: ${number(last)}`;
    return [curve(values, words), h("span", { class: "spark-last", title: words }, number(last))];
  }
}

function curve(values, words) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [name, value] of Object.entries({ class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, role: "img", "aria-label": words })) svg.setAttribute(name, value);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", pathOf(values));
  svg.append(path);
  return svg;
}

/** An SVG path through the values; it is interrupted where there is none. */
function pathOf(values) {
  const known = values.filter((value) => value !== null);
  const low = Math.min(...known);
  const tall = Math.max(...known) - low;
  let open = false;
  return values.map((value, at) => {
    if (value === null) { open = false; return ""; }
    const x = EDGE + (values.length > 1 ? at / (values.length - 1) : 0.5) * (WIDTH - 2 * EDGE);
    const y = HEIGHT - EDGE - (tall ? (value - low) / tall : 0.5) * (HEIGHT - 2 * EDGE);
    const step = `${open ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}${open ? "" : "h.01"}`; // one alone is a dot
    open = true;
    return step;
  }).join("");
}
