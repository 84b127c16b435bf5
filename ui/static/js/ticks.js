// Where in the whole log are the hits? Ticks beside the scrollbar.

import { h } from "./dom.js";

const WIDTH = 6;

export class Ticks {
  constructor(view, outline) {
    this.view = view;
    this.outline = outline;
    this.canvas = h("canvas", { class: "ticks", width: WIDTH, height: 0, "aria-hidden": "true" });
  }

  /** `numbers` of rows that match, of which `now` is the one in view; `all` says whether they are all. */
  draw(numbers, now, all) {
    const { canvas, outline } = this;
    const { height } = this.view;
    const wanted = all && numbers.length > 0 && !outline.matches && outline.length > 0;
    canvas.hidden = !wanted;
    if (!wanted) return;
    canvas.height = height;
    const pen = canvas.getContext("2d");
    const mark = (n, colour, thick) => { pen.fillStyle = colour; pen.fillRect(0, Math.round((outline.indexOf(n) / outline.length) * (height - thick)), WIDTH, thick); };
    for (const n of numbers) mark(n, "#b98900", 2);
    if (now) mark(now, "#ffc078", 4);
  }
}
