// How does a reader want all charts drawn? The choices above them, kept for the next visit.
import { $ } from "./dom.js";

const KEPT = "charts";
const AXES = ["step", "time", "relative"];
const WAYS = ["kind", "series", "group"];

/** `onChange(what)` is told of "view" (draw anew), "zoom" and "plan" (which charts there are). */
export class ChartBar {
  constructor(onChange) {
    this.onChange = onChange;
    this.view = { axis: "step", smoothing: 0, log: false, by: "kind", zoom: null, ...kept() };
    this.filter = "";
    this.bind();
    this.show();
  }

  bind() {
    $("chart-axis").addEventListener("change", () => this.set({ axis: $("chart-axis").value, zoom: null }, "zoom"));
    $("chart-by").addEventListener("change", () => this.set({ by: $("chart-by").value }, "plan"));
    $("chart-smoothing").addEventListener("input", () => this.set({ smoothing: Number($("chart-smoothing").value) }, "view"));
    $("chart-log").addEventListener("click", () => this.set({ log: !this.view.log }, "view"));
    $("chart-all").addEventListener("click", () => this.set({ zoom: null }, "zoom"));
    let typing;
    $("chart-filter").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => { this.filter = $("chart-filter").value; this.onChange("plan"); }, 150); });
  }

  set(values, what) {
    this.view = { ...this.view, ...values };
    this.show();
    keep(this.view);
    this.onChange(what);
  }

  show() {
    const { axis, by, smoothing, log, zoom } = this.view;
    $("chart-axis").value = axis;
    $("chart-by").value = by;
    $("chart-smoothing").value = String(smoothing);
    $("chart-smoothing-value").textContent = smoothing ? smoothing.toFixed(2) : "off";
    $("chart-log").setAttribute("aria-pressed", String(log));
    $("chart-all").disabled = !zoom;
  }
}

function kept() {
  try {
    const { axis, by, smoothing, log } = JSON.parse(localStorage.getItem(KEPT)) ?? {};
    return { axis: AXES.includes(axis) ? axis : "step", by: WAYS.includes(by) ? by : "kind", smoothing: smoothing > 0 && smoothing < 1 ? smoothing : 0, log: log === true };
  } catch { return {}; }
}

function keep({ axis, by, smoothing, log }) {
  try { localStorage.setItem(KEPT, JSON.stringify({ axis, by, smoothing, log })); } catch { /* private window: for this page only */ }
}
