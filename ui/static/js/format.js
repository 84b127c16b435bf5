// How are sizes, times and arguments written for people?

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(count) {
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) { value /= 1024; unit += 1; }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "";
  const s = Math.max(0, seconds);
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function ago(at) {
  const seconds = now() - at;
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return new Date(at * 1000).toLocaleDateString();
}

export const now = () => Date.now() / 1000;
export const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
export const moment = (at) => new Date(at * 1000).toLocaleString();
export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

/** Splits as a shell would: quotes and backslashes, no expansions. Throws on an open quote. */
export function splitArguments(text) {
  const words = [];
  let word = null;
  let quote = "";
  for (let i = 0; i < text.length; i += 1) {
    const c = text[i];
    if (quote) {
      if (c === quote) quote = "";
      else if (c === "\\" && quote === '"' && '"\\$`'.includes(text[i + 1] ?? " ")) word += text[(i += 1)];
      else word += c;
    } else if (c === "'" || c === '"') { quote = c; word ??= ""; }
    else if (/\s/.test(c)) { if (word !== null) words.push(word); word = null; }
    else if (c === "\\") {
      if (i + 1 === text.length) throw new Error("a backslash at the end escapes nothing");
      word = (word ?? "") + text[(i += 1)];
    }
    else word = (word ?? "") + c;
  }
  if (quote) throw new Error(`a ${quote} is not closed`);
  if (word !== null) words.push(word);
  return words;
}

export function joinArguments(words) {
  return words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(" ");
}

/** `KEY=VALUE` lines to an object; throws with the line that is none. */
export function readEnvironment(text) {
  const found = {};
  for (const line of text.split("\n")) {
    if (line.trim() === "" || line.trimStart().startsWith("#")) continue;
    const at = line.indexOf("=");
    if (at < 1) throw new Error(`“${line.trim().slice(0, 60)}” is not KEY=VALUE`);
    found[line.slice(0, at).trim()] = line.slice(at + 1);
  }
  return found;
}

export const writeEnvironment = (values) => Object.entries(values).map(([key, value]) => `${key}=${value}`).join("\n");

const SIGNALS = { 1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV", 13: "SIGPIPE", 15: "SIGTERM" };
const REASONS = {
  oom: "It ran out of memory",
  timeout: "It ran longer than its time limit",
  idle_timeout: "It was silent for longer than allowed",
  queue_timeout: "It waited longer than allowed",
  cancelled: "It was cancelled",
  build_failed: "Its environment could not be built",
  image_unavailable: "Its image is not available",
  data_unavailable: "Its data is not available",
  secret_unavailable: "A secret of it is not available",
  outputs_too_large: "Its outputs are too large",
  disk_full: "The worker's disk is full",
  worker_lost: "Its worker was lost",
  lease_expired: "Its lease ran out",
  engine_restarted: "The container engine was restarted",
  preempted: "It was preempted",
  agent_error: "The agent had a problem",
};

/** Why it ended, in one sentence. */
export function reasonText(reason, exitCode, signal, detail) {
  if (!reason) return detail || "";
  let text = REASONS[reason] ?? reason;
  if (reason === "exit") {
    if (signal) text = `Ended by ${SIGNALS[signal] ?? `signal ${signal}`}`;
    else if (exitCode === 0) text = "Finished with exit code 0";
    else text = `Failed with exit code ${exitCode ?? "unknown"}`;
  }
  if (!detail || detail.toLowerCase().replace(/\.$/, "") === text.toLowerCase()) return `${text}.`;
  return `${text}: ${detail.replace(/\.$/, "")}.`;
}
