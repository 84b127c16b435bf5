// The charts on a job's page: what it told, and what it took of its machine.
import { $, h, say, toast } from "./dom.js";
import { ChartBar } from "./chart_bar.js";
import { Board } from "./chart_board.js";
import { linesOfJob } from "./chart_lines.js";
import { filterOf } from "./chart_math.js";
import { count } from "./format.js";
import { fill } from "./job_facts.js";
import { machineGroups } from "./machine_charts.js";
import { JobMetrics } from "./metric_job.js";

const BEFORE = new Set(["waiting", "queued", "starting"]);

export class JobCharts {
  constructor(id) {
    this.job = null;
    this.error = "";
    this.off = new Set(); // numbers of attempts that are not shown
    this.bar = new ChartBar((what) => this.changed(what));
    const told = { onZoom: (zoom) => this.bar.set({ zoom }, "zoom"), onTrouble: (error) => { this.error = error.message; this.showNews(); }, onPlace: (text) => { $("chart-place").textContent = text; } };
    this.board = new Board($("chart-groups"), { view: () => this.bar.view, ...told });
    this.machineZoom = null;
    this.machine = new Board($("machine-charts"), { view: () => this.machineView(), ...told, onPlace: () => {}, onZoom: (zoom) => { this.machineZoom = zoom; this.machine.redraw(); } });
    this.metrics = new JobMetrics(id, { onTracks: () => this.plan(), onPoints: (tracks) => this.draw(tracks), onNews: (error) => { this.error = error?.message ?? ""; this.showNews(); } });
    $("chart-in").addEventListener("click", () => this.board.scale(0.5));
    $("chart-out").addEventListener("click", () => this.board.scale(2));
    for (const link of [$("metrics-csv"), $("metrics-parquet")]) link.addEventListener("click", (event) => download(event, link));
  }

  machineView() {
    const axis = this.bar.view.axis === "relative" ? "relative" : "time";
    return { axis, smoothing: 0, log: false, zoom: this.machineZoom };
  }

  setJob(job) {
    this.job = job;
    this.metrics.setStarted(job.attempts);
    this.planMachine(); // its limits are known now
    this.showNews();
  }

  changed(what) {
    if (what === "plan") this.plan();
    else this.board.redraw();
    if (what === "zoom") { this.machineZoom = null; this.machine.redraw(); }
  }

  /** Which charts there are, after series came or the reader chose otherwise. */
  plan() {
    const attempts = this.attempts();
    const shown = [...this.metrics.tracks.values()].filter(({ attempt }) => !this.off.has(attempt));
    const found = filterOf(this.bar.filter);
    this.board.show(linesOfJob(shown.filter(({ source, name }) => source !== "machine" && found(name)), this.bar.view.by));
    this.planMachine();
    this.showAttempts(attempts);
    this.showNews();
  }

  planMachine() {
    const shown = [...this.metrics.tracks.values()].filter(({ attempt, source }) => source === "machine" && !this.off.has(attempt));
    this.machine.show(machineGroups(shown, this.limits(), this.attempts().length));
  }

  limits() {
    const { cpus, memory } = this.job?.spec.resources ?? {};
    return { cpus, memory };
  }

  draw(tracks) {
    this.board.changed(tracks);
    this.machine.changed(tracks);
    if (tracks.some(({ source }) => source === "machine")) this.planMachine(); // the peak in its hint
    this.showNews();
  }

  attempts() {
    return [...new Set([...this.metrics.tracks.values()].map(({ attempt }) => attempt))].sort((a, b) => a - b);
  }

  showAttempts(attempts) {
    $("chart-attempts").hidden = attempts.length < 2;
    if ($("chart-attempts").dataset.of === attempts.join()) return;
    $("chart-attempts").dataset.of = attempts.join();
    $("chart-attempts").replaceChildren(...attempts.map((attempt) => h("button", { type: "button", class: "quiet", "aria-pressed": String(!this.off.has(attempt)), onclick: (event) => this.toggle(attempt, event.target) }, `Attempt ${attempt}`)));
  }

  toggle(attempt, button) {
    if (!this.off.delete(attempt)) this.off.add(attempt);
    button.setAttribute("aria-pressed", String(!this.off.has(attempt)));
    this.plan();
  }

  /** What is said around the charts. */
  showNews() {
    const tracks = [...this.metrics.tracks.values()];
    const told = tracks.filter(({ source }) => source !== "machine");
    const begun = this.job !== null && !BEFORE.has(this.job.state);
    const empty = this.metrics.loaded && !told.length && begun;
    say($("charts-error"), this.error);
    $("charts").hidden = !told.length && !empty && !this.error;
    $("charts-empty").hidden = !empty;
    $("charts-empty-title").textContent = this.job?.state === "running" ? "No numbers yet" : "It told no numbers";
    $("charts-bar").hidden = !told.length;
    $("chart-downloads").hidden = !tracks.length;
    $("machine").hidden = !tracks.some(({ source }) => source === "machine");
    say($("charts-none"), told.length && !this.board.size ? (this.bar.filter ? "No metric has such a name." : "All attempts are switched off.") : "");
    const points = told.reduce((sum, { summary }) => sum + summary.count, 0);
    say($("charts-facts"), told.length ? `${count(new Set(told.map(({ key }) => key)).size, "metric")} · ${count(points, "point")}` : "");
    this.showParams();
  }

  showParams() {
    const attempts = [...this.metrics.attempts.values()];
    const params = Object.entries(attempts.findLast(({ params: of }) => Object.keys(of).length)?.params ?? {});
    $("params").hidden = !params.length;
    $("params-title").textContent = count(params.length, "parameter");
    const wanted = JSON.stringify(params);
    if ($("params").dataset.of !== wanted) { $("params").dataset.of = wanted; fill($("params-list"), params.map(([name, value]) => [name, value, true])); }
    say($("charts-notes"), attempts.flatMap(({ notes }) => notes).join(" "));
  }
}

/** A file that the server cannot make is a sentence here, not a page of JSON. */
async function download(event, link) {
  event.preventDefault();
  const asking = new AbortController();
  try {
    const answer = await fetch(link.href, { signal: asking.signal });
    if (answer.ok) { asking.abort(); location.assign(link.href); return; }
    toast((await answer.json()).detail, true);
  } catch { toast("The server does not answer. Is it running, is the network there?", true); }
}
