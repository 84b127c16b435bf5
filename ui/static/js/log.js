// The log's part of a job's page: its bar, one pane or two, its keys, and the address of what is looked at.

import { $, h, toast } from "./dom.js";
import { count, reasonText } from "./format.js";
import { LogPane } from "./pane.js";

const ENDED = new Set(["succeeded", "failed", "cancelled"]);
const TYPED = 150; // milliseconds after the last key
const PLACE = /^#L(\d+)(?:-L?(\d+))?$/;

const kept = (name, usual) => { try { return localStorage.getItem(`log.${name}`) ?? usual; } catch { return usual; } };
const keep = (name, value) => { try { localStorage.setItem(`log.${name}`, value); } catch { /* private window: for this page only */ } };
const pressed = (button) => button.getAttribute("aria-pressed") === "true";
const press = (button, on) => button.setAttribute("aria-pressed", String(on));

export class Log {
  /** `onJob` gets each new state of the job that the socket tells. */
  constructor(id, onJob) {
    this.id = id;
    this.onJob = onJob;
    this.job = null;
    this.panes = [];
    this.active = this.addPane();
    this.wrap = kept("wrap", innerWidth < 760 ? "1" : "0") === "1";
    this.bind();
    this.setTimes(kept("times", "off"));
    this.setWrap(this.wrap);
  }

  get first() { return this.panes[0]; }

  start() {
    const query = new URLSearchParams(location.search);
    this.first.connect(Number(query.get("attempt")) || 0, Number(query.get("rank")) || 0);
    this.showHash();
  }

  addPane() {
    const pane = new LogPane(this.id, {
      job: (job) => { if (pane === this.first) this.onJob(job); },
      shown: () => this.showShown(),
      state: () => this.showState(),
      changed: (one) => this.showFacts(one),
      hits: (one) => this.showHits(one),
      pick: (one, n, event) => this.pick(one, n, event),
      unfilter: () => this.showFilter("", false),
      choose: (one, value) => this.choose(one, ...value.split(".").map(Number)),
    });
    this.panes.push(pane);
    $("panes").append(pane.element);
    for (const event of ["pointerdown", "focusin"]) pane.element.addEventListener(event, () => this.activate(pane));
    pane.view.rows.addEventListener("mousedown", (event) => { if (event.shiftKey && event.target.closest(".ln")) event.preventDefault(); });
    return pane;
  }

  activate(pane) {
    if (this.active === pane) return;
    this.active = pane;
    for (const one of this.panes) one.element.classList.toggle("active", one === pane);
    this.showHits(pane);
    this.showDownloads();
  }

  bind() {
    let typing = null;
    $("find").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => this.search(), TYPED); });
    $("find").addEventListener("keydown", (event) => this.onFindKey(event));
    $("find-next").addEventListener("click", () => this.active.find.step(false));
    $("find-previous").addEventListener("click", () => this.active.find.step(true));
    $("find-case").addEventListener("click", () => { press($("find-case"), !pressed($("find-case"))); this.search(); });
    $("only").addEventListener("click", () => this.setOnly(!pressed($("only"))));
    $("streams").addEventListener("change", () => this.refilter());
    $("times").addEventListener("change", () => this.setTimes($("times").value));
    $("wrap").addEventListener("click", () => this.setWrap(!this.wrap));
    $("compare").addEventListener("click", () => this.setCompare(this.panes.length === 1));
    $("full").addEventListener("click", () => this.setFull(!pressed($("full"))));
    $("downloads").addEventListener("click", (event) => { if (event.target.closest("a")) $("downloads").open = false; });
    document.addEventListener("pointerdown", (event) => { if (!$("downloads").contains(event.target)) $("downloads").open = false; });
    addEventListener("hashchange", () => this.showHash());
  }

  get keys() {
    return {
      "/": () => { $("find").focus(); $("find").select(); },
      n: () => this.active.find.step(false), N: () => this.active.find.step(true),
      End: () => this.active.view.goToEnd(), G: () => this.active.view.goToEnd(), g: () => this.active.view.goToEnd(),
      t: () => this.active.view.goToTop(), Home: () => this.active.view.goToTop(),
      w: () => this.setWrap(!this.wrap), f: () => this.setFull(!pressed($("full"))),
      o: () => this.setOnly(!pressed($("only"))), e: () => { $("streams").value = $("streams").value === "e" ? "" : "e"; this.refilter(); },
      c: () => this.setCompare(this.panes.length === 1),
      Escape: () => { if ($("downloads").open) $("downloads").open = false; else this.setFull(false); },
    };
  }

  // ---- the search and the filter ----

  onFindKey(event) {
    if (event.key === "Enter") {
      event.preventDefault();
      if (this.active.find.query?.q === $("find").value) this.active.find.step(event.shiftKey);
      else this.search();
    }
    if (event.key !== "Escape") return;
    event.stopPropagation();
    $("find").value = "";
    this.search();
    this.active.view.scroller.focus({ preventScroll: true });
  }

  query(only = true) {
    const q = only ? $("find").value : "";
    return { q, case: q && pressed($("find-case")) ? "1" : "", stream: $("streams").value };
  }

  async search() {
    const query = this.query();
    for (const pane of this.panes) if (pane !== this.active) pane.setPattern(query.q, query.case === "1");
    const filtered = pressed($("only")) && this.refilter(false);
    await Promise.all([filtered, this.active.search(query)]);
  }

  setOnly(only) {
    press($("only"), only);
    if (only && !$("find").value) $("find").focus();
    this.refilter(false);
  }

  /** The rows that are shown; `again` where the search depends on it too. */
  refilter(again = true) {
    const query = this.query(pressed($("only")));
    const any = query.q || query.stream;
    $("streams").classList.toggle("on", query.stream !== "");
    if (again && $("find").value) this.active.search(this.query());
    return Promise.all(this.panes.map((pane) => pane.filter(any ? query : null)));
  }

  showFilter(stream, only) {
    $("streams").value = stream;
    $("streams").classList.toggle("on", stream !== "");
    press($("only"), only);
  }

  showHits(pane) {
    if (pane !== this.active || !pane.find) return;
    const { query, count: hits, index, answered } = pane.find;
    const place = index < 0 ? "" : `${(index + 1).toLocaleString("en")} of `;
    const words = hits ? `${place}${hits.toLocaleString("en")}` : "no hit";
    $("hits").textContent = query ? (answered ? words : "…") : "";
    $("find-next").disabled = $("find-previous").disabled = !hits;
  }

  // ---- what the rows look like ----

  setTimes(mode) {
    $("times").value = mode;
    if ($("times").selectedIndex < 0) $("times").value = "off";
    keep("times", $("times").value);
    for (const pane of this.panes) this.applyLook(pane);
  }

  applyLook(pane) {
    pane.look.time = $("times").value;
    pane.view.scroller.dataset.times = $("times").value;
    pane.view.ruler.forget();
    pane.view.restyle();
  }

  setWrap(wrap) {
    this.wrap = wrap;
    press($("wrap"), wrap);
    keep("wrap", wrap ? "1" : "0");
    for (const pane of this.panes) pane.view.setWrap(wrap);
  }

  setFull(full) {
    press($("full"), full);
    $("log").classList.toggle("full", full);
    document.documentElement.classList.toggle("log-full", full);
  }

  setCompare(compare) {
    press($("compare"), compare);
    $("log").classList.toggle("comparing", compare);
    if (compare && this.panes.length === 1) this.openSecond();
    if (!compare && this.panes.length === 2) {
      const second = this.panes.pop();
      second.close();
      second.element.remove();
      this.activate(this.first);
    }
    this.showAttempts();
  }

  openSecond() {
    const second = this.addPane();
    const others = (this.job?.attempts ?? []).map(({ number }) => number).filter((number) => number !== this.first.shown);
    this.applyLook(second);
    second.view.setWrap(this.wrap);
    second.setJob(this.job);
    second.setPattern(this.query().q, this.query().case === "1");
    second.connect(others.at(-1) ?? (this.first.shown || 0));
    this.active = null;
    this.activate(this.first);
    this.refilter(false);
  }

  // ---- which log, which rows ----

  setJob(job) {
    this.job = job;
    for (const pane of this.panes) pane.setJob(job);
    this.showAttempts();
    this.showState();
  }

  choose(pane, number, rank = 0) {
    const newest = number === this.job.attempt && !ENDED.has(this.job.state);
    pane.connect(newest ? 0 : number, rank, number);
    if (pane === this.first) history.replaceState(null, "", newest && !rank ? location.pathname : pane.address);
    this.showShown();
  }

  showHash() {
    const found = PLACE.exec(location.hash);
    if (!found) return;
    const [a, b] = [Number(found[1]), Number(found[2] ?? found[1])];
    if (a > 0) this.first.showRows({ first: Math.min(a, b), last: Math.max(a, b) });
  }

  pick(pane, n, event) {
    if (event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const from = event.shiftKey && pane.marks ? pane.marks.first : n;
    pane.marks = { first: Math.min(from, n), last: Math.max(from, n) };
    pane.view.restyle();
    this.showAddress(pane, pane.marks);
  }

  showAddress(pane, { first, last }) {
    history.replaceState(null, "", `${pane.address}#L${first}${last > first ? `-L${last}` : ""}`);
  }

  /** Shows the lines of a quote, in the log of its attempt. */
  async showQuote({ attempt, rank, start, end, lines }) {
    $("log").scrollIntoView({ block: "nearest" });
    const pane = this.first;
    if (pane.shown !== attempt || pane.source.rank !== (rank ?? 0)) this.choose(pane, attempt, rank ?? 0);
    try {
      const [first, last] = await Promise.all([start, Math.max(start, end - 1)].map((offset) => this.rowAt(pane, offset)));
      const marks = { first, last: Math.max(first, last) };
      await pane.showRows(marks);
      this.showAddress(pane, marks);
    } catch (error) {
      toast(error.message, true);
    }
  }

  async rowAt(pane, offset) {
    const { header } = await pane.source.rows({ offset, count: 1 });
    return header.first;
  }

  // ---- what the bar says ----

  showShown() {
    this.showAttempts();
    this.showDownloads();
  }

  showState() {
    for (const pane of this.panes) this.showFacts(pane);
    const ended = this.job && ENDED.has(this.job.state);
    const words = { on: ended ? "loading" : "live", away: "connecting again…", over: "complete", wait: "connecting", gone: "nothing to show" };
    const { state } = this.first;
    $("live").dataset.live = state;
    if ($("live").lastElementChild.textContent !== words[state]) $("live").lastElementChild.textContent = words[state];
  }

  showFacts(pane) {
    const { total } = pane.store;
    const { matches } = pane.outline;
    const text = matches?.known ? `${matches.count.toLocaleString("en")} of ${count(total, "row")}` : total ? count(total, "row") : "";
    const target = pane === this.first ? $("size") : null;
    for (const element of [target, pane.facts]) if (element && element.textContent !== text) element.textContent = text;
    const label = `Log of attempt ${pane.shown || 1}${text ? `, ${text}` : ""}`;
    if (this.panes.length && pane.view.scroller.getAttribute("aria-label") !== label) pane.view.scroller.setAttribute("aria-label", label);
  }

  showAttempts() {
    const { job } = this;
    if (!job) return;
    $("attempts").hidden = job.attempts.length < 2 || this.panes.length > 1;
    $("attempts").replaceChildren(...job.attempts.map(({ number, end }) => h("button", { type: "button", class: "quiet", title: end ? reasonText(end.reason, end.exit_code, end.signal, end.detail) : null, "aria-pressed": String(number === (this.first.shown || job.attempt)), onclick: () => this.choose(this.first, number) }, `Attempt ${number}`)));
    for (const pane of this.panes) this.fillChoice(pane, choicesOf(job));
    this.showDownloads();
  }

  fillChoice(pane, choices) {
    const chosen = `${pane.shown || this.job.attempt}.${pane.source.rank}`;
    if (document.activeElement === pane.choice && pane.choice.options.length === choices.length) { pane.choice.value = chosen; return; }
    pane.choice.replaceChildren(...choices.map(([value, text]) => h("option", { value }, text)));
    pane.choice.value = chosen;
  }

  showDownloads() {
    const { shown, source } = this.active ?? this.first;
    const place = `/api/v1/jobs/${this.id}/log?attempt=${shown || this.job?.attempt || 0}&rank=${source.rank}`;
    $("raw").href = place;
    $("download").href = `${place}&view=readable&colour=0&download=1`;
    $("download-colours").href = `${place}&view=readable&download=1`;
    $("download-raw").href = `${place}&download=1`;
  }
}

/** [[value, words]] of the logs that a job has: its attempts, and their ranks where there are several. */
function choicesOf(job) {
  return job.attempts.flatMap(({ number, worker, end }) => {
    const ranks = Object.keys(end?.log_ends ?? {}).map(Number);
    const outcome = end ? (end.exit_code === 0 ? " ✓" : " ✗") : "";
    if (ranks.length < 2) return [[`${number}.0`, `Attempt ${number} on ${worker}${outcome}`]];
    return ranks.sort((a, b) => a - b).map((rank) => [`${number}.${rank}`, `Attempt ${number}, rank ${rank}${outcome}`]);
  });
}
