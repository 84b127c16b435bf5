// The dialog that shares one job by a link, and takes links back.
import { $, h, say, toast } from "./dom.js";
import { ask, newKey } from "./api.js";
import { moment } from "./format.js";

export function bindSharing(job) {
  if (!$("share")) return;
  const address = `/jobs/${job}/shares`;
  let key = newKey();

  async function load() {
    try {
      const { shares } = await ask(address);
      say($("share-error"), "");
      $("shares").replaceChildren(...shares.map(row));
    } catch (error) {
      say($("share-error"), error.message);
    }
  }

  function row({ id, by, expires_at: ends }) {
    return h("li", {}, h("span", {}, `Made by ${by}, ends ${moment(ends)}`), h("button", { type: "button", class: "danger", onclick: (event) => revoke(id, event.target) }, "Take back"));
  }

  async function make() {
    $("share-make").disabled = true;
    try {
      const made = await ask(address, { method: "POST", body: { seconds: Number($("share-form").elements.seconds.value) }, key });
      key = newKey();
      $("share-link").textContent = `${location.origin}${made.link}`;
      $("share-made").hidden = false;
      await load();
    } catch (error) {
      say($("share-error"), error.message);
    } finally {
      $("share-make").disabled = false;
    }
  }

  async function revoke(id, button) {
    button.disabled = true;
    try {
      await ask(`${address}/${id}`, { method: "DELETE" });
      $("share-made").hidden = true;
      toast("The link is void.");
      await load();
    } catch (error) {
      say($("share-error"), error.message);
      button.disabled = false;
    }
  }

  $("share").addEventListener("click", () => { $("share-made").hidden = true; $("share-dialog").showModal(); load(); });
  $("share-form").addEventListener("submit", (event) => { event.preventDefault(); make(); });
  $("share-copy").addEventListener("click", () => copy($("share-link").textContent, $("share-link")));
}

/** Where the clipboard is not there (plain HTTP on a name), the text is marked for Ctrl-C. */
export async function copy(text, element) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied.");
  } catch {
    getSelection().selectAllChildren(element);
    toast("Press Ctrl-C to copy.");
  }
}
