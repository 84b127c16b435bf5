// The API page: examples with this server's own address.
import { bindKeys } from "./keys.js";

for (const element of document.querySelectorAll("[data-origin]")) element.textContent = location.origin;
bindKeys({});
