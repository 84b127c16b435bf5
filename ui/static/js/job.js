// One job: what it is doing, why, and every line it prints.
import { $, toast } from "./dom.js";
import { ask, newKey } from "./api.js";
import { reasonText } from "./format.js";
import { currentOf, showAsked, showFacts, showHistory, showPhases, showQuote } from "./job_facts.js";
import { JobCharts } from "./job_charts.js";
import { bindKeys } from "./keys.js";
import { Log } from "./log.js";
import { tellNotes } from "./notes.js";
import { Outputs } from "./outputs.js";
import { mayRule, maySubmit } from "./session.js";
import { bindReproduce, showReproduce } from "./reproduce.js";
import { bindSharing } from "./sharing.js";

const id = $("job").dataset.job;
const ENDED = new Set(["succeeded", "failed", "cancelled"]);
const COLOURS = { waiting: "#868e96", queued: "#7950f2", starting: "#f08c00", running: "#1c7ed6", cancelling: "#f08c00", succeeded: "#2f9e44", failed: "#e03131", cancelled: "#868e96" };
const MARKS = { running: "▶", succeeded: "✓", failed: "✗", cancelled: "–", cancelling: "…", starting: "…", waiting: "…", queued: "…" };

let job = null;
let asking = false;
let checkpoint = null; // from what it would go on
let lookedAt = ""; // in which state and attempt that was asked last
let quote = null; // the lines that say why it failed

const outputs = new Outputs(id);
const charts = new JobCharts(id);
const log = new Log(id, (newest) => { job = newest; showJob(); });

// ---- the job ----

function showJob() {
  const name = job.spec.name || job.spec.entry;
  $("name").textContent = name;
  $("state").textContent = job.state;
  $("state").dataset.state = job.state;
  document.title = `${MARKS[job.state] ?? ""} ${job.state} · ${name} · Stoker`;
  $("favicon").href = `data:image/svg+xml,${encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><circle cx="16" cy="16" r="13" fill="${COLOURS[job.state] ?? "#868e96"}"/></svg>`)}`;
  showReason();
  quote = showQuote(job);
  showButtons();
  log.setJob(job);
  outputs.setJob(job);
  charts.setJob(job);
  showPhases(job);
  showFacts(job, checkpoint);
  showAsked(job);
  showReproduce(job);
  showHistory(job);
  explain();
  if (lookedAt !== `${job.state} ${job.attempt}`) lookAtCheckpoint();
}

/** From what it would go on; asked when it changes its state, and now and then while it runs. */
async function lookAtCheckpoint() {
  lookedAt = `${job.state} ${job.attempt}`;
  try {
    ({ checkpoint } = await ask(`/jobs/${id}/checkpoint`));
    showFacts(job, checkpoint);
    showButtons();
  } catch { /* asked again soon */ }
}

function showReason() {
  const newest = currentOf(job);
  const signal = newest?.end?.signal;
  let text = "";
  if (ENDED.has(job.state)) text = reasonText(job.reason, job.exit_code, signal, job.detail);
  else if (job.state === "cancelling") text = "Cancelling: the program was asked to stop, and is killed when its grace has passed.";
  else if (job.state === "running") text = `Running on ${newest?.worker}${job.attempt > 1 ? `, attempt ${job.attempt}` : ""}.`;
  else if (job.state === "starting") text = newest?.building_at ? `${newest.worker} is building its environment.` : `${newest?.worker} has taken it.`;
  if (job.state === "cancelled" && job.cancelled_by) text = `Cancelled by ${job.cancelled_by}.`;
  if ($("reason").textContent !== text) $("reason").textContent = text;
}

function showButtons() {
  const ended = ENDED.has(job.state);
  $("cancel").hidden = ended || !mayRule();
  if (job.state === "cancelling") { $("cancel").disabled = true; $("cancel").textContent = "Cancelling…"; $("cancel").classList.remove("sure"); }
  $("retry").hidden = !ended || !maySubmit();
  $("resume").hidden = !ended || !checkpoint || !maySubmit();
  $("clone").hidden = !maySubmit();
  $("clone").href = `/?from=${id}`;
}

/** Why it does not run yet, as long as it does not. */
async function explain() {
  const pending = job.state === "waiting" || job.state === "queued";
  if (!pending) { $("why").hidden = true; return; }
  if (asking || document.visibilityState === "hidden") return;
  asking = true;
  try {
    const { explanation } = await ask(`/jobs/${id}`);
    if (!explanation) return;
    const reasons = Object.entries(explanation.workers);
    $("why").replaceChildren(explanation.text, ...(reasons.length ? [listOf(reasons)] : []));
    $("why").hidden = !(job.state === "waiting" || job.state === "queued");
  } catch { /* asked again soon */ } finally {
    asking = false;
  }
}

function listOf(reasons) {
  const list = document.createElement("ul");
  for (const [worker, why] of reasons.slice(0, 20)) {
    const item = document.createElement("li");
    item.textContent = `${worker}: ${why}`;
    list.append(item);
  }
  return list;
}

// ---- the buttons ----

let sure = null;
async function cancel() {
  const button = $("cancel");
  if (!sure) {
    button.textContent = "Press again to cancel";
    button.classList.add("sure");
    sure = setTimeout(() => { sure = null; if (job.state !== "cancelling") { button.textContent = "Cancel"; button.classList.remove("sure"); } }, 4000);
    return;
  }
  clearTimeout(sure);
  sure = null;
  button.disabled = true;
  button.textContent = "Cancelling…";
  button.classList.remove("sure");
  try {
    await ask(`/jobs/${id}/cancel`, { method: "POST" });
  } catch (error) {
    toast(error.message, true);
    button.disabled = false;
    button.textContent = "Cancel";
  }
}

const retryKeys = { "": newKey(), "?resume=1": newKey() };
async function retry(button, query = "") {
  button.disabled = true;
  try {
    const answer = await ask(`/jobs/${id}/retry${query}`, { method: "POST", key: retryKeys[query] });
    location.href = `/jobs/${answer.job.id}`;
  } catch (error) {
    toast(error.message, true);
    retryKeys[query] = newKey();
    button.disabled = false;
  }
}

$("cancel").addEventListener("click", cancel);
$("retry").addEventListener("click", () => retry($("retry")));
$("resume").addEventListener("click", () => retry($("resume"), "?resume=1"));
$("quote-place").addEventListener("click", (event) => { event.preventDefault(); if (quote) log.showQuote(quote); });
$("id").addEventListener("click", () => navigator.clipboard?.writeText(id).then(() => toast("Copied.")));
bindKeys(log.keys);
bindReproduce();
bindSharing(id);
tellNotes(id);
setInterval(() => { if (job?.state === "running" && document.visibilityState !== "hidden") lookAtCheckpoint(); }, 15_000);
setInterval(() => { if (job && !ENDED.has(job.state)) { showPhases(job); explain(); } }, 2000);
$("log").log = log; // for extensions and tests: its panes and their rows

function missing(problem) {
  $("state").textContent = "not there";
  $("reason").textContent = problem.message;
  log.first.setState("gone");
}

ask(`/jobs/${id}`).then((answer) => { job = answer.job; showJob(); log.start(); }).catch((error) => {
  if (error.problem?.code === "unknown_job") { missing(error); return; }
  toast(error.message, true);
  log.start();
});
