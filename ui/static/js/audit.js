// Who did what: filtered, older ones by a click, new ones at the top as they come.
import { $, h, say } from "./dom.js";
import { ask } from "./api.js";
import { ago, count, moment } from "./format.js";
import { bindKeys } from "./keys.js";

const EVERY = 2000;
const PAGE = 100;
const MOST_ROWS = 2000;
const TYPING = 250;
const NAMES = ["who", "deed", "target", "since"];
const form = $("filters").elements;
let last = 0;
let before = null;
let asked = 0;
let busy = false;
let typing = 0;

function query(more) {
  const asking = new URLSearchParams({ limit: PAGE, ...more });
  for (const name of NAMES) if (form[name].value.trim()) asking.set(name, form[name].value.trim());
  return `/audit?${asking}`;
}

/** A page anew, for what the filters say now. */
async function load() {
  asked += 1;
  const mine = asked;
  remember();
  try {
    const page = await ask(query());
    if (mine !== asked) return;
    say($("audit-error"), "");
    last = page.last;
    $("audit-rows").replaceChildren(...page.entries.map(row));
    reached(page.before);
  } catch (error) {
    if (mine === asked) say($("audit-error"), error.message);
  }
}

async function older() {
  const mine = asked;
  $("older").disabled = true;
  try {
    const page = await ask(query({ before }));
    if (mine !== asked) return;
    $("audit-rows").append(...page.entries.map(row));
    reached(page.before);
  } catch (error) {
    say($("audit-error"), error.message);
  } finally {
    $("older").disabled = false;
  }
}

/** What was noted since the last look. */
async function look() {
  if (busy || document.visibilityState === "hidden") return;
  busy = true;
  const mine = asked;
  try {
    const page = await ask(query({ after: last }));
    if (mine !== asked) return;
    say($("audit-error"), "");
    if (page.entries.length && page.before !== null) return void load();
    last = page.last;
    $("audit-rows").prepend(...page.entries.map(row));
    while ($("audit-rows").children.length > MOST_ROWS) {
      $("audit-rows").lastElementChild.remove();
      before = Number($("audit-rows").lastElementChild.dataset.sequence);
    }
    reached(before);
  } catch (error) {
    if (mine === asked) say($("audit-error"), error.message);
  } finally {
    busy = false;
  }
}

function reached(cursor) {
  before = cursor;
  const rows = $("audit-rows").children.length;
  $("older").hidden = cursor === null;
  $("older").textContent = rows ? "Older" : "Look further back";
  $("audit-empty").hidden = rows > 0 || cursor !== null;
  $("audit-facts").textContent = rows ? `${count(rows, "entry", "entries")}${cursor === null ? "" : " shown"}, new ones come by themselves` : "";
}

function row({ sequence, stored_at: at, who, deed, target, detail, address, service }) {
  return h("tr", { "data-sequence": sequence },
    h("td", { "data-label": "When", title: `${moment(at)}, entry ${sequence}, by the service ${service}` }, h("div", {}, h("time", { datetime: new Date(at * 1000).toISOString() }, ago(at)), h("div", { class: "sub" }, moment(at)))),
    h("td", { "data-label": "Who" }, who ? h("b", {}, who) : h("span", { class: "muted" }, "nobody known")),
    h("td", { "data-label": "What" }, h("div", {}, h("span", { class: "label" }, deed))),
    h("td", { "data-label": "To" }, ["submit", "cancel"].includes(deed) ? h("a", { href: `/jobs/${target}`, class: "mono" }, target) : h("span", { class: "mono" }, target)),
    h("td", { "data-label": "More", class: "words" }, detail),
    h("td", { "data-label": "From" }, h("span", { class: "mono" }, address)));
}

/** The filters stand in the address, for others to see the same. */
function remember() {
  const shown = new URLSearchParams();
  for (const name of NAMES) if (form[name].value.trim()) shown.set(name, form[name].value.trim());
  history.replaceState(null, "", shown.size ? `?${shown}` : location.pathname);
}

const given = new URLSearchParams(location.search);
for (const name of NAMES) form[name].value = given.get(name) ?? "";
$("filters").addEventListener("submit", (event) => { event.preventDefault(); load(); });
$("filters").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(load, TYPING); });
$("older").addEventListener("click", older);
document.addEventListener("visibilitychange", look);
setInterval(look, EVERY);
bindKeys({});
load();
