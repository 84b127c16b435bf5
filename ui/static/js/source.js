// Where do the rows of one job's log come from? A socket for what is new, questions for what is looked at.

import { ask, askBytes } from "./api.js";
import { readFrame } from "./frames.js";
import { Socket } from "./socket.js";

const WINDOW = 2 * 1024 * 1024; // bytes on their way
const TOLD_EVERY = WINDOW / 16;

export class LogSource {
  /** `on` has a function for each kind of message, and `rows` and `state`. */
  constructor(job, on) {
    this.job = job;
    this.on = on;
    this.pinned = 0; // the attempt that was chosen; 0 for the newest
    this.attempt = 0; // the attempt that is shown
    this.rank = 0;
  }

  connect(pinned) {
    this.close();
    this.pinned = pinned;
    this.over = false;
    this.socket = new Socket(() => this.address(), {
      onText: (message) => this.onText(message),
      onBytes: (buffer) => this.onBytes(buffer),
      onState: (state) => this.on.state(state),
    });
  }

  close() {
    this.socket?.close();
    this.socket = null;
  }

  address() {
    this.seen = 0;
    this.told = 0;
    const query = new URLSearchParams({ rank: this.rank, window: WINDOW });
    if (this.pinned) query.set("attempt", this.pinned);
    return `/api/v1/jobs/${this.job}/log/rows/ws?${query}`;
  }

  onBytes(buffer) {
    this.on.rows(readFrame(buffer));
    this.seen += buffer.byteLength;
    if (this.seen - this.told < TOLD_EVERY) return;
    this.told = this.seen;
    this.socket?.send({ seen: this.seen });
  }

  onText(message) {
    if (message.type === "attempt") this.attempt = message.number;
    if (message.type === "end") { this.over = true; this.close(); }
    this.on[message.type]?.(message);
  }

  query(values) {
    const query = new URLSearchParams({ rank: this.rank });
    if (this.attempt) query.set("attempt", this.attempt);
    for (const [name, value] of Object.entries(values)) if (value !== "") query.set(name, value);
    return query;
  }

  /** A frame: `values` are first and count, or tail, or offset, with q, case and stream. */
  async rows(values, signal) {
    return readFrame(await askBytes(`/jobs/${this.job}/log/rows?${this.query(values)}`, signal));
  }

  search(values, signal) {
    return ask(`/jobs/${this.job}/log/search?${this.query(values)}`, { signal });
  }
}
