// One job: what it is doing, why, and every line it prints.
import { $, say, toast } from "./dom.js";
import { ask, newKey } from "./api.js";
import { bytes, reasonText } from "./format.js";
import { currentOf, showAsked, showFacts, showHistory, showPhases, showQuote } from "./job_facts.js";
import { bindKeys } from "./keys.js";
import { Socket } from "./socket.js";
import { LogTerminal } from "./terminal.js";

const id = $("job").dataset.job;
const WINDOW = 2 * 1024 * 1024; // bytes on their way that the terminal has not drawn yet
const ENDED = new Set(["succeeded", "failed", "cancelled"]);
const COLOURS = { waiting: "#868e96", queued: "#7950f2", starting: "#f08c00", running: "#1c7ed6", cancelling: "#f08c00", succeeded: "#2f9e44", failed: "#e03131", cancelled: "#868e96" };
const MARKS = { running: "▶", succeeded: "✓", failed: "✗", cancelled: "–", cancelling: "…", starting: "…", waiting: "…", queued: "…" };

let job = null;
let socket = null;
let pinned = 0; // the attempt that was chosen; 0 for the newest
let cursor = null; // {attempt, rank, offset}: what the terminal has
const places = new Map(); // attempt → the cursor that its log has reached
let seen = 0;
let shown = 0; // the attempt that is in the terminal
let over = false;
let asking = false;
let quote = null; // the lines that say why it failed
let wanted = null; // a quote to be shown as soon as its attempt's log is there

const terminal = new LogTerminal($("terminal"), {
  onFollow: (following) => { $("jump").hidden = following; },
  onHits: (index, hits, more) => {
    const place = index < 0 ? "" : `${(index + 1).toLocaleString("en")} of `;
    $("hits").textContent = $("find").value ? (hits ? `${place}${hits.toLocaleString("en")}${more ? "+" : ""}` : "no hit") : "";
  },
});

// ---- the log ----

function connect() {
  socket?.close();
  over = false;
  socket = new Socket(address, { onText, onBytes, onState: (state) => { seen = 0; live(state); } });
}

function address() {
  seen = 0;
  const query = new URLSearchParams({ window: WINDOW });
  if (pinned) query.set("attempt", pinned);
  for (const [attempt, place] of places) if (attempt !== cursor?.attempt) query.append("after", place);
  if (cursor) query.append("after", `${cursor.attempt}.${cursor.rank}.${cursor.offset}`);
  return `/api/v1/jobs/${id}/log/ws?${query}`;
}

function onBytes(frame) {
  const mine = socket;
  const { header, size } = terminal.write(frame, () => {
    tellSeen(mine, frame.byteLength);
    if (wanted && shown === wanted.attempt && cursor.offset >= wanted.end) showPlace(wanted);
  });
  reached({ attempt: header.attempt, rank: header.rank, offset: header.offset + size });
  say($("terminal-empty"), "");
}

function reached(place) {
  cursor = place;
  places.set(place.attempt, `${place.attempt}.${place.rank}.${place.offset}`);
}

function tellSeen(mine, size) {
  if (mine !== socket) return;
  seen += size;
  mine.send({ seen });
}

function onText(frame, size) {
  if (frame.type === "job") { job = frame.job; showJob(); }
  if (frame.type === "attempt") beginAttempt(frame);
  if (frame.type === "gap") {
    const mine = socket;
    terminal.say(`${bytes(frame.length)} of the log ${frame.why ? `were ${frame.why}` : "are missing here"}`, () => tellSeen(mine, size));
    reached({ attempt: frame.attempt, rank: frame.rank, offset: frame.offset + frame.length });
  }
  if (frame.type === "error") toast(frame.problem.detail || frame.problem.title, true);
  if (frame.type === "end") { over = true; live("over"); socket.close(); showEmpty(); }
}

/** Scrolls to the lines that are quoted, at once or as soon as their attempt's log is there. */
function showPlace(place) {
  const there = Number(places.get(place.attempt)?.split(".")[2] ?? 0) >= place.end;
  wanted = there && terminal.showQuote(place) ? null : place;
  if (wanted && shown !== place.attempt) choose(place.attempt);
  $("log").scrollIntoView({ block: "nearest" });
}

function beginAttempt({ number, attempt }) {
  if (number !== shown) {
    if (shown) terminal.say(`attempt ${number}${attempt ? ` on ${attempt.worker}` : ""}`);
    shown = number;
    cursor = { attempt: number, rank: 0, offset: Number(places.get(number)?.split(".")[2] ?? 0) };
  }
  showAttempts();
}

function live(state) {
  const ended = job && ENDED.has(job.state);
  const words = { on: ended ? "loading" : "live", away: "connecting again…", over: "complete", wait: "connecting" };
  $("live").dataset.live = state;
  $("live").lastElementChild.textContent = words[state];
}

function choose(number) {
  pinned = number === job.attempt && !ENDED.has(job.state) ? 0 : number;
  shown = 0;
  cursor = { attempt: number, rank: 0, offset: 0 };
  places.clear();
  terminal.reset();
  connect();
  showAttempts();
}

function showEmpty() {
  const words = { waiting: "Waiting for its turn. The log begins here.", queued: "Queued. The log begins here.", starting: "A worker has taken it. The log begins here.", running: "Nothing printed yet." };
  const nothing = !cursor || cursor.offset === 0;
  say($("terminal-empty"), nothing ? (words[job?.state] ?? (over ? "It printed nothing." : "")) : "");
}

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
  showAttempts();
  showPhases(job);
  showFacts(job);
  showAsked(job);
  showHistory(job);
  showEmpty();
  if (socket && !over && $("live").dataset.live === "on") live("on");
  explain();
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
  $("cancel").hidden = ended;
  if (job.state === "cancelling") { $("cancel").disabled = true; $("cancel").textContent = "Cancelling…"; $("cancel").classList.remove("sure"); }
  $("retry").hidden = !ended;
  $("clone").hidden = false;
  $("clone").href = `/?from=${id}`;
  const query = `attempt=${shown || job.attempt}`;
  $("raw").href = `/api/v1/jobs/${id}/log?${query}`;
  $("download").href = `/api/v1/jobs/${id}/log?${query}&download=1`;
}

function showAttempts() {
  if (!job) return;
  $("attempts").hidden = job.attempts.length < 2;
  const buttons = job.attempts.map(({ number, end }) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.textContent = `Attempt ${number}`;
    button.title = end ? reasonText(end.reason, end.exit_code, end.signal, end.detail) : "";
    button.setAttribute("aria-pressed", String(number === (shown || job.attempt)));
    button.addEventListener("click", () => choose(number));
    return button;
  });
  $("attempts").replaceChildren(...buttons);
  showButtons();
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

let retryKey = newKey();
async function retry() {
  $("retry").disabled = true;
  try {
    const answer = await ask(`/jobs/${id}/retry`, { method: "POST", key: retryKey });
    location.href = `/jobs/${answer.job.id}`;
  } catch (error) {
    toast(error.message, true);
    retryKey = newKey();
    $("retry").disabled = false;
  }
}

function setWrap(wrap) {
  $("wrap").setAttribute("aria-pressed", String(wrap));
  terminal.setWrap(wrap);
}

function setFull(full) {
  $("full").setAttribute("aria-pressed", String(full));
  $("log").classList.toggle("full", full);
}

const pressed = (name) => $(name).getAttribute("aria-pressed") === "true";
$("cancel").addEventListener("click", cancel);
$("retry").addEventListener("click", retry);
$("jump").addEventListener("click", () => terminal.end());
$("quote-place").addEventListener("click", (event) => { event.preventDefault(); if (quote) showPlace(quote); });
$("wrap").addEventListener("click", () => setWrap(!pressed("wrap")));
$("full").addEventListener("click", () => setFull(!pressed("full")));
$("id").addEventListener("click", () => navigator.clipboard?.writeText(id).then(() => toast("Copied.")));
let typing = null;
$("find").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => terminal.find($("find").value, false, true), 120); });
$("find").addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); terminal.find($("find").value, event.shiftKey); } });
$("find-next").addEventListener("click", () => terminal.find($("find").value));
$("find-previous").addEventListener("click", () => terminal.find($("find").value, true));
bindKeys({
  "/": () => $("find").focus(), n: () => terminal.find($("find").value), N: () => terminal.find($("find").value, true),
  g: () => terminal.end(), t: () => terminal.top(), w: () => setWrap(!pressed("wrap")), f: () => setFull(!pressed("full")),
  Escape: () => setFull(false),
});
setInterval(() => { if (job && !ENDED.has(job.state)) { showPhases(job); explain(); } }, 2000);
$("log").terminal = terminal.terminal; // for extensions and tests: the whole buffer

const missing = (problem) => { $("state").textContent = "not there"; $("reason").textContent = problem.message; live("away"); $("live").lastElementChild.textContent = "nothing to show"; };
ask(`/jobs/${id}`).then((answer) => { job = answer.job; showJob(); connect(); }).catch((error) => { if (error.problem?.code === "unknown_job") missing(error); else { toast(error.message, true); connect(); } });
