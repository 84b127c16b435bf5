// Several jobs over one another: what differs between them, and their curves.
import { $, chip, h, say } from "./dom.js";
import { ask } from "./api.js";
import { ChartBar } from "./chart_bar.js";
import { Board } from "./chart_board.js";
import { linesOfJobs } from "./chart_lines.js";
import { filterOf } from "./chart_math.js";
import { number } from "./chart_words.js";
import { bytes, duration, joinArguments, moment, now } from "./format.js";
import { bindKeys } from "./keys.js";
import { JobMetrics } from "./metric_job.js";

const MOST = 10; // jobs: as many as there are colours
const FINALS = 40; // metrics in the table
const asked = [...new Set(new URLSearchParams(location.search).getAll("job"))];
const jobs = new Map(); // id to {label, colour, record, metrics, off}
const bar = new ChartBar((what) => { if (what === "plan") plan(); else board.redraw(); });
const board = new Board($("chart-groups"), { view: () => bar.view, onZoom: (zoom) => bar.set({ zoom }, "zoom"), onTrouble: (error) => say($("charts-error"), error.message), onPlace: (text) => { $("chart-place").textContent = text; } });

async function add(id, colour) {
  try {
    const { job: record } = await ask(`/jobs/${encodeURIComponent(id)}`);
    const metrics = new JobMetrics(id, { onTracks: plan, onPoints: (tracks) => { board.changed(tracks); tableSoon(); }, onNews: tableSoon });
    metrics.setStarted(record.attempts);
    jobs.set(id, { id, colour, record, metrics, off: false, label: record.spec.name || record.spec.entry });
  } catch (error) {
    say($("compare-error"), [$("compare-error").textContent, `${id}: ${error.message}`].filter(Boolean).join(" "));
  }
}

/** Jobs of one name are told apart by the end of their ids. */
function nameAll() {
  const names = [...jobs.values()].map(({ record }) => record.spec.name || record.spec.entry);
  for (const job of jobs.values()) {
    const name = job.record.spec.name || job.record.spec.entry;
    job.label = names.filter((other) => other === name).length > 1 ? `${name} ${job.id.split("-").pop()}` : name;
  }
}

/** The tracks of the newest attempt of each job that told anything; the program's, not the machine's. */
function newestTracks({ metrics }) {
  const told = [...metrics.tracks.values()].filter(({ source }) => source !== "machine");
  const newest = told.reduce((most, { attempt }) => Math.max(most, attempt), 0);
  return told.filter(({ attempt }) => attempt === newest);
}

function plan() {
  const found = filterOf(bar.filter);
  const shown = [...jobs.values()].filter(({ off }) => !off).flatMap(newestTracks);
  board.show(linesOfJobs(shown.filter(({ name }) => found(name)), bar.view.by, jobs));
  const any = [...jobs.values()].some((job) => newestTracks(job).length);
  const loaded = [...jobs.values()].every(({ metrics }) => metrics.loaded);
  $("charts").hidden = !any && !loaded;
  $("charts-bar").hidden = !any;
  say($("charts-none"), !any && loaded ? "None of these jobs told any numbers." : any && !board.size ? "No metric has such a name." : "");
  tableSoon();
}

let timer = 0;
function tableSoon() { timer ||= setTimeout(() => { timer = 0; showTable(); }, 300); }

/** [[title, [value of each job]]] of all that may differ. */
function rowsOf(all) {
  const rows = facts.map(([title, of]) => [title, all.map((job) => of(job) ?? "")]);
  const params = all.map(({ metrics }) => Object.assign({}, ...[...metrics.attempts.values()].map(({ params: told }) => told)));
  for (const name of keysOf(params)) rows.push([name, params.map((told) => told[name] ?? "")]);
  const environments = all.map(({ record }) => record.spec.environment);
  for (const name of keysOf(environments)) rows.push([name, environments.map((told) => told[name] ?? "")]);
  const finals = all.map((job) => Object.fromEntries(newestTracks(job).map(({ name, summary }) => [name, summary.last === null ? summary.last_bad : number(summary.last)])));
  for (const name of keysOf(finals).slice(0, FINALS)) rows.push([`last ${name}`, finals.map((told) => told[name] ?? "")]);
  return rows;
}

const keysOf = (objects) => [...new Set(objects.flatMap((one) => Object.keys(one)))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));

const facts = [
  ["Submitted", ({ record }) => moment(record.submitted_at)],
  ["Ran", ({ record: { attempts } }) => { const newest = attempts.at(-1); return newest?.started_at ? duration((newest.ended_at ?? now()) - newest.started_at) : ""; }],
  ["Worker", ({ record }) => record.attempts.findLast(({ worker }) => worker)?.worker],
  ["Arguments", ({ record }) => joinArguments(record.spec.arguments)],
  ["Entry", ({ record }) => record.spec.entry],
  ["CPUs", ({ record }) => String(record.spec.resources.cpus)],
  ["Memory", ({ record }) => bytes(record.spec.resources.memory)],
  ["GPUs", ({ record }) => String(record.spec.resources.gpus)],
  ["Commit", ({ record }) => { const { source } = record.spec; return source?.commit ? `${source.commit.slice(0, 12)}${source.dirty ? " and changes" : ""}` : ""; }],
  ["Bundle", ({ record }) => record.bundle.slice(0, 16)],
  ["Image", ({ record }) => record.spec.image],
];

function showTable() {
  const all = [...jobs.values()];
  const alone = $("compare-differences").checked;
  const rows = rowsOf(all).filter(([, values]) => values.some(Boolean));
  const differing = ([, values]) => new Set(values).size > 1;
  $("compare-differences").disabled = all.length < 2;
  const focused = document.activeElement?.dataset?.focus;
  $("compare-head").replaceChildren(h("th", { scope: "col" }, "Job"), ...all.map(head));
  $("compare-rows").replaceChildren(...rows.filter((row) => !alone || all.length < 2 || differing(row)).map(([title, values]) => h("tr", { class: all.length > 1 && differing([title, values]) ? "differs" : null }, h("th", { scope: "row" }, title), ...values.map((value) => h("td", {}, value)))));
  if (focused) document.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  $("compare-table").hidden = !all.length;
}

function head(job) {
  const { id, label, colour, record, off } = job;
  return h("th", { scope: "col" },
    h("button", { type: "button", class: "line-toggle", "aria-pressed": String(!off), title: "Show or hide its curves", "data-focus": id, onclick: () => { job.off = !job.off; plan(); showTable(); } }, h("i", { class: "swatch", "data-line": colour, "data-dash": 0 }), h("span", {}, label)),
    h("div", { class: "compare-of" }, chip(record.state), h("a", { class: "mono", href: `/jobs/${id}` }, id), h("button", { type: "button", class: "quiet icon", "aria-label": `Leave ${label} out`, title: "Leave out", onclick: () => remove(id) }, "×")));
}

function remove(id) {
  jobs.get(id).metrics.close();
  jobs.delete(id);
  nameAll();
  const query = new URLSearchParams([...jobs.keys()].map((job) => ["job", job]));
  history.replaceState(null, "", jobs.size ? `/compare?${query}` : "/compare");
  plan();
  tell();
}

function tell() {
  say($("compare-none"), jobs.size ? "" : "No job is chosen. Tick jobs in the list, then press “Compare”.");
}

async function start() {
  await Promise.all(asked.slice(0, MOST).map(add));
  if (asked.length > MOST) say($("compare-error"), `Only the first ${MOST} of ${asked.length} jobs are compared.`);
  const inOrder = asked.filter((id) => jobs.has(id)).map((id) => [id, jobs.get(id)]);
  jobs.clear();
  for (const [id, job] of inOrder) jobs.set(id, job);
  nameAll();
  document.title = `${jobs.size} jobs compared · Stoker`;
  plan();
  showTable();
  tell();
}

$("chart-in").addEventListener("click", () => board.scale(0.5));
$("chart-out").addEventListener("click", () => board.scale(2));
$("compare-differences").addEventListener("change", showTable);
bindKeys({ "/": () => $("chart-filter").focus() });
start();
