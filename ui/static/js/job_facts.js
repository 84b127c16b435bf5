// What is known of a job, in words: phases, facts, what was asked for, the timeline.
import { $, h } from "./dom.js";
import { textOf } from "./data_choice.js";
import { bytes, clock, count, duration, joinArguments, moment, now, reasonText } from "./format.js";

const ENDED = new Set(["succeeded", "failed", "cancelled"]);

/** The attempt that counts: the newest, or an older one that came back before the newest ran. */
export const currentOf = (job) => job.attempts.find(({ number }) => number === job.attempt);

/** [{phase, from, to}] over the whole life of the job; `to` is now for the one it is in. */
function phasesOf(job) {
  const marks = [];
  const begin = (phase, at) => { if (at) marks.push({ phase, at }); };
  for (const { fact, at } of job.timeline) {
    if (fact === "submitted") begin("waiting", at);
    else if (fact === "queued") begin("queued", at);
    else if (fact === "retrying") begin("retrying", at);
    else if (fact === "starting" || fact === "reinstated") begin("preparing", at);
    else if (fact === "running") begin("running", at);
  }
  if (!marks.length) begin("waiting", job.submitted_at);
  const newest = currentOf(job);
  if (newest?.started_at && !marks.some(({ phase, at }) => phase === "running" && at >= newest.granted_at)) begin("running", newest.started_at);
  marks.sort((a, b) => a.at - b.at);
  const end = ENDED.has(job.state) ? job.changed_at : now();
  return marks.map(({ phase, at }, index) => ({ phase, seconds: Math.max(0, (marks[index + 1]?.at ?? end) - at) }));
}

const WORDS = { waiting: "waiting", queued: "queued", preparing: "preparing", running: "running", retrying: "before the retry" };

export function showPhases(job) {
  const sums = new Map();
  for (const { phase, seconds } of phasesOf(job)) sums.set(phase, (sums.get(phase) ?? 0) + seconds);
  const total = [...sums.values()].reduce((a, b) => a + b, 0);
  $("phases").hidden = total === 0;
  $("phase-bar").replaceChildren(...[...sums].map(([phase, seconds]) => {
    const part = h("i", { "data-phase": phase });
    part.style.flexGrow = String(Math.max(2, (seconds / total) * 1000)); // a sum below 1 would leave the bar unfilled
    return part;
  }));
  const words = [...sums].map(([phase, seconds]) => [phase, `${WORDS[phase]} `, duration(seconds)]);
  $("phase-bar").setAttribute("aria-label", words.map(([, word, time]) => word + time).join(", "));
  const parts = words.map(([phase, word, time]) => h("li", { "data-phase": phase }, word, h("b", {}, time)));
  $("phase-legend").replaceChildren(...parts, h("li", { "data-phase": "" }, "in all ", h("b", {}, duration(total))));
}

/** The start of a digest; the whole of it as its title. */
function short(digest) {
  if (!digest) return null;
  const start = digest.startsWith("sha256:") ? 7 : 0;
  return digest.length > 40 ? h("span", { title: digest }, `${digest.slice(start, start + 16)}…`) : digest;
}

export function fill(element, facts) {
  element.replaceChildren(...facts.filter(([, value]) => value !== null && value !== undefined && value !== "").flatMap(([name, value, mono]) => [h("dt", {}, name), h("dd", { class: mono ? "mono" : null }, value)]));
}

export function showFacts(job, checkpoint) {
  const newest = currentOf(job);
  const environment = newest?.environment;
  const built = environment && `${environment.source === "python" ? "plain Python, nothing to build" : environment.source}${environment.cached ? ", cached" : ""}`;
  const peak = newest?.end?.peak_memory;
  fill($("facts"), [
    ["Worker", newest && `${newest.worker}${newest.runtime === "process" ? " (a process, no sandbox)" : newest.runtime ? ` (${newest.runtime})` : ""}`],
    ["Environment", built],
    ["Base", environment?.base, true],
    ["Image", short(environment?.image), true],
    ["Exit code", job.exit_code],
    ["Signal", newest?.end?.signal],
    ["Peak memory", peak ? `${bytes(peak)} of ${bytes(job.spec.resources.memory)}` : ""],
    ["Checkpoint", checkpoint && `${count(checkpoint.files, "file")}, ${bytes(checkpoint.size)}, of attempt ${checkpoint.attempt}, ${moment(checkpoint.at)}`],
    ["Submitted", `${moment(job.submitted_at)} by ${job.owner}`],
    ["Attempts", job.attempts.length > 1 ? job.attempts.map(({ number, worker, end }) => h("div", {}, `${number} on ${worker}${end ? `: ${reasonText(end.reason, end.exit_code, end.signal, end.detail)}` : ""}`)) : ""],
    ["Bundle", h("span", {}, short(job.bundle), job.bundle_size ? ` (${bytes(job.bundle_size)})` : ""), true],
  ]);
}

/** The lines that say why it failed, or why the attempt before did; given back with their attempt. */
export function showQuote(job) {
  const failed = ENDED.has(job.state) ? currentOf(job) : job.attempts.findLast(({ end }) => end);
  const quote = failed?.end?.quote;
  $("quote").hidden = !quote;
  if (!quote) return null;
  const text = quote.lines.join("\n");
  if ($("quote-lines").textContent !== text) $("quote-lines").textContent = text;
  $("quote-place").textContent = job.attempts.length > 1 ? `Show in the log of attempt ${failed.number}` : "Show in the log";
  return { ...quote, attempt: failed.number };
}

export function showAsked(job) {
  const { spec } = job;
  const { cpus, memory, gpus, shm, disk } = spec.resources;
  const retries = spec.retries === null ? "automatic: 3 for the machines' faults, none for the program's" : String(spec.retries);
  fill($("asked"), [
    ["Runs", joinArguments([spec.entry, ...spec.arguments]), true],
    ["Environment", Object.entries(spec.environment).map(([name, value]) => h("div", { class: "mono" }, `${name}=${value}`))],
    ["Secrets", (spec.secrets ?? []).map(({ name, variable, file }) => h("div", { class: "mono" }, file ?? variable ?? name, (file ?? variable ?? name) === name ? "" : ` (${name})`))],
    ["Data", (spec.data ?? []).map((mount) => h("div", {}, h("span", { class: "mono" }, `${textOf(mount)} at ${mount.path}`), mount.files ? ` (${bytes(mount.size)}, ${count(mount.files, "file")})` : ""))],
    ["Resources", `${count(cpus, "CPU")}, ${bytes(memory)} memory, ${gpus ? count(gpus, "GPU") : "no GPU"}, ${bytes(shm)} shared memory, ${bytes(disk)} disk`],
    ["Time limit", spec.timeout ? duration(spec.timeout) : "none"],
    ["Network", { none: "off", outbound: "internet only", full: "everything" }[spec.network]],
    ["Pool", spec.pool],
    ["Priority", spec.priority || ""],
    ["Retries", retries],
    ["Python", spec.python],
    ["Base image", spec.image, true],
    ["Secret of the image", spec.image_secret, true],
  ].filter(([, value]) => !Array.isArray(value) || value.length));
}

export function showHistory(job) {
  $("history").replaceChildren(...[...job.timeline].reverse().map(({ fact, at, attempt, text }) => h("li", {}, h("time", { datetime: new Date(at * 1000).toISOString(), title: moment(at) }, clock(at)), h("span", {}, `${fact}${attempt > 1 ? ` (attempt ${attempt})` : ""}`, text ? h("span", { class: "sub" }, text) : null))));
}
