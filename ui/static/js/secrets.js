// One's own secrets: set, replaced, removed; a value goes in and never comes back.
import { $, h, say, toast } from "./dom.js";
import { ask } from "./api.js";
import { ago, count, moment } from "./format.js";
import { bindKeys } from "./keys.js";
import { maySubmit } from "./session.js";

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
const SHORTEST = 6;
const wishes = $("secret-form").elements;

async function load() {
  try {
    const { secrets } = await ask("/secrets");
    say($("secrets-error"), "");
    $("secrets-facts").textContent = secrets.length ? count(secrets.length, "secret") : "";
    $("secrets-rows").replaceChildren(...secrets.map(row));
    $("secrets-table").hidden = !secrets.length;
    say($("secrets-empty"), secrets.length ? "" : "No secrets yet.");
  } catch (error) {
    say($("secrets-error"), error.message);
  }
}

function row({ name, set_at: at }) {
  return h("tr", {},
    h("td", { "data-label": "Name", class: "mono" }, h("b", {}, name)),
    h("td", { "data-label": "Set", title: moment(at) }, ago(at)),
    h("td", {}, maySubmit() ? h("button", { type: "button", class: "danger", "aria-label": `Remove ${name}`, onclick: (event) => remove(name, event.target) }, "Remove") : null));
}

function wrong(element, text) {
  say($("secret-error"), text);
  element.setAttribute("aria-invalid", "true");
  element.focus();
}

async function set() {
  const name = wishes.name.value.trim();
  for (const element of [wishes.name, wishes.value]) element.removeAttribute("aria-invalid");
  say($("secret-error"), "");
  if (!NAME.test(name)) return wrong(wishes.name, "A name has letters, digits and '_', and does not begin with a digit.");
  if (!wishes.value.value) return wrong(wishes.value, "Write the value.");
  $("secret-save").disabled = true;
  try {
    await ask(`/secrets/${name}`, { method: "PUT", body: { value: wishes.value.value } });
    $("secret-form").reset();
    hint();
    toast(`${name} is set.`);
    await load();
  } catch (error) {
    say($("secret-error"), error.message);
  } finally {
    $("secret-save").disabled = false;
  }
}

async function remove(name, button) {
  if (!button.dataset.sure) {
    button.dataset.sure = "yes";
    button.textContent = "Really remove";
    button.addEventListener("blur", () => { delete button.dataset.sure; button.textContent = "Remove"; }, { once: true });
    return;
  }
  button.disabled = true;
  try {
    await ask(`/secrets/${name}`, { method: "DELETE" });
    toast(`${name} is removed.`);
    await load();
  } catch (error) {
    say($("secrets-error"), error.message);
    button.disabled = false;
  }
}

function hint() {
  const { length } = wishes.value.value;
  say($("secret-hint"), length && length < SHORTEST ? `Shorter than ${SHORTEST} characters: logs do not hide it.` : "");
}

$("secret-form").addEventListener("submit", (event) => { event.preventDefault(); set(); });
wishes.value.addEventListener("input", hint);
$("secret-form").hidden = !maySubmit();
bindKeys({});
load();
