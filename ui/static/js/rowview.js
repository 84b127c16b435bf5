// How does one row look? Text goes in as text nodes only.

import { plain, styled } from "./ansi.js";
import { h } from "./dom.js";
import { bytes, count, duration } from "./format.js";

const SHOWN = 5000; // characters of a row before it is cut
const GROWS = 10; // times longer with each "show more"
const LONGEST = 500000; // characters that are ever drawn of one row
const LINK = /\bhttps?:\/\/[^\s"'<>`\x00-\x1f]+[^\s"'<>`.,:;!?()[\]{}\x00-\x1f]/g;
const NAMES = { build: "Build", run: "Run" };
const STREAMS = { e: "stderr", b: "build", s: "Stoker" };
const two = (value) => String(value).padStart(2, "0");

/** `look`: {time, origin(n), address(), pattern, isMarked(n), hit, expanded} */
export function rowElement() {
  const number = h("a", { class: "ln", tabindex: "-1" });
  const at = h("time", { class: "at" });
  const text = h("span", { class: "tx" });
  const element = h("div", { class: "line" }, number, at, text);
  return Object.assign(element, { number, at, text });
}

export function drawRow(element, { n, row }, look) {
  element.dataset.n = n || "";
  element.number.textContent = n || "";
  element.number.href = n ? `${look.address()}#L${n}` : "#log";
  element.dataset.stream = row?.stream ?? "";
  element.number.setAttribute("aria-label", `Row ${n}, ${STREAMS[row?.stream] ?? "stdout"}`);
  drawTime(element.at, n, row, look);
  element.more?.remove();
  element.more = null;
  if (!row) { element.text.replaceChildren(); element.text.classList.add("pending"); return; }
  element.text.classList.remove("pending");
  const limit = look.expanded.get(n) ?? SHOWN;
  const { parts, cut } = styled(row.text, limit);
  element.text.replaceChildren(...spans(parts, look.pattern));
  if (cut) addMore(element, n, row, limit, look);
}

function addMore(element, n, row, limit, look) {
  const size = bytes(plain(row.text).length);
  const next = Math.min(LONGEST, limit * GROWS);
  const more = h("span", { class: "more" }, `… ${size} in this row `);
  if (limit < LONGEST) more.append(h("button", { type: "button", "data-more": next }, "Show more"), " ");
  more.append(h("button", { type: "button", "data-copy": n }, "Copy the row"));
  element.more = more;
  element.append(more);
}

function spans(parts, pattern) {
  const text = parts.map((part) => part.text).join("");
  const links = ranges(text, LINK);
  const marks = pattern ? ranges(text, pattern) : [];
  const edges = [...new Set([...links, ...marks].flat())].sort((a, b) => a - b);
  const found = [];
  let at = 0;
  let edge = 0;
  for (const part of parts) {
    const stop = at + part.text.length;
    let from = at;
    while (edge < edges.length && edges[edge] <= from) edge += 1;
    while (from < stop) {
      const to = edge < edges.length && edges[edge] < stop ? edges[edge] : stop;
      found.push(piece(part, text.slice(from, to), within(links, from), within(marks, from), text));
      from = to;
      while (edge < edges.length && edges[edge] <= from) edge += 1;
    }
    at = stop;
  }
  return found;
}

function ranges(text, pattern) {
  const found = [];
  for (const hit of text.matchAll(pattern)) {
    if (hit[0]) found.push([hit.index, hit.index + hit[0].length]);
    if (found.length >= 1000) break;
  }
  return found;
}

function within(list, at) {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle][1] <= at) low = middle + 1;
    else high = middle;
  }
  return list[low] && list[low][0] <= at ? list[low] : null;
}

function piece(part, text, link, mark, whole) {
  if (!part.names && !part.color && !part.back && !link && !mark) return text;
  const element = link ? h("a", { href: whole.slice(...link), target: "_blank", rel: "noopener noreferrer", tabindex: "-1" }) : document.createElement(mark ? "mark" : "span");
  if (part.names) element.className = part.names;
  if (part.color) element.style.color = part.color;
  if (part.back) element.style.backgroundColor = part.back;
  if (link && mark) element.append(h("mark", {}, text));
  else element.textContent = text;
  return element;
}

function drawTime(element, n, row, look) {
  if (look.time === "off" || !row?.time) { element.textContent = ""; element.removeAttribute("title"); return; }
  element.textContent = look.time === "since" ? elapsed(row.time - look.origin(n)) : wall(row.time, look.time === "utc");
  element.title = look.time === "utc" ? new Date(row.time * 1000).toISOString() : new Date(row.time * 1000).toLocaleString();
}

function wall(at, utc) {
  const date = new Date(at * 1000);
  if (utc) return date.toISOString().slice(11, 23);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

function elapsed(seconds) {
  const s = Math.abs(seconds);
  const hours = Math.floor(s / 3600);
  const clock = `${hours ? `${hours}:` : ""}${hours ? two(Math.floor(s / 60) % 60) : Math.floor(s / 60)}:${two(Math.floor(s) % 60)}.${String(Math.floor(s * 1000) % 1000).padStart(3, "0")}`;
  return seconds < 0 ? `−${clock}` : clock;
}

// ---- sections ----

export function headElement() {
  const words = h("span", { class: "head-name" });
  const facts = h("span", { class: "head-facts" });
  const button = h("button", { type: "button", class: "head-fold" }, h("i", { "aria-hidden": "true" }), words, facts);
  const element = h("div", { class: "line head" }, button);
  return Object.assign(element, { button, words, facts });
}

/** `seconds` is how long the section took, or null. */
export function drawHead(element, { section, rows, folded }, seconds) {
  element.dataset.section = section;
  element.button.setAttribute("aria-expanded", String(!folded));
  element.words.textContent = NAMES[section];
  const facts = [count(rows, "row"), duration(seconds)].filter(Boolean).join(" · ");
  if (element.facts.textContent !== facts) element.facts.textContent = facts;
}
