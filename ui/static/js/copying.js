// What is copied? The rows' text as printed, without numbers and colours, also of rows that are not in the page.

import { plain } from "./ansi.js";
import { toast } from "./dom.js";
import { count } from "./format.js";

const MOST_ROWS = 100000; // that one copy takes
const MOST_CHARACTERS = 32 * 1024 * 1024;
const PAGE = 2000;
const STILL = 300; // milliseconds until a selection is read ahead

export class Copying {
  constructor(view, outline, source) {
    Object.assign(this, { view, outline, source });
    this.all = false;
    this.ready = null; // {key, text, rows}
    this.closing = new AbortController();
    const { signal } = this.closing;
    view.scroller.addEventListener("keydown", (event) => this.onKey(event), { signal });
    document.addEventListener("selectionchange", () => this.onSelection(), { signal });
    document.addEventListener("copy", (event) => this.onCopy(event), { signal });
    document.addEventListener("pointerdown", () => this.setAll(false), { signal });
  }

  close() { this.closing.abort(); }

  onKey(event) {
    if (event.key === "Escape") this.setAll(false);
    if (event.key.toLowerCase() !== "a" || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
    event.preventDefault();
    getSelection().selectAllChildren(this.view.rows);
    this.setAll(true);
    this.readAhead();
  }

  setAll(all) {
    this.all = all;
    this.view.scroller.classList.toggle("all", all);
  }

  /** The rows with an end of the selection stay in the page while it scrolls. */
  onSelection() {
    const selection = getSelection();
    const held = selection.isCollapsed ? [] : [selection.anchorNode, selection.focusNode].map((node) => this.rowOf(node)).filter(Boolean);
    if (!held.length && !this.view.pinned.size) return;
    this.view.pinned = new Set(held);
    this.view.update();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.readAhead(), STILL);
  }

  rowOf(node) {
    const element = node instanceof Element ? node : node?.parentElement;
    return this.view.rows.contains(element) ? element.closest(".line") : null;
  }

  /** {from, to}: items, and characters in the first and the last; null where nothing of the log is selected. */
  ends() {
    if (this.all) return this.outline.length ? { from: { index: 0, at: 0 }, to: { index: this.outline.length - 1, at: Infinity } } : null;
    const selection = getSelection();
    if (selection.isCollapsed || !selection.rangeCount) return null;
    const range = selection.getRangeAt(0);
    const from = this.edge(range.startContainer, range.startOffset);
    const to = this.edge(range.endContainer, range.endOffset);
    return from && to ? { from, to } : null;
  }

  edge(node, offset) {
    const row = this.rowOf(node);
    if (!row) return null;
    const { text } = row;
    if (!text) return { index: row.index, at: 0 };
    if (text === node || text.contains(node)) {
      const range = document.createRange();
      range.setStart(text, 0);
      range.setEnd(node, offset);
      const at = range.toString().length;
      return { index: row.index, at: at >= text.textContent.length && at > 0 ? Infinity : at };
    }
    const before = node === row ? offset <= 2 : Boolean(node.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING);
    return { index: row.index, at: before ? 0 : Infinity };
  }

  onCopy(event) {
    if (["INPUT", "TEXTAREA"].includes(document.activeElement?.tagName)) return;
    const ends = this.ends();
    if (!ends) return;
    event.preventDefault();
    const short = this.bounded(ends);
    const lines = this.ready?.key === JSON.stringify(short) ? this.ready.lines : this.present(short);
    if (lines) {
      event.clipboardData.setData("text/plain", lines.join("\n"));
      this.tell(lines, ends, short);
      return;
    }
    toast("Fetching the rows…");
    this.gather(short).then((found) => this.write(found, ends, short)).catch((error) => toast(error.message, true));
  }

  bounded({ from, to }) {
    const most = from.index + MOST_ROWS - 1;
    return { from, to: to.index > most ? { index: most, at: Infinity } : to };
  }

  tell(lines, ends, short) {
    if (short.to.index < ends.to.index || lines.cut) toast(`Copied the first ${count(lines.length, "row")}: that is all that fits. Download has every row.`);
    else if (lines.length > 1) toast(`Copied ${count(lines.length, "row")}.`);
  }

  /** The lines where the page has them all, else null. */
  present({ from, to }) {
    const lines = [];
    for (let index = from.index; index <= to.index; index += 1) {
      const item = this.outline.at(index);
      if (item.section) continue;
      if (!item.row) return null;
      lines.push(this.line(item.row, index, from, to));
    }
    return lines;
  }

  line(row, index, from, to) {
    const text = plain(row.text);
    const stop = index === to.index ? to.at : Infinity;
    return text.slice(index === from.index ? from.at : 0, stop);
  }

  async gather(ends) {
    const { from, to } = ends;
    const lines = [];
    let size = 0;
    for (const { first, count: rows, ...query } of this.outline.runs(from.index, to.index)) {
      for (let next = first; next < first + rows;) {
        const frame = await this.source.rows({ ...query, first: next, count: Math.min(PAGE, first + rows - next) });
        if (!frame.rows.length) break;
        for (const row of frame.rows) {
          const text = plain(row.text);
          size += text.length;
          if (size > MOST_CHARACTERS) return Object.assign(lines, { cut: true });
          lines.push(text);
        }
        next += frame.rows.length;
      }
    }
    if (lines.length && to.at !== Infinity) lines[lines.length - 1] = lines.at(-1).slice(0, to.at);
    if (lines.length && !this.outline.at(from.index).section) lines[0] = lines[0].slice(from.at);
    return lines;
  }

  /** So that the rows are there when the keys are pressed: the clipboard takes nothing later. */
  async readAhead() {
    const ends = this.ends();
    if (!ends) { this.ready = null; return; }
    const short = this.bounded(ends);
    const key = JSON.stringify(short);
    if (this.ready?.key === key || this.present(short)) return;
    try {
      const lines = await this.gather(short);
      this.ready = { key, lines };
    } catch { /* told when it is copied */ }
  }

  async write(lines, ends, short) {
    this.ready = { key: JSON.stringify(short), lines };
    try {
      await navigator.clipboard.writeText(lines.join("\n"));
      this.tell(lines, ends, short);
    } catch {
      if (!document.execCommand("copy")) toast(`${count(lines.length, "row")} are here now: copy once more.`);
    }
  }

  /** One row, whole, however long. */
  async row(n) {
    const { rows } = await this.source.rows({ first: n, count: 1 });
    const text = plain(rows[0]?.text ?? "");
    try {
      await navigator.clipboard.writeText(text);
      toast("Copied the row.");
    } catch {
      this.once(text);
    }
  }

  /** Where the page is not served securely there is no clipboard but that of a copy event. */
  once(text) {
    const onCopy = (event) => { event.preventDefault(); event.stopImmediatePropagation(); event.clipboardData.setData("text/plain", text); };
    document.addEventListener("copy", onCopy, { capture: true, once: true });
    const done = document.execCommand("copy");
    document.removeEventListener("copy", onCopy, { capture: true });
    toast(done ? "Copied the row." : "The browser does not let the page copy: use Download.", !done);
  }
}
