// How do samples become lines? Arrays in, arrays out: nothing here knows of a page.

const SPLITS = new Set(["train", "training", "val", "valid", "validation", "eval", "evaluation", "test", "dev"]);
const SHARE_OF_AXIS = 1000; // smoothing forgets by thousandths of the axis, as Weights & Biases' does

/** What a metric measures, whatever data it was measured on: of `train/loss` and `val_loss` it is `loss`. */
export function kindOf(name) {
  const parts = name.split(/([/._\s-]+)/);
  const at = parts.findIndex((part, index) => index % 2 === 0 && SPLITS.has(part.toLowerCase()));
  if (at < 0 || parts.length < 3) return name;
  parts.splice(at === 0 ? 0 : at - 1, 2);
  return parts.join("") || name;
}

/** The group of a name: what stands before its first slash, or else before its first dot. */
function prefixOf(name) {
  const slash = name.indexOf("/");
  const at = slash > 0 ? slash : name.indexOf(".");
  return at > 0 && at < name.length - 1 ? name.slice(0, at) : "";
}

export const byName = (a, b) => a.localeCompare(b, "en", { numeric: true });

/** [{name, charts: [{name, tracks}]}], each sorted; `by` is "kind", "series" or "group". */
export function grouped(tracks, by) {
  const groups = new Map();
  for (const track of tracks) {
    const kind = by === "kind" ? kindOf(track.name) : track.name;
    const prefix = prefixOf(kind);
    const charts = groups.get(prefix) ?? groups.set(prefix, new Map()).get(prefix);
    const chart = by === "group" && prefix ? prefix : kind;
    if (charts.has(chart)) charts.get(chart).push(track);
    else charts.set(chart, [track]);
  }
  const sorted = (map) => [...map].sort(([a], [b]) => byName(a, b));
  return sorted(groups).map(([name, charts]) => ({ name, charts: sorted(charts).map(([chart, of]) => ({ name: chart, tracks: of })) }));
}

/** Which names a filter lets through: words that must all be there, or a pattern between slashes. */
export function filterOf(text) {
  const pattern = /^\/(.+)\/$/.exec(text.trim());
  if (pattern) {
    try { const found = new RegExp(pattern[1], "i"); return (name) => found.test(name); } catch { /* words, then */ }
  }
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return (name) => words.every((word) => name.toLowerCase().includes(word));
}

/** {xs, ys} of columns on an axis, ascending; `origin` is the time that relative times count from. */
export function placed({ steps, times, values }, axis, origin) {
  const xs = axis === "step" ? steps : axis === "time" ? times : times.map((time) => time - origin);
  for (let at = 1; at < xs.length; at += 1) {
    if (xs[at] < xs[at - 1]) {
      const order = xs.map((_, index) => index).sort((a, b) => xs[a] - xs[b] || a - b);
      return { xs: order.map((index) => xs[index]), ys: order.map((index) => values[index]) };
    }
  }
  return { xs, ys: values };
}

/** Whether a column goes back somewhere: times do in points that are sorted by steps that went back. */
export function goesBack(column) {
  for (let at = 1; at < column.length; at += 1) if (column[at] < column[at - 1]) return true;
  return false;
}

/** A line with finer points in the middle of its coarse ones. */
export function spliced(coarse, fine) {
  if (!fine || !fine.xs.length) return coarse;
  const first = fine.xs[0];
  const last = fine.xs[fine.xs.length - 1];
  const before = lowerBound(coarse.xs, first);
  const after = upperBound(coarse.xs, last);
  const join = (a, b, c) => [...a.slice(0, before), ...b, ...c.slice(after)];
  return { xs: join(coarse.xs, fine.xs, coarse.xs), ys: join(coarse.ys, fine.ys, coarse.ys) };
}

function lowerBound(xs, x) {
  let low = 0;
  let high = xs.length;
  while (low < high) { const middle = (low + high) >> 1; if (xs[middle] < x) low = middle + 1; else high = middle; }
  return low;
}

function upperBound(xs, x) {
  let low = 0;
  let high = xs.length;
  while (low < high) { const middle = (low + high) >> 1; if (xs[middle] <= x) low = middle + 1; else high = middle; }
  return low;
}

/**
 * An exponential moving average that forgets by distance on the axis rather than by point, without the
 * bias of its begin. `span` is the length of the axis: zooming in does not change the curve.
 */
export function smoothed({ xs, ys }, weight, span) {
  const base = Math.min(Math.sqrt(weight), 0.999);
  let sum = 0;
  let mass = 0;
  let before = null;
  return ys.map((y, at) => {
    if (!Number.isFinite(y)) return y;
    const gone = before === null || span <= 0 ? 1 : ((xs[at] - before) / span) * SHARE_OF_AXIS;
    const kept = base ** gone;
    before = xs[at];
    sum = sum * kept + y;
    mass = mass * kept + 1;
    return sum / mass;
  });
}

/** What can be drawn: null, a gap, where there is no number, or none that a logarithm knows. */
export const drawable = (ys, log) => ys.map((y) => (Number.isFinite(y) && (!log || y > 0) ? y : null));

/**
 * Lines with places of their own on one axis: [xs, ys, ys, …], undefined where a line has no point.
 * A place stands as often as a line has points there: what was printed at once has one time.
 */
export function aligned(lines) {
  const all = new Float64Array(lines.reduce((sum, { xs }) => sum + xs.length, 0));
  const often = new Map(); // place to how many points a line has there, where it is not one
  let total = 0;
  for (const { xs } of lines) {
    for (let at = 0, same = 1; at < xs.length; at += 1) {
      same = at > 0 && xs[at] === xs[at - 1] ? same + 1 : 1;
      if (same === 1) all[total++] = xs[at];
      else if (same > (often.get(xs[at]) ?? 1)) often.set(xs[at], same);
    }
  }
  const sorted = all.subarray(0, total).sort();
  const places = [];
  for (let at = 0; at < total; at += 1) {
    const x = sorted[at];
    if (at > 0 && x === sorted[at - 1]) continue;
    for (let left = often.get(x) ?? 1; left > 0; left -= 1) places.push(x);
  }
  return [places, ...lines.map((line) => onPlaces(line, places))];
}

function onPlaces({ xs, ys }, places) {
  const found = new Array(places.length).fill(undefined);
  let at = -1;
  for (let index = 0; index < xs.length; index += 1) {
    at += 1; // its next point stands behind its last one, though it be at the same place
    while (places[at] < xs[index]) at += 1;
    found[at] = ys[index];
  }
  return found;
}

/** The same columns with at most about `most` points: of each part of the time the lowest and the highest. */
export function reduced({ steps, times, values }, most) {
  if (values.length <= most) return { steps, times, values };
  const parts = Math.max(1, Math.floor(most / 2));
  const first = times[0];
  const width = (times[times.length - 1] - first) / parts || 1;
  const keep = [];
  let part = -1;
  let low = 0;
  let high = 0;
  const close = () => { if (part >= 0) keep.push(...(low === high ? [low] : low < high ? [low, high] : [high, low])); };
  for (let at = 0; at < values.length; at += 1) {
    const now = Math.floor((times[at] - first) / width);
    if (now !== part) { close(); part = now; low = at; high = at; continue; }
    if (!(values[at] >= values[low])) low = at; // what is no number counts as both
    if (!(values[at] <= values[high])) high = at;
  }
  close();
  const pick = (column) => keep.map((at) => column[at]);
  return { steps: pick(steps), times: pick(times), values: pick(values) };
}
