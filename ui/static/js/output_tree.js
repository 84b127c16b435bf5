// How are the files of a folder shown as a tree, and kept in place while they change?
import { h } from "./dom.js";
import { bytes } from "./format.js";

const ROWS = 400; // of one folder; the others are shown when they are asked for

/** Folders are filled when they are opened: a job may have written thousands of files. */
export class Tree {
  constructor(element, onChoose) {
    Object.assign(this, { element, onChoose });
    this.open = new Set();
    this.folded = new Set();
    this.marked = "";
    this.files = [];
    element.addEventListener("click", (event) => this.choose(event));
  }

  show(files) {
    const marks = files.map(({ path, sha256 }) => path + sha256).join();
    if (marks === this.marks) return;
    this.marks = marks;
    this.files = files;
    this.root = grown(files);
    this.draw();
  }

  mark(path) {
    this.marked = path;
    for (const row of this.element.querySelectorAll("[data-path]")) row.setAttribute("aria-current", String(row.dataset.path === path));
  }

  choose(event) {
    const row = event.target.closest("[data-path]");
    const file = row && this.files.find(({ path }) => path === row.dataset.path);
    if (file) this.onChoose(file);
  }

  draw() {
    const alone = this.root.folders.size === 1 && !this.root.files.length;
    this.element.replaceChildren(...this.rows(this.root, "", alone));
    this.mark(this.marked);
  }

  rows(folder, prefix, unfolded) {
    const folders = [...folder.folders].map(([name, inner]) => this.folder(name, inner, `${prefix}${name}/`, unfolded));
    const files = folder.files.slice(0, ROWS).map((file) => this.file(file));
    if (folder.files.length > ROWS) files.push(h("li", { class: "muted" }, `and ${folder.files.length - ROWS} more`));
    return [...folders, ...files];
  }

  folder(name, inner, path, unfolded) {
    const list = h("ul");
    const fill = () => { if (!list.children.length) { list.append(...this.rows(inner, path, false)); this.mark(this.marked); } };
    const isOpen = this.open.has(path) || (unfolded && !this.folded.has(path));
    const details = h("details", { open: isOpen }, h("summary", {}, h("span", { class: "name" }, `${name}/`), h("span", { class: "size" }, bytes(inner.size))), list);
    if (isOpen) fill();
    details.addEventListener("toggle", () => {
      this[details.open ? "open" : "folded"].add(path);
      this[details.open ? "folded" : "open"].delete(path);
      if (details.open) fill();
    });
    return h("li", {}, details);
  }

  file(file) {
    const name = file.path.slice(file.path.lastIndexOf("/") + 1);
    return h("li", {}, h("button", { type: "button", class: "quiet", "data-path": file.path, title: file.path }, h("span", { class: "name" }, name), h("span", { class: "size" }, bytes(file.size))));
  }
}

/** {folders: Map, files: [], size}, from paths with slashes. */
function grown(files) {
  const make = () => ({ folders: new Map(), files: [], size: 0 });
  const root = make();
  for (const file of files) {
    let place = root;
    place.size += file.size;
    for (const part of file.path.split("/").slice(0, -1)) {
      if (!place.folders.has(part)) place.folders.set(part, make());
      place = place.folders.get(part);
      place.size += file.size;
    }
    place.files.push(file);
  }
  return root;
}
