// What did a job, or a worker, take of its machine? Charts with the limit as a line.
import { byName } from "./chart_math.js";
import { bytes, count } from "./format.js";

const UNITS = [["TiB", 2 ** 40], ["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]];
const KINDS = [
  { name: "cpu", title: "CPU", unit: "cores", of: (name) => name === "cpu", short: () => "used" },
  { name: "memory", title: "Memory", unit: "bytes", of: (name) => name === "memory", short: () => "used" },
  { name: "gpu-use", title: "GPU use", unit: "share", of: (name) => /^gpu\..*\.use$/.test(name), short: (name) => `GPU ${name.split(".")[1]}` },
  { name: "gpu-memory", title: "GPU memory", unit: "bytes", of: (name) => /^gpu\..*\.memory$/.test(name), short: (name) => `GPU ${name.split(".")[1]}` },
  { name: "disk", title: "Disk", unit: "bytes/s", of: (name) => name.startsWith("disk."), short: (name) => name.slice(5) },
  { name: "network", title: "Network", unit: "bytes/s", of: (name) => name.startsWith("net."), short: (name) => name.slice(4) },
];

/** Charts of tracks for a Board; `limits` are {cpus, memory}, `attempts` how many there are of the job. */
export function machineGroups(tracks, limits, attempts = 1) {
  const charts = KINDS.map((kind) => {
    const found = tracks.filter(({ name }) => kind.of(name)).sort((a, b) => a.attempt - b.attempt || byName(a.name, b.name));
    const names = [...new Set(found.map(({ name }) => name))];
    const newest = Math.max(...found.map(({ attempt }) => attempt));
    const lines = found.map((track) => ({ track, label: labelOf(kind.short(track.name), track.attempt, names.length > 1, attempts > 1), colour: names.indexOf(track.name), dash: newest - track.attempt }));
    return { name: `machine ${kind.name}`, title: kind.title, lines, unit: kind.unit, limit: limitOf(kind, limits), hint: hintOf(kind, found, limits), fill: names.length === 1 };
  });
  return [{ name: "machine", title: null, charts: charts.filter(({ lines }) => lines.length) }];
}

/** A name only where there are several, an attempt likewise. */
function labelOf(name, attempt, names, attempts) {
  const words = [names || !attempts ? name : "", attempts ? `attempt ${attempt}` : ""];
  return words.filter(Boolean).join(", ");
}

function limitOf({ name }, { cpus, memory }) {
  if (name === "cpu") return cpus || null;
  return name === "memory" ? memory || null : null;
}

/** The peak beside the limit, in words. */
function hintOf({ name, unit }, tracks, { cpus, memory }) {
  const peaks = tracks.map(({ summary }) => summary.max).filter((peak) => peak !== null && peak !== undefined);
  if (!peaks.length) return "";
  const peak = Math.max(...peaks);
  if (name === "memory") return memory ? `used ${ofLimit(peak, memory)}` : `used ${bytes(peak)}`;
  if (name === "cpu") return cpus ? `used up to ${round(peak)} of ${count(cpus, "CPU")}` : `used up to ${round(peak)} CPUs`;
  if (unit === "share") return `up to ${Math.round(peak * 100)} %`;
  return `up to ${bytes(peak)}${unit === "bytes/s" ? "/s" : ""}`;
}

const round = (value) => Math.round(value * 10) / 10;

/** "3.1 of 16 GiB": both in the unit of the limit, where the use is not too small for it. */
function ofLimit(used, limit) {
  const [name, size] = UNITS.find(([, unit]) => limit >= unit) ?? ["B", 1];
  const amount = used / size;
  return amount >= 0.1 || used === 0 ? `${round(amount)} of ${round(limit / size)} ${name}` : `${bytes(used)} of ${round(limit / size)} ${name}`;
}
