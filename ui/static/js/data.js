// Which data is there, in which versions? What is one's own can be deleted.
import { $, h, say, toast } from "./dom.js";
import { ask } from "./api.js";
import { ago, bytes, count, moment } from "./format.js";
import { bindKeys } from "./keys.js";
import { isAdmin, maySubmit } from "./session.js";

const { user } = document.body.dataset;
const address = ({ owner, name }) => `/data/${encodeURIComponent(owner)}/${encodeURIComponent(name)}`;
const mine = ({ owner }) => maySubmit() && (owner === user || isAdmin());
const called = ({ owner, name }) => (owner === user ? name : `${owner}/${name}`);

async function load() {
  try {
    const { datasets } = await ask("/data");
    say($("data-error"), "");
    $("data-facts").textContent = datasets.length ? count(datasets.length, "dataset") : "";
    $("data-list").replaceChildren(...datasets.map(card));
    say($("data-empty"), datasets.length ? "" : "No data yet.");
  } catch (error) {
    say($("data-error"), error.message);
  }
}

function card(dataset) {
  const versions = [...dataset.versions].reverse();
  const [newest] = versions;
  return h("section", { class: "card", "aria-label": called(dataset) },
    h("div", { class: "list-head" }, h("h2", {}, called(dataset)), h("span", { class: "muted" }, `${bytes(newest.size)} in ${count(newest.files, "file")} · ${count(versions.length, "version")}`)),
    h("div", { class: "scroll" }, h("table", { class: "list plain-list" },
      h("thead", {}, h("tr", {}, ...["Version", "Size", "Files", "Put", "Note"].map((text) => h("th", { scope: "col" }, text)), h("th", { scope: "col" }, h("span", { class: "unseen" }, "Delete")))),
      h("tbody", {}, versions.map((version) => row(dataset, version))))));
}

function row(dataset, { number, size, files, at, note }) {
  const name = `${called(dataset)}@${number}`;
  return h("tr", {},
    h("td", { "data-label": "Version", class: "mono" }, name),
    h("td", { "data-label": "Size" }, bytes(size)),
    h("td", { "data-label": "Files" }, files.toLocaleString("en")),
    h("td", { "data-label": "Put", title: moment(at) }, ago(at)),
    h("td", { "data-label": "Note" }, note ?? ""),
    h("td", {}, mine(dataset) ? h("button", { type: "button", class: "danger", "aria-label": `Delete ${name}`, onclick: (event) => remove(dataset, number, event.target) }, "Delete") : null));
}

async function remove(dataset, number, button) {
  if (!button.dataset.sure) {
    button.dataset.sure = "yes";
    button.textContent = "Really delete";
    button.addEventListener("blur", () => { delete button.dataset.sure; button.textContent = "Delete"; }, { once: true });
    return;
  }
  button.disabled = true;
  try {
    await ask(`${address(dataset)}?version=${number}`, { method: "DELETE" });
    toast(`${called(dataset)}@${number} is deleted.`);
    await load();
  } catch (error) {
    say($("data-error"), error.message);
    button.disabled = false;
  }
}

bindKeys({});
load();
