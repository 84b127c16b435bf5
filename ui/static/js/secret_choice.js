// Which of one's secrets does a new job get? Ticked in the form; of a clone, as it had them.
import { $, h } from "./dom.js";
import { ask } from "./api.js";

let names = []; // all that can be ticked
let uses = new Map(); // name → how the cloned job takes it, several times perhaps

export async function offerSecrets() {
  const { secrets } = await ask("/secrets");
  names = [...new Set([...secrets.map(({ name }) => name), ...names])].sort();
  show(new Set(chosen()));
}

/** Those of a spec. One that is not there is offered too: the server says what is wrong. */
export function chooseSecrets(given) {
  uses = new Map();
  for (const use of given) uses.set(use.name, [...(uses.get(use.name) ?? []), use]);
  names = [...new Set([...names, ...uses.keys()])].sort();
  show(new Set(uses.keys()));
}

/** For a spec: as a variable of its own name, unless the clone had it another way. */
export const chosenSecrets = () => chosen().flatMap((name) => uses.get(name) ?? [name]);

const chosen = () => [...$("secret-ticks").querySelectorAll("input:checked")].map(({ value }) => value);

function show(ticked) {
  $("secret-choice").hidden = !names.length;
  $("secret-ticks").replaceChildren(...names.map((name) => h("label", {},
    h("input", { type: "checkbox", value: name, checked: ticked.has(name) }), h("code", {}, name), told(name))));
}

function told(name) {
  const targets = (uses.get(name) ?? []).map(({ variable, file }) => file ?? variable).filter((target) => target && target !== name);
  return targets.length ? h("small", {}, ` as ${targets.join(", ")}`) : null;
}
