// How are the numbers of a chart written?
import { bytes, duration } from "./format.js";

const whole = new Intl.NumberFormat("en");
const moment = new Intl.DateTimeFormat([], { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });

/** A value with about four digits that count. */
export function number(value) {
  if (value === null || value === undefined) return "";
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e6) return minus(whole.format(value));
  if (size >= 1e6 || size < 1e-3) return minus(value.toExponential(2).replace("e+", "e"));
  return minus(String(Number(value.toPrecision(4))));
}

const minus = (text) => text.replace("-", "−");

const UNITS = {
  "": number,
  bytes: (value) => (Number.isFinite(value) ? bytes(value) : number(value)),
  "bytes/s": (value) => (Number.isFinite(value) ? `${bytes(value)}/s` : number(value)),
  share: (value) => (Number.isFinite(value) ? `${Math.round(value * 100)} %` : number(value)),
  cores: (value) => (Number.isFinite(value) ? String(Math.round(value * 100) / 100) : number(value)),
};

/** How a value of a unit is written. */
export const writer = (unit) => UNITS[unit ?? ""] ?? ((value) => `${number(value)} ${unit}`);

/** A place on the axis, in words. */
export function place(x, axis) {
  if (axis === "step") return `step ${whole.format(x)}`;
  if (axis === "time") return moment.format(x * 1000);
  return `after ${duration(x) || "0 s"}`;
}

const two = (value) => String(value).padStart(2, "0");

function clockTick(at, each) {
  const date = new Date(at * 1000);
  if (each >= 86400) return date.toLocaleDateString("en", { month: "short", day: "numeric" });
  const minutes = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return each >= 60 ? minutes : `${minutes}:${two(date.getSeconds())}`;
}

function sinceTick(seconds, each) {
  if (seconds === 0) return "0";
  const size = Math.abs(seconds);
  const sign = seconds < 0 ? "−" : "";
  if (each < 1) return `${sign}${Number(size.toFixed(3))} s`;
  if (size < 60) return `${sign}${size} s`;
  if (size < 3600) return `${sign}${Math.floor(size / 60)}${size % 60 ? `:${two(size % 60)}` : ""} min`;
  if (size < 86400 * 2) return `${sign}${Math.floor(size / 3600)}${size % 3600 ? `:${two(Math.floor((size % 3600) / 60))}` : ""} h`;
  return `${sign}${Number((size / 86400).toFixed(1))} d`;
}

const stepTick = (step, each) => (Math.abs(step) >= 10000 && each >= 100 ? compact.format(step) : whole.format(step));

/** What stands at the marks of an axis, `each` apart. */
export function ticks(axis, marks, each) {
  const write = axis === "step" ? stepTick : axis === "time" ? clockTick : sinceTick;
  return marks.map((mark) => (mark === null ? "" : write(mark, each)));
}

/** Distances of marks that read well on an axis. */
export const STEPS_APART = [1, 2, 5].flatMap((digit) => Array.from({ length: 15 }, (_, power) => digit * 10 ** power)).sort((a, b) => a - b);
export const SECONDS_APART = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 432000, 864000, 1728000, 4320000];
export const BYTES_APART = Array.from({ length: 50 }, (_, power) => 2 ** power);
