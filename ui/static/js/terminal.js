// The log as a terminal shows it: colours, progress bars in place, 100,000 lines back.
import { Terminal } from "../vendor/xterm.mjs";
import { FitAddon } from "../vendor/addon-fit.mjs";
import { WebLinksAddon } from "../vendor/addon-web-links.mjs";
import { LogSearch } from "./search.js";

const SCROLLBACK = 100000;
const WIDE = 1000; // columns without wrapping
const THEME = { background: "#171412", foreground: "#e9e2da", cursor: "#171412", cursorAccent: "#171412", selectionBackground: "#b35c00", selectionInactiveBackground: "#b35c00", black: "#3b3531", red: "#ff8787", green: "#8ce99a", yellow: "#ffd43b", blue: "#74c0fc", magenta: "#d0a9f5", cyan: "#66d9e8", white: "#e9e2da", brightBlack: "#8f857c", brightRed: "#ffa8a8", brightGreen: "#b2f2bb", brightYellow: "#ffec99", brightBlue: "#a5d8ff", brightMagenta: "#e5dbff", brightCyan: "#99e9f2", brightWhite: "#fff9f2", overviewRulerBorder: "#171412", scrollbarSliderBackground: "#5c524b99", scrollbarSliderHoverBackground: "#7a6d64bb", scrollbarSliderActiveBackground: "#8f8177dd" };
const TINT = { o: "", e: "\x1b[38;2;255;192;150m", b: "\x1b[38;2;150;165;185m", s: "\x1b[38;2;255;146;72m" };
const PLAIN = "\x1b[0m";
const MARK_EVERY = 32 * 1024; // bytes of log
const NEEDLE = 60; // characters of a quote's line that are looked for
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class LogTerminal {
  constructor(element, { onFollow, onHits }) {
    this.element = element;
    this.terminal = new Terminal({ allowProposedApi: true, convertEol: true, disableStdin: true, cursorBlink: false, cursorInactiveStyle: "none", scrollback: SCROLLBACK, fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"), fontSize: innerWidth < 760 ? 11 : 13, lineHeight: 1.25, theme: THEME, overviewRuler: { width: 10 } });
    this.fit = new FitAddon();
    this.search = new LogSearch(this.terminal, onHits);
    for (const addon of [this.fit, new WebLinksAddon((event, uri) => open(uri, "_blank", "noopener"))]) this.terminal.loadAddon(addon);
    this.terminal.open(element);
    this.terminal.write("\x1b[?25l");
    this.terminal.textarea?.setAttribute("aria-label", "Log; the link Raw gives it as plain text");
    this.terminal.attachCustomKeyEventHandler((event) => this.onKey(event));
    this.terminal.onScroll(() => onFollow(this.following));
    element.addEventListener("wheel", () => setTimeout(() => onFollow(this.following), 60), { passive: true });
    element.addEventListener("touchmove", () => setTimeout(() => onFollow(this.following), 60), { passive: true });
    this.onFollow = onFollow;
    this.wrap = true;
    this.tint = "o";
    this.marks = []; // {attempt, offset, marker}: where pieces of the log begin
    new ResizeObserver(() => this.resize()).observe(element);
    this.resize();
  }

  get following() {
    const { viewportY, baseY } = this.terminal.buffer.active;
    return viewportY >= baseY;
  }

  resize() {
    const size = this.fit.proposeDimensions();
    if (!size || !Number.isFinite(size.cols) || size.rows < 2) return;
    this.terminal.resize(this.wrap ? Math.max(20, size.cols) : WIDE, size.rows);
  }

  setWrap(wrap) {
    this.wrap = wrap;
    this.element.style.overflowX = wrap ? "hidden" : "auto";
    this.resize();
  }

  /** The keys are the page's; only paging is the terminal's. */
  onKey(event) {
    if (event.type !== "keydown") return false;
    const pages = { PageUp: -1, PageDown: 1 }[event.key];
    const lines = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (pages) { this.terminal.scrollPages(pages); event.preventDefault(); }
    if (lines) { this.terminal.scrollLines(lines); event.preventDefault(); }
    if (pages || lines) this.onFollow(this.following);
    return false;
  }

  /** One binary frame: 4 bytes length, JSON header, raw bytes. Gives the header and the size. */
  write(frame, done) {
    const length = new DataView(frame).getUint32(0);
    const header = JSON.parse(decoder.decode(new Uint8Array(frame, 4, length)));
    const body = new Uint8Array(frame, 4 + length);
    this.mark(header);
    let at = 0;
    for (const [stream, size] of header.spans) {
      this.switchTo(stream);
      this.terminal.write(body.subarray(at, (at += size)));
    }
    this.terminal.write("", done);
    return { header, size: body.length };
  }

  /** Remembers where this place of the log is on the screen. */
  mark({ attempt, offset }) {
    const last = this.marks.at(-1);
    if (last?.attempt === attempt && offset - last.offset < MARK_EVERY) return;
    const mark = { attempt, offset, marker: null };
    this.marks.push(mark);
    this.terminal.write("", () => { mark.marker = this.terminal.registerMarker(0); });
  }

  /** Selects the last line of a quote and shows it with those before; false where it is not there. */
  showQuote({ attempt, end, lines }) {
    const from = this.marks.findIndex((mark) => mark.attempt === attempt && mark.offset < end);
    if (from < 0) return false;
    const behind = this.marks.find((mark, index) => index > from && (mark.attempt !== attempt || mark.offset >= end));
    const needle = lines.at(-1).trim().slice(0, NEEDLE).split(/[\t…]/)[0].toLowerCase();
    const first = this.marks[from].marker?.line ?? 0;
    for (let row = behind?.marker?.line ?? this.terminal.buffer.active.length - 1; row >= Math.max(0, first); row -= 1) {
      const columns = this.search.hitsIn(row, needle);
      if (!columns.length) continue;
      this.search.show({ row, column: columns[0] }, needle);
      this.terminal.scrollToLine(Math.max(0, row - Math.max(lines.length, Math.floor(this.terminal.rows / 2))));
      this.onFollow(this.following);
      return true;
    }
    return false;
  }

  switchTo(stream) {
    if (stream === this.tint) return;
    this.terminal.write(encoder.encode(`${TINT[this.tint] ? (this.tint === "e" ? "\x1b[39m" : PLAIN) : ""}${TINT[stream] ?? ""}`));
    this.tint = stream;
  }

  /** A line of the page's own, between attempts or where bytes are missing. */
  say(text, done) {
    this.switchTo("s");
    const fresh = this.terminal.buffer.active.cursorX > 0 ? "\n" : "";
    this.terminal.write(encoder.encode(`${fresh}── ${text}\n`), done);
    this.switchTo("o");
  }

  reset() {
    this.terminal.reset();
    this.marks = [];
    this.terminal.write("\x1b[?25l");
    this.tint = "o";
  }

  async find(text, back = false, stay = false) {
    if (!text) { this.search.clear(); return; }
    await this.search.find(text, back, stay);
    this.onFollow(this.following);
  }

  end() { this.terminal.scrollToBottom(); this.onFollow(true); }
  top() { this.terminal.scrollToTop(); this.onFollow(this.following); }
  get empty() { const { cursorX, cursorY, baseY } = this.terminal.buffer.active; return cursorX + cursorY + baseY === 0; }
}
