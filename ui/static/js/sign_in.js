// Signing in: by password, or by a one-time link that waits for a click (previews of links do not click).
import { $, say } from "./dom.js";
import { ask } from "./api.js";
import { duration, now } from "./format.js";
import { bindKeys } from "./keys.js";

const form = $("by-password");
const next = $("sign-in").dataset.next; // a path of this server: it looked
const link = new URLSearchParams(location.hash.slice(1)).get("link");
let waiting = null;

async function enter(body, button) {
  button.disabled = true;
  say($("sign-in-error"), "");
  try {
    const me = await ask("/sign-in", { method: "POST", body });
    location.replace(me.password === false ? "/account?welcome" : next);
  } catch (error) {
    const wait = error.problem?.retry_after;
    if (error.problem?.status === 429 && wait) { holdBack(error.message, wait, button); return; }
    say($("sign-in-error"), error.message);
    button.disabled = false;
    form.elements.password.value = "";
    if (!form.hidden) form.elements.password.focus();
  }
}

/** The service says how long; the button counts down. */
function holdBack(message, seconds, button) {
  const until = now() + seconds;
  const words = button.textContent;
  const tick = () => {
    const left = Math.ceil(until - now());
    if (left <= 0) { clearInterval(waiting); waiting = null; say($("sign-in-error"), ""); button.textContent = words; button.disabled = false; return; }
    button.textContent = `Try again in ${duration(Math.max(1, left)).replace(".0", "")}`;
  };
  say($("sign-in-error"), message);
  clearInterval(waiting);
  waiting = setInterval(tick, 500);
  tick();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if ($("enter").disabled) return;
  const [name, password] = ["name", "password"].map((field) => form.elements[field].value);
  if (!name || !password) { say($("sign-in-error"), "Write your name and your password."); form.elements[name ? "password" : "name"].focus(); return; }
  enter({ name: name.trim().toLowerCase(), password }, $("enter"));
});

if (link) {
  history.replaceState(null, "", location.pathname + location.search); // not into the history, nor over a shoulder
  $("by-link").hidden = false;
  $("link-text").textContent = `This link signs you in as ${link.split(".")[0]}: once, in this browser.`;
  for (const element of [form, $("by-provider"), $("sign-in-help")]) if (element) element.hidden = true;
  $("use-link").addEventListener("click", () => enter({ link }, $("use-link")));
  $("use-link").focus();
} else {
  form.elements.name.focus();
}
addEventListener("hashchange", () => { if (location.hash.includes("link=")) location.reload(); }); // pasted here
bindKeys({});
