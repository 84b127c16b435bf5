// What was a job made of, and with which command is it repeated?
import { askBytes } from "./api.js";
import { $, h, toast } from "./dom.js";
import { currentOf, fill } from "./job_facts.js";

const link = (job) => job && h("a", { href: `/jobs/${job}` }, job);

function sourceOf({ source }) {
  if (!source) return null;
  const state = { true: ", with changes that are not in it", false: "", null: ", changed or not: unknown" }[source.dirty];
  return h("span", {}, h("span", { class: "mono" }, source.commit), source.branch ? ` on ${source.branch}` : "", state);
}

export function showReproduce(job) {
  const newest = currentOf(job);
  const environment = newest?.environment;
  const { command, seeds } = job.reproduce ?? { command: `stoker submit --like ${job.id}`, seeds: {} };
  if ($("reproduce-command").textContent !== command) $("reproduce-command").textContent = command;
  fill($("reproduce"), [
    ["Repeats", link(job.retry_of)],
    ["Begins from", link(job.spec.resume)],
    ["Like", link(job.like)],
    ["Git", sourceOf(job.spec)],
    ["Bundle", job.bundle, true],
    ["Base", environment?.base, true],
    ["Its digest", environment?.digest, true],
    ["Environment", environment?.key, true],
    ["Image", environment?.image, true],
    ["Python", environment?.python],
    ["Runtime", newest && `${newest.runtime || "unknown"} on ${newest.worker}`],
    ["Seed", Object.entries(seeds).map(([name, value]) => `${name} ${value}`).join(", "), true],
  ]);
  showPackages(job);
}

/** They are many: fetched when somebody looks. */
function showPackages(job) {
  const told = [...job.attempts].reverse().find((one) => one.environment?.packages);
  $("packages").hidden = !told;
  if (!told) return;
  $("packages").dataset.digest = told.environment.packages;
  $("packages-get").href = `/api/v1/jobs/${job.id}/packages?attempt=${told.number}`;
  $("packages-get").download = `${job.id}-packages.txt`;
  loadPackages();
}

async function loadPackages() {
  const { digest, shown } = $("packages").dataset;
  if (!$("packages").open || shown === digest) return;
  $("packages").dataset.shown = digest;
  try {
    const bytes = await askBytes($("packages-get").getAttribute("href").replace("/api/v1", ""));
    $("packages-list").textContent = new TextDecoder().decode(bytes);
  } catch (error) {
    delete $("packages").dataset.shown;
    $("packages-list").textContent = error.message;
  }
}

export function bindReproduce() {
  $("packages").addEventListener("toggle", loadPackages);
  $("reproduce-copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText($("reproduce-command").textContent);
      toast("Copied the command.");
    } catch {
      getSelection().selectAllChildren($("reproduce-command"));
      toast("The browser does not let the page copy: press Ctrl-C.", true);
    }
  });
}
