// The list of jobs: loaded by pages, kept current by a WebSocket.
import { $, chip, h, say } from "./dom.js";
import { ask } from "./api.js";
import { ago, count, duration, moment, now, reasonText } from "./format.js";
import { maySubmit } from "./session.js";
import { Socket } from "./socket.js";
import { Sparks } from "./spark.js";

const GROUPS = [
  ["all", []],
  ["waiting", ["waiting", "queued"]],
  ["running", ["starting", "running", "cancelling"]],
  ["succeeded", ["succeeded"]],
  ["failed", ["failed"]],
  ["cancelled", ["cancelled"]],
];
const { user } = document.body.dataset;
const PAGE = 50;
const MOST_CHOSEN = 10;
const ENDED = new Set(["succeeded", "failed", "cancelled"]);

export function startList() {
  const rows = new Map(); // job id to {job, element}
  const chosen = new Set(); // ids of jobs that are to be compared
  const sparks = new Sparks((id) => rows.get(id)?.element.querySelector(".curve").replaceChildren(...sparks.draw(id)), () => [...rows.values()].filter(({ job }) => job.state === "running").map(({ job }) => job.id));
  let group = "all";
  let text = "";
  let serial = 0;
  let more = false;
  let stale = null;

  const states = () => GROUPS.find(([name]) => name === group)[1];
  const query = (extra) => new URLSearchParams([...states().map((state) => ["state", state]), ...(text ? [["text", text]] : []), ["limit", PAGE], ...extra]);

  async function load() {
    const mine = (serial += 1);
    try {
      const answer = await ask(`/jobs?${query([])}`);
      if (mine !== serial) return;
      rows.clear();
      $("rows").replaceChildren();
      for (const job of answer.jobs) put(job, false);
      settle(answer);
    } catch (error) {
      if (mine === serial) say($("list-error"), error.message);
    }
  }

  async function older() {
    const last = [...rows.keys()].sort()[0];
    $("older").disabled = true;
    try {
      const answer = await ask(`/jobs?${query([["before", last]])}`);
      for (const job of answer.jobs) put(job, false);
      settle(answer);
    } catch (error) {
      say($("list-error"), error.message);
    } finally {
      $("older").disabled = false;
    }
  }

  function settle(answer) {
    say($("list-error"), "");
    more = answer.more;
    $("older").hidden = !more;
    showCounts(answer.counts);
    showEmpty();
    sparks.want(rows.keys());
  }

  function showCounts(counts) {
    const total = Object.values(counts).reduce((sum, number) => sum + number, 0);
    $("filters").replaceChildren(...GROUPS.map(([name, of]) => {
      const number = name === "all" ? total : of.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
      return h("button", { type: "button", "aria-pressed": String(name === group), onclick: () => choose(name) }, name, " ", h("b", {}, number.toLocaleString("en")));
    }));
  }

  function choose(name) {
    group = name;
    for (const button of $("filters").children) button.setAttribute("aria-pressed", String(button.textContent.startsWith(`${name} `)));
    remember();
    load();
  }

  function remember() {
    const kept = new URLSearchParams(location.search);
    for (const [name, value] of [["show", group === "all" ? "" : group], ["text", text]]) if (value) kept.set(name, value); else kept.delete(name);
    history.replaceState(null, "", kept.size ? `/?${kept}` : "/");
  }

  const fits = (job) => (!states().length || states().includes(job.state)) && (!text || `${job.name} ${job.id} ${job.reason ?? ""} ${job.detail}`.toLowerCase().includes(text.toLowerCase()));

  function put(job, fresh) {
    const known = rows.get(job.id);
    if (!fits(job)) { known?.element.remove(); rows.delete(job.id); return; }
    const element = row(job);
    if (fresh && known && ENDED.has(job.state)) sparks.forget(job.id);
    if (known) known.element.replaceWith(element);
    else {
      const ids = [...rows.keys()];
      if (fresh && more && ids.length && job.id < ids.reduce((a, b) => (a < b ? a : b))) return;
      const next = [...$("rows").children].find((other) => other.dataset.job < job.id);
      if (fresh) element.classList.add("fresh");
      $("rows").insertBefore(element, next ?? null);
    }
    rows.set(job.id, { job, element });
  }

  function row(job) {
    const why = ENDED.has(job.state) && job.state !== "succeeded" ? reasonText(job.reason, job.exit_code, null, job.detail) : "";
    return h("tr", { "data-job": job.id },
      h("td", { class: "state" }, h("input", { type: "checkbox", class: "pick", "aria-label": `Compare ${job.name} ${job.id}`, title: "Choose for comparing (x)", checked: chosen.has(job.id), onchange: (event) => choosing(job.id, event.target) }), chip(job.state)),
      h("td", { class: "job" }, h("a", { class: "job-link", href: `/jobs/${job.id}` }, job.name), h("div", { class: "sub" }, h("span", { class: "mono" }, job.id), job.attempt > 1 ? ` · attempt ${job.attempt}` : "", job.owner !== user ? ` · by ${job.owner}` : "", job.pool !== "default" ? ` · pool ${job.pool}` : "", why ? ` · ${why}` : "")),
      h("td", { class: "curve" }, ...sparks.draw(job.id)),
      h("td", { class: "worker-cell" }, job.worker ?? ""),
      h("td", { class: "submitted number", title: moment(job.submitted_at) }, ago(job.submitted_at)),
      h("td", { class: "took number" }, took(job)));
  }

  function choosing(id, box) {
    if (box.checked && chosen.size === MOST_CHOSEN) { box.checked = false; say($("list-error"), `At most ${MOST_CHOSEN} jobs are compared.`); return; }
    if (box.checked) chosen.add(id); else chosen.delete(id);
    $("compare-jobs").hidden = !chosen.size;
    $("compare-jobs").textContent = `Compare ${count(chosen.size, "job")}`;
    $("compare-jobs").href = `/compare?${new URLSearchParams([...chosen].map((job) => ["job", job]))}`;
  }

  /** By a key: the job that has the focus. */
  function pick() {
    const box = document.activeElement?.closest("tr")?.querySelector(".pick");
    box?.click();
  }

  const took = (job) => (job.started_at ? duration((job.ended_at ?? now()) - job.started_at) : "");

  function showEmpty() {
    const words = group === "all" && !text ? maySubmit() ? "No jobs yet. Drop a .zip above, or run the sample." : "No jobs yet." : "No job fits this filter.";
    say($("empty"), rows.size ? "" : words);
    $("list").hidden = rows.size === 0;
  }

  function refreshTimes() {
    for (const { job, element } of rows.values()) {
      element.querySelector(".submitted").textContent = ago(job.submitted_at);
      if (!ENDED.has(job.state)) element.querySelector(".took").textContent = took(job);
    }
  }

  function recount() {
    stale ??= setTimeout(async () => {
      stale = null;
      try { showCounts((await ask(`/jobs?${new URLSearchParams([...(text ? [["text", text]] : []), ["limit", 1]])}`)).counts); } catch { /* the next change tries again */ }
    }, 1200);
  }

  function onFrame(frame) {
    if (frame.type === "hello" || frame.type === "reload") load();
    if (frame.type !== "jobs") return;
    for (const job of frame.jobs) put(job, true);
    showEmpty();
    recount();
    sparks.want(frame.jobs.filter(({ id, state }) => state === "running" && rows.has(id)).map(({ id }) => id));
  }

  function move(step) {
    const links = [...$("rows").querySelectorAll(".job-link")];
    const at = links.indexOf(document.activeElement);
    links[Math.min(links.length - 1, Math.max(0, at + step))]?.focus();
  }

  const asked = new URLSearchParams(location.search);
  if (GROUPS.some(([name]) => name === asked.get("show"))) group = asked.get("show");
  text = asked.get("text") ?? "";
  $("search").value = text;
  let typing;
  $("search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => { text = $("search").value.trim(); remember(); load(); }, 180); });
  $("older").addEventListener("click", older);
  setInterval(refreshTimes, 1000);
  showCounts({});
  new Socket(() => "/api/v1/events/ws", { onText: onFrame, onState: (state) => say($("list-error"), state === "on" ? "" : "The list is not live right now; connecting again…") });
  return { move, pick };
}
