// The front page: a bundle becomes a job, and the jobs are listed live.
import { $, h, meter, say, toast } from "./dom.js";
import { Refusal, ask, newKey, upload } from "./api.js";
import { bytes, count, duration, joinArguments, now, readEnvironment, splitArguments, writeEnvironment } from "./format.js";
import { lookInto, readDrop, zipFolder } from "./bundle.js";
import { bindKeys } from "./keys.js";
import { startList } from "./list.js";
import { offerData, readData, writeData } from "./data_choice.js";
import { chooseSecrets, chosenSecrets, offerSecrets } from "./secret_choice.js";
import { keepNotes } from "./notes.js";
import { IN_PARTS, uploadParts } from "./parts.js";
import { maySubmit } from "./session.js";

const form = $("submit");
const field = (name) => form.elements[name];
const LEFT_OUT_SHOWN = 8;
let unasked = {}; // what a clone's spec has and the form does not ask for
let like = ""; // "?like=JOB" for a clone: its secrets stay on the server
let bundle = null; // {file, name} or {digest, name}
let sending = null; // AbortController while something is sent
let key = newKey();

// ---- choosing ----

async function takeZip(file) {
  if (!file || sending) return;
  if (file.size > Number(form.dataset.limit)) {
    toast(`${file.name} has ${bytes(file.size)}; at most ${bytes(Number(form.dataset.limit))} are taken. Leave out data and checkpoints.`, true);
    return;
  }
  show({ file, name: file.name }, `${bytes(file.size)} · reading its list…`);
  try {
    const inside = await lookInto(file);
    if (bundle?.file !== file) return;
    showInside(inside, file.size);
  } catch (error) {
    clearBundle();
    toast(error.message, true);
  }
}

async function takeFolder(found, name) {
  if (sending) return;
  show({ name }, `${count(found.length, "file")} · packing…`);
  const packing = bundle;
  $("send").disabled = true;
  try {
    const { blob, leftOut } = await zipFolder(found, (done, total) => say($("bundle-facts"), `packing ${bytes(done)} of ${bytes(total)}`));
    if (bundle !== packing) return;
    bundle.file = new File([blob], `${name}.zip`, { type: "application/zip" });
    showInside(await lookInto(bundle.file), blob.size);
    if (leftOut.size) noteLeftOut([...leftOut]);
  } catch (error) {
    clearBundle();
    toast(error.message, true);
  } finally {
    $("send").disabled = false;
  }
}

function show(next, facts) {
  bundle = next;
  key = newKey();
  form.hidden = false;
  $("drop").classList.add("small");
  $("drop-title").textContent = "Drop another .zip or folder to replace it";
  $("bundle-name").textContent = next.name;
  say($("bundle-facts"), facts);
  $("bundle-notes").replaceChildren();
  $("bundle-files").hidden = true;
  say($("submit-error"), "");
}

function showInside(inside, size) {
  say($("bundle-facts"), `${count(inside.files.length, "file")}${inside.cut ? " and more" : ""} · ${bytes(inside.total)} unpacked · ${bytes(size)} to send`);
  const biggest = inside.files.slice(0, 6);
  const most = Math.max(1, biggest[0].size);
  $("files").replaceChildren(...biggest.map((file) => h("li", {}, h("span", { class: "path", title: file.path }, file.path), meter(file.size / most, file.path), h("span", { class: "size" }, bytes(file.size)))));
  $("bundle-files").hidden = false;
  $("bundle-files").open = inside.files.length > 1;
  if (inside.warnings.length) note("This looks like more than code:", inside.warnings.map(({ what, files, size }) => `${what} (${count(files, "file")}, ${bytes(size)})`));
  if (inside.stripped) note(`All files lie in the folder “${inside.stripped}”; it is taken as the top.`, [], false);
  $("entries").replaceChildren(...inside.python.slice(0, 200).map((path) => h("option", { value: path })));
  offerEntry(inside);
  if (!field("name").value) field("name").placeholder = bundle.name.replace(/\.zip$/i, "");
}

function offerEntry(inside) {
  const names = new Set(inside.files.map(({ path }) => path));
  if (!names.has(field("entry").value) && inside.python.length) {
    field("entry").value = names.has("main.py") ? "main.py" : inside.python[0];
  }
  const check = () => {
    const missing = !names.has(field("entry").value) && !inside.cut;
    field("entry").setAttribute("aria-invalid", missing);
    say($("entry-hint"), missing ? "This file is not in the bundle." : inside.python.length > 1 ? `${inside.python.length} Python files to choose from` : "");
  };
  field("entry").oninput = check;
  check();
}

function note(text, items = [], warn = true) {
  $("bundle-notes").append(h("div", { class: warn ? "note warn" : "note" }, text, items.length ? h("ul", {}, items.map((item) => h("li", {}, item))) : null));
}

function noteLeftOut(names) {
  const more = names.length - LEFT_OUT_SHOWN;
  const items = names.slice(0, LEFT_OUT_SHOWN).map(([name, why]) => `${name} (${why})`);
  note(`Left out: ${count(names.length, "file or folder", "files or folders")}`, more > 0 ? [...items, `and ${more} more`] : items, false);
}

function clearBundle() {
  bundle = null;
  form.hidden = true;
  $("drop").classList.remove("small");
  $("drop-title").textContent = "Drop a .zip or a folder with your training code";
  $("zip-input").value = "";
  $("folder-input").value = "";
  if (location.search) history.replaceState(null, "", "/");
}

// ---- sending ----

/** The spec of the form; throws a Refusal that names the field. */
function readSpec() {
  const value = (name) => field(name).value.trim();
  const number = (name) => {
    const text = value(name);
    if (text === "" || !Number.isFinite(Number(text))) throw wrong(name, `“${text}” is not a number.`);
    return Number(text);
  };
  const attempt = (name, read) => { try { return read(field(name).value); } catch (error) { throw wrong(name, `${error.message}.`); } };
  const spec = {
    name: value("name") || field("name").placeholder.replace("what you call it", ""),
    entry: value("entry"),
    arguments: attempt("arguments", splitArguments),
    environment: attempt("environment", readEnvironment),
    secrets: chosenSecrets(),
    data: readData(field("data").value),
    pool: value("pool"),
    priority: number("priority"),
    network: value("network"),
    resources: { cpus: number("cpus"), memory: value("memory"), gpus: number("gpus"), shm: value("shm"), disk: value("disk") },
  };
  if (value("exclusive")) spec.exclusive = true;
  if (value("retries")) spec.retries = number("retries");
  for (const name of ["timeout", "idle_timeout", "queue_timeout", "python", "image", "image_secret"]) if (value(name)) spec[name] = value(name);
  return spec;
}

const wrong = (name, detail) => new Refusal({ field: name, detail });

async function send() {
  if (sending || !bundle || (!bundle.file && !bundle.digest)) return;
  say($("submit-error"), "");
  for (const element of form.querySelectorAll("[aria-invalid]")) element.removeAttribute("aria-invalid");
  sending = new AbortController();
  try {
    const { source, ...others } = unasked;
    const spec = { ...others, ...readSpec() };
    if (source && bundle.digest) spec.source = source; // of these files alone
    busy(true);
    const answer = bundle.digest
      ? await ask(`/jobs${like}`, { method: "POST", body: { spec, bundle: bundle.digest }, key })
      : bundle.file.size < IN_PARTS
        ? await upload(spec, bundle.file, bundle.file.name, key, progress(), sending.signal, like)
        : await uploadParts(spec, bundle.file, key, progress(), sending.signal, like);
    keepNotes(answer);
    location.href = `/jobs/${answer.job.id}`;
  } catch (error) {
    if (error.name !== "AbortError") refused(error);
    sending = null;
    busy(false);
  }
}

function refused(error) {
  const name = error.problem?.field?.replace(/^resources\./, "").split(".")[0];
  const quoted = () => [...form.querySelectorAll("input, textarea")].find(({ value }) => value && error.message.includes(`'${value}'`));
  const element = (name && field(name)) || quoted(); // a rule over several fields quotes the value that it means
  if (element) {
    if ($("more").contains(element)) $("more").open = true;
    element.setAttribute("aria-invalid", "true");
    element.focus();
  }
  say($("submit-error"), error.message);
  $("submit-error").scrollIntoView({ block: "nearest" });
  if (error.problem?.code !== "offline") key = newKey(); // a refused click made no job; the next one is a new one
}

function busy(on) {
  $("send").disabled = on;
  $("send").textContent = on ? "Submitting…" : "Submit the job";
  $("abort").hidden = !on || !bundle?.file;
  $("progress").hidden = !on;
  $("progress-bar").value = 0;
  $("progress-text").textContent = "";
}

function progress() {
  let began = null; // when, and behind how many bytes that were there already
  let checking = null;
  return (sent, total, cut = false) => {
    if (total === 0) {
      $("progress-bar").removeAttribute("value");
      $("abort").hidden = true;
      const since = now();
      const tell = () => { $("progress-text").textContent = `Sent. Checking the bundle… ${now() - since > 2 ? duration(now() - since) : ""}`; };
      tell();
      checking ??= setInterval(() => (sending ? tell() : clearInterval(checking)), 500);
      return;
    }
    began ??= { at: now(), sent };
    const rate = Math.max(0, sent - began.sent) / Math.max(0.05, now() - began.at);
    const share = `${Math.floor((sent / total) * 100)} % · ${bytes(sent)} of ${bytes(total)}`;
    $("progress-bar").value = sent / total;
    $("progress-text").textContent = cut ? `${share} · the connection was cut, trying again…` : `${share} · ${(rate / 1e6).toFixed(rate > 1e7 ? 0 : 1)} MB/s`;
  };
}

// ---- samples, clones ----

async function offerSamples() {
  const { samples } = await ask("/samples");
  if (!samples.length) return;
  $("samples").replaceChildren(...samples.map(({ name, title, text }) => h("option", { value: name, title: text }, title)));
  $("samples").hidden = samples.length < 2;
  $("run-sample").hidden = false;
  const tell = () => { $("run-sample").title = samples[$("samples").selectedIndex]?.text ?? ""; };
  $("samples").addEventListener("change", tell);
  tell();
}

async function runSample() {
  $("run-sample").disabled = true;
  try {
    const answer = await ask(`/samples/${$("samples").value}`, { method: "POST", key: newKey() });
    location.href = `/jobs/${answer.job.id}`;
  } catch (error) {
    toast(error.message, true);
    $("run-sample").disabled = false;
  }
}

async function cloneFrom(id) {
  const { job } = await ask(`/jobs/${encodeURIComponent(id)}`);
  show({ digest: job.bundle, name: `The bundle of ${job.spec.name || job.spec.entry}` }, `${bytes(job.bundle_size)} · stored already, nothing to send · job ${job.id}`);
  const { spec } = job;
  like = `?like=${job.id}`;
  unasked = { grace: spec.grace, source: spec.source };
  const values = { name: spec.name, entry: spec.entry, arguments: joinArguments(spec.arguments), environment: writeEnvironment(spec.environment), data: writeData(spec.data ?? []), pool: spec.pool, priority: spec.priority, network: spec.network, cpus: spec.resources.cpus, memory: size(spec.resources.memory), gpus: spec.resources.gpus, shm: size(spec.resources.shm), disk: size(spec.resources.disk), timeout: spec.timeout ?? "", idle_timeout: spec.idle_timeout ?? "", queue_timeout: spec.queue_timeout ?? "", retries: spec.retries ?? "", exclusive: spec.exclusive ? "yes" : "", python: spec.python ?? "", image: spec.image ?? "", image_secret: spec.image_secret ?? "" };
  for (const [name, value] of Object.entries(values)) field(name).value = value;
  chooseSecrets(spec.secrets ?? []);
  summarize();
}

function size(count) {
  for (const [unit, one] of [["g", 2 ** 30], ["m", 2 ** 20], ["k", 2 ** 10]]) if (count % one === 0) return `${count / one}${unit}`;
  return String(count);
}

function summarize() {
  const gpus = Number(field("gpus").value) ? `, ${count(Number(field("gpus").value), "GPU")}` : "";
  $("more-summary").textContent = `${field("cpus").value} CPU, ${field("memory").value} memory${gpus}, ${field("timeout").value ? `at most ${field("timeout").value}` : "no time limit"}, network ${field("network").selectedOptions[0]?.text ?? "off"}`;
}

// ---- wiring ----

function bindDrop() {
  let depth = 0;
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => { if (carries(event)) { depth += 1; $("drop").classList.add("over"); } });
  addEventListener("dragleave", (event) => { if (carries(event) && (depth -= 1) <= 0) { depth = 0; $("drop").classList.remove("over"); } });
  addEventListener("dragover", (event) => { if (carries(event)) event.preventDefault(); });
  addEventListener("drop", async (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    depth = 0;
    $("drop").classList.remove("over");
    const dropped = await readDrop(event.dataTransfer);
    if (dropped.zip) takeZip(dropped.zip); else takeFolder(dropped.folder, dropped.name);
  });
}

$("pick-zip").addEventListener("click", () => $("zip-input").click());
$("pick-folder").addEventListener("click", () => $("folder-input").click());
$("zip-input").addEventListener("change", (event) => takeZip(event.target.files[0]));
$("folder-input").addEventListener("change", (event) => {
  const files = [...event.target.files];
  if (files.length) takeFolder(files.map((file) => ({ path: file.webkitRelativePath.split("/").slice(1).join("/") || file.name, file })), files[0].webkitRelativePath.split("/")[0]);
});
$("bundle-clear").addEventListener("click", () => { if (!sending) clearBundle(); });
$("abort").addEventListener("click", () => sending?.abort());
$("run-sample").addEventListener("click", runSample);
form.addEventListener("submit", (event) => { event.preventDefault(); send(); });
form.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); send(); } });
form.addEventListener("input", () => { summarize(); if (!sending) key = newKey(); });
addEventListener("beforeunload", (event) => { if (sending && bundle?.file && !$("abort").hidden) event.preventDefault(); });
field("arguments").addEventListener("input", () => {
  try { const words = splitArguments(field("arguments").value); say($("arguments-hint"), words.length > 1 ? `${words.length} arguments` : ""); field("arguments").removeAttribute("aria-invalid"); }
  catch (error) { say($("arguments-hint"), error.message); }
});

if (maySubmit()) bindDrop();
summarize();
const list = startList();
bindKeys({ "/": () => $("search").focus(), u: () => { if (maySubmit()) $("pick-zip").click(); }, j: () => list.move(1), k: () => list.move(-1), x: () => list.pick() });
if (maySubmit()) offerSamples().catch(() => {});
if (maySubmit()) offerSecrets().catch(() => {});
if (maySubmit()) offerData(field("data")).catch(() => {});
const from = new URLSearchParams(location.search).get("from");
if (from && maySubmit()) cloneFrom(from).catch((error) => toast(error.message, true));
