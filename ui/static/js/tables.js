// How do lines of text become rows of a table? Nothing here trusts what it reads.

export const ROWS = 500;
export const COLUMNS = 60;

/** Rows of cells, by RFC 4180; `separator` is a comma or a tab. Stops after `most` rows. */
export function separated(text, separator, most = ROWS + 1) {
  const rows = [];
  let row = [];
  let cell = "";
  let quoted = false;
  const endRow = () => { row.push(cell); rows.push(row.slice(0, COLUMNS)); row = []; cell = ""; };
  for (let at = 0; at < text.length && rows.length < most; at += 1) {
    const c = text[at];
    if (quoted) {
      if (c !== '"') cell += c;
      else if (text[at + 1] === '"') { cell += c; at += 1; } else quoted = false;
    } else if (c === '"' && cell === "") quoted = true;
    else if (c === separator) { row.push(cell); cell = ""; }
    else if (c === "\n") endRow();
    else if (c !== "\r") cell += c;
  }
  if (rows.length < most && (cell !== "" || row.length)) endRow();
  return rows;
}

/** {head, rows} of a list of flat objects; null where it is none. */
export function ofObjects(list) {
  const flat = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
  if (!Array.isArray(list) || !list.length || !list.every(flat)) return null;
  const head = [];
  for (const one of list.slice(0, ROWS)) for (const name of Object.keys(one)) if (head.length < COLUMNS && !head.includes(name)) head.push(name);
  const rows = list.slice(0, ROWS).map((one) => head.map((name) => shown(one[name])));
  return { head, rows };
}

function shown(value) {
  if (value === undefined || value === null) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** The values of lines that hold one JSON each; null where one does not. The last may be cut. */
export function ofLines(text) {
  const lines = text.split("\n").filter((line) => line.trim());
  const values = [];
  for (const [at, line] of lines.slice(0, ROWS).entries()) {
    try { values.push(JSON.parse(line)); } catch { if (at < lines.length - 1) return null; }
  }
  return values.length ? values : null;
}
