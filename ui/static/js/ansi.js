// What do the colour sequences (ESC [ … m) of a row say? All other control was resolved by the server.

const SEQUENCE = /\x1b\[([0-9;:]*)m/g;
const LEVELS = [0, 95, 135, 175, 215, 255];
const FLAGS = { 1: "bold", 2: "dim", 3: "italic", 4: "under", 7: "inverse", 8: "hidden", 9: "strike", 53: "over" };
const ENDS = { 22: ["bold", "dim"], 23: ["italic"], 24: ["under"], 27: ["inverse"], 28: ["hidden"], 29: ["strike"], 55: ["over"] };
const UNDERLINES = ["", "under", "under double", "under curly", "under dotted", "under dashed"];

/** The text alone, as it is searched and copied. */
export const plain = (text) => (text.includes("\x1b") ? text.replace(SEQUENCE, "") : text);

/** {parts: [{text, names, color, back}], cut}: the first `limit` characters with their look. */
export function styled(text, limit = Infinity) {
  if (!text.includes("\x1b")) {
    const cut = text.length > limit;
    return { parts: text ? [{ text: cut ? whole(text, limit) : text, names: "", color: "", back: "" }] : [], cut };
  }
  const parts = [];
  let state = { marks: {}, fore: null, ground: null };
  let at = 0;
  let left = limit;
  const take = (to) => {
    const piece = whole(text.slice(at, to), left);
    if (piece) parts.push({ text: piece, ...look(state) });
    left -= piece.length;
    return at + piece.length === to;
  };
  for (const found of text.matchAll(SEQUENCE)) {
    if (!take(found.index)) return { parts, cut: true };
    state = after(state, found[1]);
    at = found.index + found[0].length;
  }
  return { parts, cut: !take(text.length) };
}

/** At most so many characters, and never half of a pair. */
function whole(text, length) {
  if (text.length <= length) return text;
  const pair = /[\ud800-\udbff]/.test(text[length - 1] ?? "");
  return text.slice(0, Math.max(0, pair ? length - 1 : length));
}

function after(before, codes) {
  let state = { ...before, marks: { ...before.marks } };
  const words = codes === "" ? ["0"] : codes.split(";");
  for (let i = 0; i < words.length; i += 1) {
    const [code, ...more] = words[i].split(":").map(Number);
    if (code === 0) state = { marks: {}, fore: null, ground: null };
    else if (code === 4 && more.length) state.marks.under = UNDERLINES[more[0]] ?? "under";
    else if (code === 21) state.marks.under = "under double";
    else if (FLAGS[code]) state.marks[FLAGS[code]] = FLAGS[code];
    else if (ENDS[code]) for (const name of ENDS[code]) delete state.marks[name];
    else if (code === 38 || code === 48 || code === 58) {
      const [color, used] = more.length ? [extended(more), 0] : following(words, i + 1);
      i += used;
      if (code === 38) state.fore = color ?? state.fore;
      if (code === 48) state.ground = color ?? state.ground;
    }
    else if (code === 39) state.fore = null;
    else if (code === 49) state.ground = null;
    else if (code >= 30 && code <= 37) state.fore = code - 30;
    else if (code >= 40 && code <= 47) state.ground = code - 40;
    else if (code >= 90 && code <= 97) state.fore = code - 82;
    else if (code >= 100 && code <= 107) state.ground = code - 92;
  }
  return state;
}

/** 38;5;N and 38;2;R;G;B: the colour, and how many words it took. */
function following(words, at) {
  const kind = Number(words[at]);
  const used = kind === 5 ? 2 : kind === 2 ? 4 : 1;
  return [extended([kind, ...words.slice(at + 1, at + used).map(Number)]), used];
}

/** [5, N], [2, R, G, B] or [2, space, R, G, B]. */
function extended([kind, ...values]) {
  if (kind === 5 && values[0] >= 0 && values[0] < 256) return values[0];
  const rgb = values.length > 3 ? values.slice(1, 4) : values;
  if (kind === 2 && rgb.length === 3 && rgb.every((value) => value >= 0 && value < 256)) return hex(rgb);
  return null;
}

const hex = (rgb) => `#${rgb.map((value) => value.toString(16).padStart(2, "0")).join("")}`;

/** Of the 256 colours those behind the first 16, which the style sheet knows. */
function cube(index) {
  if (index >= 232) return hex(Array(3).fill(8 + (index - 232) * 10));
  const n = index - 16;
  return hex([LEVELS[Math.floor(n / 36)], LEVELS[Math.floor(n / 6) % 6], LEVELS[n % 6]]);
}

function look({ marks, fore, ground }) {
  const [front, behind] = marks.inverse ? [ground ?? "ground", fore ?? "text"] : [fore, ground];
  const names = Object.keys(marks).filter((name) => name !== "inverse").map((name) => marks[name]);
  let color = "";
  let back = "";
  if (front === "ground" || (typeof front === "number" && front < 16)) names.push(`f-${front}`);
  else if (front !== null) color = readable(typeof front === "number" ? cube(front) : front, behind === null);
  if (behind === "text" || (typeof behind === "number" && behind < 16)) names.push(`b-${behind}`);
  else if (behind !== null) back = typeof behind === "number" ? cube(behind) : behind;
  return { names: names.join(" "), color, back };
}

/** Colours too dark for the log's ground are made lighter, as terminals with a least contrast do. */
function readable(color, onGround) {
  if (!onGround) return color;
  const rgb = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  const light = (0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]) / 255;
  if (light >= 0.36) return color;
  const mix = (0.36 - light) / (1 - light);
  return hex(rgb.map((value) => Math.round(value + (255 - value) * mix)));
}
