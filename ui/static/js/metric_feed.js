// Where do the points of a line come from? Asked for in bundles, kept bounded, and continued live.
import { ask } from "./api.js";
import { reduced } from "./chart_math.js";

const POINTS = 1000; // of a line, for one view of it
const FEWEST = 250; // of a line among many
const TOGETHER = 10000; // of all lines of a chart: what can be drawn anew in one frame
const GROWN = 2; // times as many points as a line was asked for, before those that came live are thinned out
const HELD = 60; // messages that wait for the answer that they continue
const NAMES = 50; // series in one request
const ADDRESS = 5000; // characters of their names in it
const AT_ONCE = 3; // requests
const SOON = 30; // milliseconds in which wishes are collected
const PAUSES = [1000, 2000, 5000, 15000]; // milliseconds before a failed request is repeated
const WORDS = { NaN: Number.NaN, Infinity: Number.POSITIVE_INFINITY, "-Infinity": Number.NEGATIVE_INFINITY };

/** Columns of an answer: JSON knows no NaN and no infinity, so those stand in a list beside the values. */
export function columnsOf({ steps, times, values, bad, count }) {
  for (const [at, word] of bad) values[at] = WORDS[word];
  return { steps, times, values, count };
}

/**
 * Gets the points of tracks. A track tells its `address(query)`; it gets `columns`, all of it reduced,
 * and `fine`, the part that was zoomed into. `onPoints(tracks)` is told which have new ones.
 */
export class Feed {
  constructor(onPoints) {
    this.onPoints = onPoints;
    this.wishes = new Map();
    this.busy = 0;
    this.failed = 0;
    this.timer = 0;
  }

  /** Wishes what is missing of the tracks of one chart for this view of them. */
  want(tracks, { axis, zoom }) {
    const points = Math.max(FEWEST, Math.min(POINTS, Math.floor(TOGETHER / tracks.length)));
    for (const track of tracks) {
      track.points = points;
      if (track.columns?.axis !== axisOf(axis) || track.columns.points < points) this.wish(track, { axis: axisOf(axis), zoom: "" });
      if (zoom && track.finer !== zoomKey({ axis, zoom })) this.wish(track, { ...partOf(track, axis, zoom), zoom: zoomKey({ axis, zoom }) });
    }
  }

  wish(track, view) {
    if (track[slot(view)] === view.zoom + view.axis) return;
    this.wishes.set(`${view.zoom} ${track.id}`, { track, view });
    if (!this.timer) this.plan(SOON);
  }

  /** What was zoomed into before is wanted no more. */
  forgetZoom() {
    for (const key of [...this.wishes.keys()]) if (!key.startsWith(" ")) this.wishes.delete(key);
  }

  plan(delay) {
    clearTimeout(this.timer);
    this.timer = this.wishes.size ? setTimeout(() => { this.timer = 0; this.send(); }, delay) : 0;
  }

  send() {
    while (this.busy < AT_ONCE && this.wishes.size) this.request(this.take());
  }

  /** Wishes that one request can grant. */
  take() {
    const [first] = this.wishes.values();
    const same = ({ track, view }) => track.points === first.track.points && track.home === first.track.home && view.zoom === first.view.zoom && view.axis === first.view.axis && view.from === first.view.from;
    const taken = [];
    let characters = 0;
    for (const [key, wish] of this.wishes) {
      if (!same(wish)) continue;
      characters += encodeURIComponent(wish.track.key).length + 8;
      if (taken.length && (taken.length === NAMES || characters > ADDRESS)) break;
      taken.push(wish);
      this.wishes.delete(key);
    }
    return taken;
  }

  async request(wishes) {
    this.busy += 1;
    for (const { track, view } of wishes) track[slot(view)] = view.zoom + view.axis;
    try {
      const { series } = await ask(addressOf(wishes));
      this.failed = 0;
      const found = new Map(series.map((one) => [one.key, one]));
      for (const { track, view } of wishes) take(track, view, found.get(track.key));
      this.onPoints(wishes.map(({ track }) => track));
    } catch (error) {
      this.failed += 1;
      const passing = error.problem?.code === "offline" || error.problem?.status >= 500;
      for (const { track, view } of wishes) {
        track[slot(view)] = "";
        if (passing) this.wishes.set(`${view.zoom} ${track.id}`, { track, view });
      }
    } finally {
      this.busy -= 1;
      this.plan(this.failed ? PAUSES[Math.min(this.failed, PAUSES.length) - 1] : 0);
    }
  }
}

/** Where a track notes which points are on their way. */
const slot = ({ zoom }) => (zoom ? "askedFine" : "asked");
const axisOf = (axis) => (axis === "step" ? "step" : "time");
const zoomKey = ({ axis, zoom }) => (zoom ? `${axis} ${zoom.min} ${zoom.max}` : "");

/** The part of a zoomed axis that a track is asked for: relative times count from its own begin. */
function partOf(track, axis, { min, max }) {
  if (axis === "step") return { axis, from: Math.floor(min), to: Math.ceil(max) };
  const origin = axis === "time" ? 0 : track.origin();
  return { axis: "time", from: min + origin, to: max + origin };
}

function addressOf(wishes) {
  const [{ track, view }] = wishes;
  const query = new URLSearchParams([["points", track.points], ["axis", view.axis]]);
  if (view.zoom) { query.set("from", view.from); query.set("to", view.to); }
  for (const wish of wishes) query.append("series", wish.track.key);
  return track.address(query);
}

function take(track, view, series) {
  const columns = series ? columnsOf(series) : { steps: [], times: [], values: [], count: 0 };
  track[slot(view)] = "";
  if (view.zoom) { track.fine = columns; track.finer = view.zoom; return; }
  track.columns = { ...columns, axis: view.axis, points: columns.values.length < columns.count ? track.points : POINTS };
  for (const late of track.held ?? []) append(track, late);
  track.held = null;
}

/** Points that came live, behind the first `first`; `count` there are with them. */
export function append(track, { first, count, ...message }) {
  const known = track.columns;
  if (track.asked) track.held = [...(track.held ?? []), { first, count, ...message }].slice(-HELD);
  if (!known || count <= known.count) return;
  if (first !== known.count) { known.axis = ""; return; } // some are missing: asked for anew
  const { steps, times, values } = columnsOf(message);
  for (let at = 0; at < times.length; at += 1) {
    known.steps.push(steps[at]);
    known.times.push(times[at]);
    known.values.push(values[at]);
  }
  known.count = count;
  const most = GROWN * track.points;
  if (known.values.length > most) Object.assign(known, reduced(known, track.points));
  if (known.values.length > most) known.axis = ""; // its times go to and fro
}
