// The machines: how busy, what they hold, and whether they take more.
import { $, h, meter, say, toast } from "./dom.js";
import { ask } from "./api.js";
import { ago, bytes, count } from "./format.js";
import { bindKeys } from "./keys.js";
import { isAdmin } from "./session.js";
import { WorkerCharts } from "./worker_charts.js";

const EVERY = 2000;
const HOT = 0.9;
const charts = new WorkerCharts();
let busy = false;

async function refresh() {
  if (busy || document.visibilityState === "hidden") return;
  busy = true;
  try {
    const { workers } = await ask("/workers");
    say($("workers-error"), "");
    show(workers);
  } catch (error) {
    say($("workers-error"), error.message);
  } finally {
    busy = false;
  }
}

function show(workers) {
  const online = workers.filter((worker) => worker.online);
  $("workers-facts").textContent = workers.length ? `${online.length} of ${workers.length} online` : "";
  const bare = online.filter(({ beat }) => beat.runtime === "process").map(({ name }) => name);
  say($("no-sandbox"), bare.length ? `No sandbox on ${bare.join(", ")}: jobs run as plain processes there, with all the rights of the agent. Use Docker for code that you do not trust.` : "");
  const versions = new Set(online.map(({ beat }) => beat.version));
  const focused = document.activeElement?.dataset?.focus;
  $("workers").replaceChildren(...(workers.length ? workers.map((worker) => card(worker, versions.size > 1)) : [h("p", { class: "empty" }, "No worker yet. Jobs wait until one joins.")]));
  if (focused) document.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
}

function card({ name, online, drain, aside, heard_at: heard, beat }, drift) {
  const { load, capacity, free, held } = beat;
  const presence = online ? (aside ? "set aside" : beat.leaving ? "restarting" : drain ? "draining" : "online") : "offline";
  const used = { cpus: capacity.cpus - free.cpus, slots: capacity.slots - free.slots };
  return h("section", { class: `card worker ${online ? "" : "offline"}`, "aria-label": name },
    h("header", {}, h("h2", {}, name), h("span", { class: "chip presence", "data-presence": presence }, presence)),
    h("p", { class: "sub" }, `${beat.host || name} · ${beat.runtime}${beat.runtime === "process" ? " (no sandbox)" : ""} · pool ${beat.pool} · version ${beat.version || "unknown"}${drift ? " (versions differ)" : ""} · ${online ? "heard" : "last seen"} ${ago(heard)}`),
    aside ? h("p", { class: "note warn" }, `${name} ${aside}.`) : null,
    h("div", { class: "gauges" },
      gauge("CPU", load.cpu, `${Math.round(load.cpu * 100)} % of all cores`),
      load.memory_total ? gauge("Memory", load.memory / load.memory_total, `${bytes(load.memory)} of ${bytes(load.memory_total)}`) : null,
      capacity.slots ? gauge("Jobs", used.slots / capacity.slots, `${used.slots} of ${count(capacity.slots, "slot")}`, false) : null,
      capacity.cpus ? gauge("Reserved", used.cpus / capacity.cpus, `${round(used.cpus)} of ${count(round(capacity.cpus), "CPU")}, ${bytes(capacity.memory - free.memory)}`, false) : null,
      capacity.gpus ? gauge("GPUs", (capacity.gpus - free.gpus) / capacity.gpus, `${capacity.gpus - free.gpus} of ${capacity.gpus}`, false) : null),
    h("p", { class: "sub" }, `${bytes(load.disk_free)} of disk free · ${capacity.gpus ? load.gpus.join(", ") || count(capacity.gpus, "GPU") : "no GPU"}`),
    Object.keys(beat.labels).length ? h("div", { class: "labels" }, Object.entries(beat.labels).map(([key, value]) => h("span", { class: "label" }, value ? `${key}=${value}` : key))) : null,
    held.length ? h("ul", { class: "held", "aria-label": "Jobs that it holds" }, held.slice(0, 20).map(({ job, attempt, phase }) => h("li", {}, job ? h("a", { href: `/jobs/${job}`, class: "mono" }, job) : "somebody else's job", ` ${phase || "held"}${attempt > 1 ? `, attempt ${attempt}` : ""}`))) : null,
    held.length > 20 ? h("p", { class: "sub" }, `and ${held.length - 20} more`) : null,
    h("div", { class: "row" },
      h("button", { type: "button", "data-focus": `charts ${name}`, "aria-pressed": String(charts.shown === name), onclick: (event) => showCharts({ name, beat }, event.target) }, "Charts"),
      !isAdmin() ? null : h("button", { type: "button", "data-drain": name, "data-focus": `drain ${name}`, onclick: (event) => setDrain(name, !drain, event.target), title: drain ? "Take up new jobs again" : "Finish what it holds, take nothing new" }, drain ? "Take jobs again" : "Drain")));
}

function showCharts(worker, button) {
  if (charts.shown === worker.name) charts.close(); else charts.open(worker);
  button.setAttribute("aria-pressed", String(charts.shown === worker.name));
}

const round = (value) => Math.round(value * 10) / 10;

function gauge(label, share, text, heats = true) {
  return h("div", { class: heats && share > HOT ? "gauge hot" : "gauge" }, h("span", {}, label), meter(share, label), h("span", { class: "value" }, text));
}

async function setDrain(name, drain, button) {
  button.disabled = true;
  try {
    await ask(`/workers/${name}/drain`, { method: "POST", body: { drain } });
    toast(drain ? `${name} takes nothing new.` : `${name} takes jobs again.`);
    await refresh();
  } catch (error) {
    toast(error.message, true);
    button.disabled = false;
  }
}

bindKeys({});
setInterval(refresh, EVERY);
document.addEventListener("visibilitychange", refresh);
refresh();
