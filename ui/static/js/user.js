// The menu of who is signed in.
import { $, toast } from "./dom.js";
import { ask } from "./api.js";

const menu = $("user-menu");

async function signOut() {
  $("sign-out").disabled = true;
  try {
    await ask("/sign-out", { method: "POST" });
    location.assign("/sign-in");
  } catch (error) {
    toast(error.message, true);
    $("sign-out").disabled = false;
  }
}

$("sign-out").addEventListener("click", signOut);
document.addEventListener("pointerdown", (event) => { if (!menu.contains(event.target)) menu.open = false; });
menu.addEventListener("keydown", (event) => { if (event.key === "Escape") { menu.open = false; menu.querySelector("summary").focus(); } });
