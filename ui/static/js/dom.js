// How is a piece of page made, found and told about?

export const $ = (id) => document.getElementById(id);

/** An element; text goes in as text nodes, never as HTML. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** A bar that is filled to a share of 0 to 1. */
export function meter(share, label) {
  const fill = h("i");
  const percent = Math.round(Math.min(1, Math.max(0, share)) * 100);
  fill.style.width = `${percent}%`;
  return h("div", { class: "meter", role: "meter", "aria-label": label, "aria-valuenow": percent, "aria-valuemin": 0, "aria-valuemax": 100 }, fill);
}

export function toast(text, bad = false) {
  const element = h("div", { class: bad ? "toast bad" : "toast" }, text);
  $("toasts").append(element);
  setTimeout(() => element.remove(), Math.max(bad ? 8000 : 3500, text.length * 70));
}

/** Text into an element, and the element away where there is none. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
  element.hidden = text === "";
}

export function chip(state) {
  return h("span", { class: "chip", "data-state": state }, state);
}
