// What do the lines of a chart stand at? A table, which also switches them on and off.
import { h } from "./dom.js";
import { writer } from "./chart_words.js";

/** Rows for lines of {label, colour, dash, track, hidden}; `onToggle(index, alone)` answers a press. */
export class LineTable {
  constructor(onToggle) {
    this.onToggle = onToggle;
    this.rows = [];
    this.body = h("tbody");
    this.element = h("table", { class: "chart-table" },
      h("thead", {}, h("tr", {}, ...["Line", "Last", "Min", "Max", "Here"].map((name) => h("th", { scope: "col" }, name)))), this.body);
  }

  show(lines, unit) {
    this.write = writer(unit);
    this.rows = lines.map((line, index) => this.row(line, index));
    this.body.replaceChildren(...this.rows.map(({ element }) => element));
    this.refresh();
  }

  row(line, index) {
    const button = h("button", { type: "button", class: "line-toggle", "aria-pressed": String(!line.hidden), title: "Show or hide; with Shift this one alone", onclick: (event) => this.onToggle(index, event.shiftKey) },
      h("i", { class: "swatch", "data-line": line.colour % 10, "data-dash": line.dash % 4 }), h("span", {}, line.label));
    const cells = Array.from({ length: 4 }, () => h("td"));
    const element = h("tr", {}, h("th", { scope: "row" }, button), ...cells);
    return { line, button, cells, element, here: "" };
  }

  /** The last values as they are known now. */
  refresh() {
    for (const { line: { track: { summary } }, cells } of this.rows) {
      const last = summary.last === null ? summary.last_bad : this.write(summary.last);
      put(cells[0], last ?? "");
      cells[0].classList.toggle("bad", summary.last === null && Boolean(summary.last_bad));
      put(cells[1], summary.min === null ? "" : this.write(summary.min));
      put(cells[2], summary.max === null ? "" : this.write(summary.max));
    }
  }

  toggled() {
    for (const { line, button } of this.rows) button.setAttribute("aria-pressed", String(!line.hidden));
  }

  /** The values under the pointer, null where there is none; `meant` is the row next to it. */
  here(values, meant) {
    this.rows.forEach(({ cells, element }, index) => {
      const value = values?.[index];
      put(cells[3], value === undefined ? "" : value === null ? "–" : this.write(value));
      if (element.classList.contains("meant") !== (index === meant)) element.classList.toggle("meant", index === meant);
    });
  }

  /** The same in one sentence. */
  words(values) {
    const each = this.rows.map(({ line }, index) => (line.hidden || values[index] === undefined ? "" : `${line.label} ${values[index] === null ? "no number" : this.write(values[index])}`));
    return each.filter(Boolean).join(", ");
  }
}

function put(cell, text) {
  if (cell.textContent !== text) cell.textContent = text;
}
