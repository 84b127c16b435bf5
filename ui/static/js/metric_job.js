// What was measured of a job? Its series by attempt, kept current by a WebSocket.
import { ask } from "./api.js";
import { append } from "./metric_feed.js";
import { Socket } from "./socket.js";

const AGAIN = 5000; // milliseconds before what failed is loaded again

/**
 * `onTracks()` is told of series that came or went, `onPoints(tracks)` of new points, `onNews(error)`
 * of all else. A track is one series of one attempt.
 */
export class JobMetrics {
  constructor(job, { onTracks, onPoints, onNews }) {
    this.job = job;
    this.told = { onTracks, onPoints, onNews };
    this.attempts = new Map(); // number to {attempt, params, notes, …}
    this.tracks = new Map(); // id to track
    this.started = new Map(); // number to when its program was started, where the record says
    this.loaded = false;
    this.ended = false;
    this.timer = 0;
    this.socket = new Socket(() => `/api/v1/jobs/${job}/metrics/ws`, { onText: (message) => this.hear(message), onState: (state) => { if (state === "on" || !this.loaded) this.load(); } });
  }

  setStarted(attempts) {
    for (const { number, started_at: at, granted_at: granted } of attempts) this.started.set(number, at ?? granted);
  }

  async load() {
    clearTimeout(this.timer);
    try {
      const { attempts } = await ask(`/jobs/${this.job}/metrics`);
      this.loaded = true;
      for (const { series, ...attempt } of attempts) {
        this.attempts.set(attempt.attempt, attempt);
        for (const one of series) this.put(attempt.attempt, one);
      }
      this.told.onTracks();
      this.told.onNews(null);
    } catch (error) {
      if (error.problem?.code === "offline" || error.problem?.status >= 500) this.timer = setTimeout(() => this.load(), AGAIN);
      this.told.onNews(error);
    }
  }

  /** The track of a series, made where it is new; true where it was. */
  put(attempt, { key, name, source, unit, ...summary }) {
    const id = `${this.job} ${attempt} ${key}`;
    const known = this.tracks.get(id);
    if (known) { Object.assign(known.summary, summary); return false; }
    const { job } = this;
    this.tracks.set(id, {
      id, job, attempt, key, name, source, unit, summary, home: `${job} ${attempt}`, columns: null, fine: null, finer: "", asked: "", askedFine: "",
      origin: () => this.origin(attempt),
      address: (query) => `/jobs/${job}/metrics/points?attempt=${attempt}&${query}`,
    });
    return true;
  }

  /** From when relative times of an attempt count. */
  origin(attempt) {
    const told = this.started.get(attempt);
    if (told) return told;
    let first = Infinity;
    for (const track of this.tracks.values()) if (track.attempt === attempt) first = Math.min(first, track.summary.first_time ?? Infinity);
    return Number.isFinite(first) ? first : 0;
  }

  hear(message) {
    if (message.type === "points") this.take(message);
    else if (message.type === "reload") this.reload();
    else if (message.type === "end") { this.ended = true; this.socket.close(); this.load(); }
    else if (message.type === "params" || message.type === "notes") {
      const { type, attempt, ...news } = message;
      Object.assign(this.attemptOf(attempt), news);
      this.told.onNews(null);
    }
  }

  attemptOf(number) {
    if (!this.attempts.has(number)) this.attempts.set(number, { attempt: number, params: {}, notes: [] });
    return this.attempts.get(number);
  }

  take({ attempt, series }) {
    this.attemptOf(attempt);
    let fresh = false;
    const changed = [];
    for (const { first, steps, times, values, bad, ...summary } of series) {
      fresh = this.put(attempt, summary) || fresh;
      const track = this.tracks.get(`${this.job} ${attempt} ${summary.key}`);
      append(track, { first, count: summary.count, steps, times, values, bad });
      changed.push(track);
    }
    if (fresh) this.told.onTracks();
    this.told.onPoints(changed);
  }

  reload() {
    for (const track of this.tracks.values()) if (track.columns) track.columns.axis = "";
    this.load();
  }

  close() {
    clearTimeout(this.timer);
    this.socket.close();
  }
}
