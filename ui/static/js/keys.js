// Which key does what? Single letters act only where nobody types.
import { $ } from "./dom.js";

const typing = (target) => target instanceof HTMLElement && (target.isContentEditable || ["INPUT", "SELECT", "TEXTAREA"].includes(target.tagName));

export function bindKeys(actions) {
  const help = $("help");
  $("help-button").addEventListener("click", () => help.showModal());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (event.key === "Escape") {
      if (typing(event.target)) event.target.blur();
      actions.Escape?.();
      return;
    }
    if (typing(event.target)) return;
    const action = event.key === "?" ? () => help.showModal() : actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
