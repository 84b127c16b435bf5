// What did a worker measure of its machine in the last hours?
import { $, say } from "./dom.js";
import { ask } from "./api.js";
import { Board } from "./chart_board.js";
import { machineGroups } from "./machine_charts.js";
import { columnsOf } from "./metric_feed.js";

const EVERY = 10000; // milliseconds

export class WorkerCharts {
  constructor() {
    this.worker = null; // {name, beat}
    this.tracks = new Map();
    this.timer = 0;
    this.zoom = null;
    const at = { onZoom: (zoom) => { this.zoom = zoom; this.board.redraw(); }, onTrouble: (error) => say($("worker-charts-error"), error.message) };
    this.board = new Board($("worker-chart-groups"), { view: () => ({ axis: "time", smoothing: 0, log: false, zoom: this.zoom }), ...at });
    $("worker-charts-close").addEventListener("click", () => this.close());
    document.addEventListener("visibilitychange", () => { if (this.worker && document.visibilityState === "visible") this.load(); });
  }

  get shown() { return this.worker?.name ?? ""; }

  open(worker) {
    this.worker = worker;
    this.tracks.clear();
    this.zoom = null;
    this.board.show([]);
    $("worker-charts-title").textContent = `${worker.name}: the last 24 hours`;
    $("worker-charts").hidden = false;
    $("worker-charts").scrollIntoView({ block: "nearest" });
    this.load();
  }

  close() {
    clearTimeout(this.timer);
    this.worker = null;
    $("worker-charts").hidden = true;
    this.board.show([]);
  }

  async load() {
    clearTimeout(this.timer);
    const { name } = this.worker;
    try {
      const { series } = await ask(`/workers/${name}/metrics?points=1000`);
      if (name !== this.shown) return;
      say($("worker-charts-error"), "");
      for (const one of series) this.put(name, one);
      this.draw();
    } catch (error) {
      if (name === this.shown) say($("worker-charts-error"), error.message);
    }
    if (name === this.shown && document.visibilityState === "visible") this.timer = setTimeout(() => this.load(), EVERY);
  }

  put(name, { key, name: series, source, unit, steps, times, values, bad, ...summary }) {
    if (!this.tracks.has(key)) {
      this.tracks.set(key, { id: `${name} ${key}`, job: name, attempt: 0, key, name: series, source, unit, home: name, fine: null, finer: "", asked: "", askedFine: "", origin: () => 0, address: (query) => `/workers/${name}/metrics?${query}` });
    }
    const columns = columnsOf({ steps, times, values, bad, count: summary.count });
    Object.assign(this.tracks.get(key), { summary, columns: { ...columns, axis: "time" } });
  }

  draw() {
    const { capacity, load } = this.worker.beat;
    const tracks = [...this.tracks.values()];
    say($("worker-charts-none"), tracks.length ? "" : "Nothing was measured yet. Its first numbers are here within seconds.");
    this.board.show(machineGroups(tracks, { cpus: capacity.cpus, memory: load.memory_total }));
    this.board.changed(tracks);
  }
}
