// Which data does a new job get? One line each, NAME:/PATH; a click on what there is adds one.
import { $, h } from "./dom.js";
import { ask } from "./api.js";
import { bytes } from "./format.js";

const SHOWN = 30;
const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

/** For a spec. */
export const readData = lines;

/** Of a spec, as it was asked for and with the versions that it got. */
export const writeData = (mounts) => mounts.map((mount) => `${textOf(mount)}:${mount.path}`).join("\n");

export const textOf = ({ name, owner, version, source }) => source || `${owner && owner !== document.body.dataset.user ? `${owner}/` : ""}${name}${version ? `@${version}` : ""}`;

/** `field` is the text area; what is clicked is told to it as if it had been written. */
export async function offerData(field) {
  const { datasets } = await ask("/data");
  $("data-offers").hidden = !datasets.length;
  $("data-offers").replaceChildren(...datasets.slice(0, SHOWN).map((dataset) => {
    const newest = dataset.versions.at(-1);
    const text = textOf(dataset);
    const add = () => {
      if (lines(field.value).some((line) => line.split(":")[0].split("@")[0] === text)) return;
      field.value = [...lines(field.value), `${text}:/data/${dataset.name}`].join("\n");
      field.dispatchEvent(new Event("input", { bubbles: true }));
    };
    return h("button", { type: "button", class: "quiet", title: newest.note || `version ${newest.number}`, onclick: add }, `${text} · ${bytes(newest.size)}`);
  }));
}
