// What did the job write? A tree of its files, kept up to date, and one of them shown.
import { $, h, say } from "./dom.js";
import { ask } from "./api.js";
import { ago, bytes, count } from "./format.js";
import { Tree } from "./output_tree.js";
import { preview } from "./output_preview.js";

const ENDED = new Set(["succeeded", "failed", "cancelled"]);
const MOST = 5000; // files in the tree; the rest comes by the zip or the command
const SOON = 4000; // milliseconds between two looks while something can change
const LATER = 60000; // and while nothing was written yet

/** The section of one job. `setJob` tells it what is known of the job now. */
export class Outputs {
  constructor(id) {
    this.id = id;
    this.job = null;
    this.list = null;
    this.chosen = ""; // an attempt's number; empty for the newest
    this.path = null;
    this.timer = 0;
    this.looking = null;
    this.tree = new Tree($("output-tree"), (file) => this.show(file));
    $("output-attempt").addEventListener("change", () => { this.chosen = $("output-attempt").value; this.path = null; this.look(); });
    document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible") this.plan(0); });
  }

  setJob(job) {
    const before = this.job;
    this.job = job;
    if (!before || before.state !== job.state || before.attempt !== job.attempt) this.plan(0);
  }

  get settled() {
    return ENDED.has(this.job?.state) && (this.list?.final || !this.expected);
  }

  /** Whether the end says that something was written, stored or not. */
  get expected() {
    const { attempts, attempt } = this.job;
    return Boolean(attempts.find(({ number }) => number === attempt)?.end?.outputs) || Boolean(this.list?.attempts.length);
  }

  plan(delay) {
    clearTimeout(this.timer);
    if (document.visibilityState === "hidden") return;
    this.timer = setTimeout(() => this.look(), delay);
  }

  async look() {
    this.looking?.abort();
    this.looking = new AbortController();
    const { signal } = this.looking;
    try {
      const attempt = this.chosen ? `&attempt=${this.chosen}` : "";
      const list = await ask(`/jobs/${this.id}/outputs?limit=${MOST}${attempt}`, { signal });
      if (signal.aborted) return;
      this.list = list;
      this.draw();
    } catch { /* looked for again soon */ }
    if (!signal.aborted && this.job && !this.settled) this.plan(this.list?.count || ENDED.has(this.job.state) ? SOON : Math.min(LATER, SOON * 2));
  }

  draw() {
    const { list } = this;
    $("outputs").hidden = !(list.attempts.length || this.expected);
    if ($("outputs").hidden) return;
    say($("output-facts"), facts(list, this.job));
    if (list.sending_files && this.job.state === "running") $("reason").textContent = `Its program is over: ${count(list.sending_files, "file")} of outputs, ${bytes(list.sending_size)}, are on the way.`;
    this.drawAttempts();
    say($("output-over"), list.over);
    $("output-all").hidden = !list.count;
    $("output-all").href = `/api/v1/jobs/${this.id}/outputs.zip?attempt=${list.attempt}`;
    $("output-body").hidden = !list.count;
    this.tree.show(list.files);
    say($("output-more"), list.more ? `${count(list.count - list.files.length, "more file")}: the zip and stoker outputs have them all.` : "");
    this.drawNotes();
    const file = list.files.find(({ path }) => path === this.path) ?? (this.path === null ? first(list.files) : null);
    if (file && file.sha256 !== this.shown?.sha256) this.show(file, this.path === null);
  }

  drawAttempts() {
    const select = $("output-attempt");
    const names = this.list.attempts.map(String);
    select.hidden = names.length < 2;
    if (names.join() !== [...select.options].map(({ value }) => value).join()) {
      select.replaceChildren(...names.map((name) => h("option", { value: name }, `Attempt ${name}`)));
    }
    select.value = String(this.list.attempt);
  }

  drawNotes() {
    const { notes, left_out: total } = this.list;
    $("output-notes").hidden = !total;
    $("output-notes-title").textContent = `${count(total, "thing")} left out`;
    const rows = notes.map(({ path, why }) => h("li", {}, h("code", {}, path), ` ${why}`));
    if (total > notes.length) rows.push(h("li", {}, `and ${total - notes.length} more`));
    $("output-notes-list").replaceChildren(...rows);
  }

  show(file, byItself = false) {
    if (!byItself) this.path = file.path;
    this.shown = file;
    this.tree.mark(file.path);
    preview($("output-preview"), this.address(file), file);
  }

  address(file) {
    const path = file.path.split("/").map(encodeURIComponent).join("/");
    return `/api/v1/jobs/${this.id}/outputs/${path}?attempt=${this.list.attempt}`;
  }
}

/** What is shown before anything was chosen: a picture if there is one. */
function first(files) {
  const at = (kind) => files.find((file) => file.kind === kind && file.size);
  return at("image") ?? at("table") ?? at("json") ?? at("text") ?? files[0] ?? null;
}

function facts(list, job) {
  const words = list.count ? [count(list.count, "file"), bytes(list.size)] : [];
  if (list.attempt !== job.attempt) words.unshift(`attempt ${list.attempt}`);
  if (list.sending_files && !ENDED.has(job.state)) words.push(`${count(list.sending_files, "file")} of ${bytes(list.sending_size)} on the way`);
  else if (!list.final && ENDED.has(job.state)) words.push(list.count ? "as far as it was sent" : "not sent yet: the worker goes on trying");
  else if (!list.final) words.push(list.at ? `as of ${ago(list.at)}` : "nothing yet");
  return words.join(" · ");
}
