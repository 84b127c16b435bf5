// Where in the terminal is a text? Row by row and in slices, so that a million characters freeze nothing.

const SLICE = 12; // milliseconds of work before the page gets a turn
const MOST = 10000; // hits that are counted

export class LogSearch {
  constructor(terminal, onHits) {
    this.terminal = terminal;
    this.onHits = onHits;
    this.serial = 0;
  }

  clear() {
    this.serial += 1;
    this.terminal.clearSelection();
    this.onHits(-1, 0, false);
  }

  /** Selects the nearest hit before or after where one is; `stay` allows the hit that is selected. */
  async find(text, back, stay) {
    const mine = (this.serial += 1);
    const needle = text.toLowerCase();
    const { buffer } = this.terminal;
    const place = this.terminal.getSelectionPosition();
    const { viewportY, length } = buffer.active;
    const from = place ? { row: place.start.y, column: place.start.x + (stay || back ? 0 : 1) } : { row: back ? length - 1 : viewportY, column: 0 };
    const total = length;
    let hit = null;
    for (let step = 0; step <= total && !hit; step += 1) {
      const row = (from.row + (back ? -step : step) + total * 2) % total;
      const hits = this.hitsIn(row, needle);
      const first = step === 0;
      const fitting = hits.filter((column) => !first || (back ? column < from.column : column >= from.column));
      const chosen = step === total ? hits : fitting;
      if (chosen.length) hit = { row, column: chosen[back ? chosen.length - 1 : 0] };
      if (step % 500 === 499 && !(await this.turn(mine))) return;
    }
    if (hit) this.show(hit, needle);
    else this.terminal.clearSelection();
    await this.count(mine, needle, hit);
  }

  show({ row, column }, needle) {
    this.terminal.select(column, row, this.width(row, column, needle.length));
    const { viewportY } = this.terminal.buffer.active;
    if (row < viewportY || row >= viewportY + this.terminal.rows) this.terminal.scrollToLine(Math.max(0, row - Math.floor(this.terminal.rows / 2)));
  }

  async count(mine, needle, active) {
    let hits = 0;
    let index = -1;
    for (let row = 0; row < this.terminal.buffer.active.length && hits < MOST; row += 1) {
      for (const column of this.hitsIn(row, needle)) {
        if (active && row === active.row && column === active.column) index = hits;
        hits += 1;
      }
      if (row % 500 === 499 && !(await this.turn(mine))) return;
    }
    this.onHits(index, hits, hits >= MOST);
  }

  /** Columns at which the text begins in this row; it may end in the next, where the line was wrapped. */
  hitsIn(row, needle) {
    const { active } = this.terminal.buffer;
    const line = active.getLine(row);
    if (!line) return [];
    const next = active.getLine(row + 1);
    const own = line.translateToString(!next?.isWrapped).toLowerCase();
    const text = next?.isWrapped ? own + next.translateToString(true, 0, needle.length).toLowerCase() : own;
    const found = [];
    for (let at = text.indexOf(needle); at !== -1 && at < own.length; at = text.indexOf(needle, at + needle.length)) found.push(this.column(line, at));
    return found;
  }

  /** The column of a character: wide ones take two. */
  column(line, index) {
    let at = 0;
    for (let column = 0; column < line.length; column += 1) {
      if (at >= index) return column;
      const cell = line.getCell(column);
      if (cell.getWidth()) at += cell.getChars().length || 1;
    }
    return line.length - 1;
  }

  width(row, column, length) {
    const line = this.terminal.buffer.active.getLine(row);
    let characters = 0;
    let width = 0;
    while (characters < length && column + width < line.length) {
      const cell = line.getCell(column + width);
      if (cell.getWidth()) characters += cell.getChars().length || 1;
      width += 1;
    }
    return width + (length - characters);
  }

  /** Lets the page draw when the slice is over; false where a newer search has begun. */
  async turn(mine) {
    if (performance.now() - (this.began ?? 0) < SLICE) return mine === this.serial;
    await new Promise((resolve) => setTimeout(resolve));
    this.began = performance.now();
    return mine === this.serial;
  }
}
