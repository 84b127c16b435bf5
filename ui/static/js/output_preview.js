// How is one file that a job wrote shown? As an image, or as text: nothing of it is ever run.
import { h } from "./dom.js";
import { bytes, moment } from "./format.js";
import { COLUMNS, ROWS, ofLines, ofObjects, separated } from "./tables.js";

const TEXT = 256 * 1024; // bytes that are read of a text
const WHOLE = 4 * 1024 * 1024; // and of what can only be read as a whole
const IMAGE = 32 * 1024 * 1024;
const CELLS = 300;
const PICTURE = /^[A-Za-z0-9+/=\s]{1,4000000}$/;
const COLOUR_CODES = /\x1b\[[0-9;]*m/g;

let turn = 0;

/** Fills `element`; a later call takes the place of one that is still reading. */
export async function preview(element, address, file) {
  turn += 1;
  const mine = turn;
  const name = file.path.slice(file.path.lastIndexOf("/") + 1);
  const body = h("div", { class: "preview-body" }, h("p", { class: "muted" }, "Reading…"));
  const notes = h("p", { class: "muted" });
  element.replaceChildren(
    h("div", { class: "preview-head" },
      h("div", {}, h("b", {}, name), h("div", { class: "muted" }, `${bytes(file.size)} · ${moment(file.modified)}`)),
      h("span", { class: "grow" }),
      ["image", "text", "json", "table"].includes(file.kind) ? h("a", { class: "button quiet", href: `${address}&inline=1`, target: "_blank", rel: "noopener" }, "Open") : null,
      h("a", { class: "button", href: address, download: name }, "Download")),
    body, notes);
  let shown;
  try {
    shown = await made(address, file);
  } catch (error) {
    shown = [h("p", { class: "muted" }, `It cannot be shown: ${error.message}`), ""];
  }
  if (mine !== turn) return;
  body.replaceChildren(...[shown[0]].flat());
  notes.textContent = shown[1];
}

/** [elements, what else is to be said] */
async function made(address, file) {
  if (!file.size) return [h("p", { class: "muted" }, "The file is empty."), ""];
  if (file.kind === "image") return image(address, file);
  if (file.kind === "binary") return nothing();
  if (file.kind === "notebook" && file.size <= WHOLE) return notebook(JSON.parse(await read(address, WHOLE)));
  if (file.kind === "json") return json(address, file);
  const text = await read(address, TEXT);
  if (file.kind === "table") return table(text, file);
  if (file.kind === "unknown" && /\0/.test(text)) return nothing();
  return plain(text, file);
}

const nothing = () => [h("p", { class: "muted" }, "There is no preview of such a file: download it."), ""];

async function read(address, most) {
  const answer = await fetch(address, { headers: { Range: `bytes=0-${most - 1}` }, signal: AbortSignal.timeout(30000) });
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  return new TextDecoder().decode(await answer.arrayBuffer());
}

function image(address, file) {
  if (file.size > IMAGE) return [h("p", { class: "muted" }, "The image is too large to be shown here."), ""];
  const picture = h("img", { src: `${address}&inline=1`, alt: file.path });
  picture.addEventListener("error", () => picture.replaceWith(h("p", { class: "muted" }, "This is not an image that the browser can read.")));
  return [picture, ""];
}

function plain(text, file) {
  return [h("pre", { tabindex: "0" }, text), file.size > TEXT ? `The first ${bytes(TEXT)} of ${bytes(file.size)}.` : ""];
}

async function json(address, file) {
  const text = await read(address, file.size <= WHOLE ? WHOLE : TEXT);
  let value = null;
  try { value = JSON.parse(text); } catch { value = ofLines(text); }
  const rows = ofObjects(value);
  if (rows) return [grid(rows.head, rows.rows), value.length > ROWS || file.size > WHOLE ? `The first ${ROWS} rows.` : ""];
  if (value === null || file.size > WHOLE) return plain(text.slice(0, TEXT), file);
  return plain(JSON.stringify(value, null, 2).slice(0, TEXT), file);
}

function table(text, file) {
  const rows = separated(text, file.path.toLowerCase().endsWith(".tsv") ? "\t" : ",");
  if (!rows.length) return plain(text, file);
  const whole = file.size <= TEXT && rows.length <= ROWS;
  if (file.size > TEXT) rows.pop(); // the last one may be cut
  const [head, ...rest] = rows;
  return [grid(head ?? [], rest.slice(0, ROWS)), whole ? "" : `The first ${Math.min(ROWS, rest.length)} rows, and ${COLUMNS} columns at most.`];
}

function grid(head, rows) {
  const number = (cell) => cell !== "" && !Number.isNaN(Number(cell));
  return h("div", { class: "grid", tabindex: "0" }, h("table", {},
    h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", { class: number(cell) ? "number" : null }, cell.slice(0, 500))))))));
}

// ---- notebooks: text cells, and pictures that are pictures ----

function notebook(book) {
  if (!Array.isArray(book?.cells)) throw new Error("this is no notebook");
  const cells = book.cells.slice(0, CELLS).flatMap((cell) => notebookCell(cell ?? {}));
  return [cells, book.cells.length > CELLS ? `The first ${CELLS} of ${book.cells.length} cells.` : ""];
}

function notebookCell(cell) {
  const source = joined(cell.source);
  if (cell.cell_type !== "code") return source ? [h("div", { class: "cell-text" }, source)] : [];
  const mark = Number.isInteger(cell.execution_count) ? `[${cell.execution_count}]` : "[ ]";
  const outputs = Array.isArray(cell.outputs) ? cell.outputs.flatMap(notebookOutput) : [];
  return [h("div", { class: "cell-code" }, h("span", { class: "muted" }, mark), h("pre", {}, source)), ...outputs];
}

function notebookOutput(output) {
  const picture = output?.data?.["image/png"];
  if (picture && PICTURE.test(joined(picture))) return [h("img", { src: `data:image/png;base64,${joined(picture).replaceAll(/\s/g, "")}`, alt: "output of the cell" })];
  const text = joined(output?.text ?? output?.data?.["text/plain"] ?? output?.traceback?.join?.("\n"));
  return text ? [h("pre", { class: "cell-output" }, text.replaceAll(COLOUR_CODES, "").slice(0, TEXT))] : [];
}

const joined = (text) => (Array.isArray(text) ? text.map(String).join("") : typeof text === "string" ? text : "");
