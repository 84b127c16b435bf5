// One's own account: password, sessions, tokens.
import { $, h, say, toast } from "./dom.js";
import { ask, newKey } from "./api.js";
import { ago, moment } from "./format.js";
import { bindKeys } from "./keys.js";
import { copy } from "./sharing.js";

const SCOPES = { viewer: "only look", member: "submit and stop jobs", admin: "rule over everything" };
const passwords = $("password-form").elements;
const wishes = $("token-form").elements;
let mine = ""; // id of this session
let key = newKey();

// ---- password ----

async function setPassword() {
  if (!passwords.new.value) { say($("password-error"), "Write a new password."); passwords.new.focus(); return; }
  $("password-save").disabled = true;
  say($("password-error"), "");
  try {
    await ask("/me/password", { method: "POST", body: { old: passwords.old.value, new: passwords.new.value } });
    $("password-form").reset();
    toast("The password is set; your other sessions have ended.");
    loadSessions();
  } catch (error) {
    say($("password-error"), error.message);
  } finally {
    $("password-save").disabled = false;
  }
}

// ---- sessions ----

async function loadSessions() {
  try {
    const { sessions } = await ask("/me/sessions");
    say($("sessions-error"), "");
    $("sessions").replaceChildren(...sessions.map(({ id, address, created_at: made, seen_at: seen }) => h("li", {},
      h("span", {}, h("b", {}, id === mine ? "This one" : address || "Another"), h("small", {}, ` signed in ${ago(made)}${id === mine && address ? ` from ${address}` : ""}${seen && id !== mine ? `, last seen ${ago(seen)}` : ""}`)))));
    $("sessions-end").hidden = !sessions.some(({ id }) => id !== mine);
  } catch (error) {
    say($("sessions-error"), error.message);
  }
}

async function endOthers() {
  $("sessions-end").disabled = true;
  try {
    await ask("/me/sessions/end", { method: "POST" });
    toast("You are signed out everywhere else.");
    await loadSessions();
  } catch (error) {
    say($("sessions-error"), error.message);
  } finally {
    $("sessions-end").disabled = false;
  }
}

// ---- tokens ----

async function loadTokens() {
  try {
    const { tokens } = await ask("/tokens");
    $("token-rows").replaceChildren(...tokens.map(tokenRow));
    $("token-table").hidden = !tokens.length;
    say($("tokens-empty"), tokens.length ? "" : "No tokens yet.");
  } catch (error) {
    say($("tokens-error"), error.message);
  }
}

function tokenRow({ id, name, scope, created_at: made, last_used_at: used, expires_at: ends }) {
  return h("tr", {},
    h("td", { "data-label": "For" }, h("b", {}, name)), h("td", { "data-label": "May" }, SCOPES[scope]),
    h("td", { "data-label": "Made", title: moment(made) }, ago(made)), h("td", { "data-label": "Last used" }, used ? ago(used) : "never"),
    h("td", { "data-label": "Ends" }, ends ? moment(ends) : "when revoked"),
    h("td", {}, h("button", { type: "button", class: "danger", "aria-label": `Revoke ${name}`, onclick: (event) => revoke(id, event.target) }, "Revoke")));
}

async function makeToken() {
  const name = wishes.name.value.trim();
  if (!name) { say($("tokens-error"), "Say what the token is for, so that you know it again."); wishes.name.focus(); return; }
  $("token-make").disabled = true;
  say($("tokens-error"), "");
  try {
    const { secret } = await ask("/tokens", { method: "POST", body: { name, scope: wishes.scope.value, seconds: wishes.seconds.value ? Number(wishes.seconds.value) : null }, key });
    key = newKey();
    wishes.name.value = "";
    $("token-secret").textContent = secret;
    $("token-made").hidden = false;
    await loadTokens();
  } catch (error) {
    say($("tokens-error"), error.message);
  } finally {
    $("token-make").disabled = false;
  }
}

async function revoke(id, button) {
  button.disabled = true;
  try {
    await ask(`/tokens/${id}`, { method: "DELETE" });
    $("token-made").hidden = true;
    await loadTokens();
  } catch (error) {
    say($("tokens-error"), error.message);
    button.disabled = false;
  }
}

$("password-form").addEventListener("submit", (event) => { event.preventDefault(); setPassword(); });
$("sessions-end").addEventListener("click", endOthers);
$("token-form").addEventListener("submit", (event) => { event.preventDefault(); makeToken(); });
$("token-copy").addEventListener("click", () => copy($("token-secret").textContent, $("token-secret")));
if (new URLSearchParams(location.search).has("welcome")) {
  history.replaceState(null, "", "/account");
  toast("You are in. Set a password, so that you can come back.");
  passwords.new.focus();
}
bindKeys({});
ask("/me").then((me) => { mine = me.way === "session" ? me.key : ""; }).catch(() => {}).finally(loadSessions);
loadTokens();
