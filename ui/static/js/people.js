// Users, their roles and teams; for admins.
import { $, h, say, toast } from "./dom.js";
import { ask, newKey } from "./api.js";
import { ago, count, moment } from "./format.js";
import { bindKeys } from "./keys.js";
import { copy } from "./sharing.js";

const ROLES = ["viewer", "member", "admin"];
const form = $("add-form").elements;
const me = document.body.dataset.user;
const teamsOf = (text) => [...new Set(text.toLowerCase().split(/[\s,]+/).filter(Boolean))];

async function load() {
  try {
    const { users } = await ask("/people");
    $("people-facts").textContent = count(users.length, "user");
    $("people-rows").replaceChildren(...users.map(row));
  } catch (error) {
    say($("people-error"), error.message);
  }
}

function row({ name, role, teams, email, password, issuer, seen_at: seen }) {
  const facts = [email, issuer ? "single sign-on" : "", password || issuer ? "" : "no password yet"].filter(Boolean).join(" · ");
  return h("tr", { "data-person": name },
    h("td", { "data-label": "Name" }, h("div", {}, h("b", {}, name), name === me ? " (you)" : "", facts ? h("div", { class: "sub" }, facts) : null)),
    h("td", { "data-label": "Role" }, h("select", { "aria-label": `Role of ${name}`, onchange: (event) => change(name, { role: event.target.value }) }, ROLES.map((one) => h("option", { value: one, selected: one === role }, one)))),
    h("td", { "data-label": "Teams" }, h("input", { "aria-label": `Teams of ${name}`, value: teams.join(", "), autocomplete: "off", spellcheck: "false", autocapitalize: "none", placeholder: "none", onchange: (event) => change(name, { teams: teamsOf(event.target.value) }) })),
    h("td", { "data-label": "Last signed in", title: seen ? moment(seen) : "" }, seen ? ago(seen) : "never"),
    h("td", {}, h("div", { class: "row" },
      h("button", { type: "button", onclick: (event) => makeLink(name, event.target) }, "Sign-in link"),
      name === me ? null : h("button", { type: "button", class: "danger", "aria-label": `Remove ${name}`, onclick: (event) => remove(name, event.target) }, "Remove"))));
}

async function change(name, body) {
  say($("people-error"), "");
  try {
    await ask(`/people/${name}`, { method: "PUT", body });
    await load();
    toast(`${name} is changed.`);
  } catch (error) {
    await load();
    say($("people-error"), error.message);
  }
}

async function add() {
  const name = form.name.value.trim().toLowerCase();
  if (!name) { say($("people-error"), "Write a name."); form.name.focus(); return; }
  $("add").disabled = true;
  say($("people-error"), "");
  try {
    await ask(`/people/${encodeURIComponent(name)}`, { method: "PUT", body: { role: form.role.value, teams: teamsOf(form.teams.value), email: form.email.value.trim() || null, new: true } });
    $("add-form").reset();
    await makeLink(name, $("add"));
    await load();
  } catch (error) {
    say($("people-error"), error.message);
  } finally {
    $("add").disabled = false;
  }
}

async function makeLink(name, button) {
  button.disabled = true;
  say($("people-error"), "");
  try {
    const { link, expires_at: ends } = await ask(`/people/${encodeURIComponent(name)}/link`, { method: "POST", body: { seconds: 86400 }, key: newKey() });
    say($("link-words"), `Send this to ${name} by a way that only they read. It works once, until ${moment(ends)}, and is not shown again.`);
    $("link-secret").textContent = `${location.origin}${link}`;
    $("link-made").hidden = false;
    $("link-made").scrollIntoView({ block: "nearest" });
  } catch (error) {
    say($("people-error"), error.message);
  } finally {
    button.disabled = false;
  }
}

/** Asked for twice, as the cancelling of a job is. */
async function remove(name, button) {
  if (!button.classList.contains("sure")) {
    button.classList.add("sure");
    button.textContent = "Press again to remove";
    setTimeout(() => { button.classList.remove("sure"); button.textContent = "Remove"; }, 4000);
    return;
  }
  button.disabled = true;
  try {
    await ask(`/people/${name}`, { method: "DELETE" });
    toast(`${name} is removed.`);
  } catch (error) {
    say($("people-error"), error.message);
  }
  load();
}

$("add-form").addEventListener("submit", (event) => { event.preventDefault(); add(); });
$("link-copy").addEventListener("click", () => copy($("link-secret").textContent, $("link-secret")));
bindKeys({});
load();
