// Which files of a dropped folder are sent, and why not the others? As the command decides it.
import ignore from "../vendor/ignore.mjs";

export const NEVER = new Set([".git", ".hg", ".svn", ".venv", "venv", "__pycache__", "node_modules", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints", ".tox", ".DS_Store", "__MACOSX"]);
const IGNORE_FILES = [".gitignore", ".stokerignore"]; // the second may take back what the first ignores
const MOST_BYTES = 2 ** 20; // of an ignore file

/** {kept: [{path, file}], leftOut: Map of a file, or of a folder with a slash, to why}. */
export async function split(found) {
  const rules = await rulesOf(found);
  const kept = [];
  const leftOut = new Map();
  for (const one of found) {
    const [name, why] = decide(one.path, rules);
    if (why) leftOut.set(name, why); else kept.push(one);
  }
  return { kept, leftOut };
}

/** The ignore files from the root down, the nearest last. */
async function rulesOf(found) {
  const named = found.filter(({ path, file }) => IGNORE_FILES.includes(path.split("/").at(-1)) && file.size <= MOST_BYTES);
  const order = ({ path }) => path.split("/").length * 2 + IGNORE_FILES.indexOf(path.split("/").at(-1));
  named.sort((a, b) => order(a) - order(b));
  return Promise.all(named.map(async ({ path, file }) => ({ prefix: path.slice(0, path.lastIndexOf("/") + 1), source: path, rules: ignore().add(await file.text()) })));
}

/** [what is left out, why]: the topmost folder that is; ["", ""] for what is sent. */
function decide(path, rules) {
  const parts = path.split("/");
  for (let depth = 1; depth <= parts.length; depth += 1) {
    const folder = depth < parts.length;
    const name = parts.slice(0, depth).join("/") + (folder ? "/" : "");
    const why = name === "" ? "" : against(name, rules, parts[depth - 1]);
    if (why) return [name, why];
  }
  return ["", ""];
}

function against(name, rules, last) {
  for (const { prefix, source, rules: one } of rules.toReversed()) {
    const inside = name.startsWith(prefix) ? name.slice(prefix.length) : "";
    if (!inside || !ignore.isPathValid(inside)) continue;
    if (one.ignores(inside)) return source;
    if (takenBack(one, inside)) return "";
  }
  return NEVER.has(last) ? "never wanted" : "";
}

/** Whether `!` names it, or a folder that it lies in. */
function takenBack(rules, inside) {
  const parts = inside.replace(/\/$/, "").split("/");
  const above = parts.slice(0, -1).map((_, depth) => `${parts.slice(0, depth + 1).join("/")}/`);
  return [inside, ...above].some((name) => rules.test(name).unignored);
}
