// Long lists: only the rows that can be seen are in the document, each at its place by its number. All rows have one height.

import { keyed, mark } from "./dom.js";

const BEYOND = 6;
const FIRST_GUESS = 24;

/**
 * A list in a box that scrolls. `row`: {key, make, update} as for `keyed`; `label` names it.
 * Give it its items with `show(items)`.
 */
export class LongList {
  constructor({ label, height, row }) {
    this.list = document.createElement("ul");
    this.list.setAttribute("role", "list");
    this.list.setAttribute("aria-label", label);
    this.element = document.createElement("div");
    this.element.className = "long";
    this.element.tabIndex = 0;
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", `${label}, scrolls`);
    this.element.append(this.list);
    this.height = height;
    this.row = row;
    this.items = [];
    this.drawing = false;
    this.element.addEventListener("scroll", () => this.later(), { passive: true });
    new ResizeObserver(() => this.later()).observe(this.element);
  }

  show(items) {
    this.items = items;
    this.list.style.height = `${items.length * this.height}px`;
    this.element.style.maxHeight = `${items.length * this.height + 1}px`;
    this.draw();
  }

  later() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.draw();
    });
  }

  draw() {
    const seen = Math.ceil(this.element.clientHeight / this.height) || FIRST_GUESS;
    const from = Math.max(0, Math.floor(this.element.scrollTop / this.height) - BEYOND);
    const items = this.items.slice(from, from + seen + 2 * BEYOND);
    keyed(this.list, items, this.row);
    let number = from;
    for (const node of this.list.children) {
      node.style.top = `${number * this.height}px`;
      number += 1;
      mark(node, "aria-posinset", number);
      mark(node, "aria-setsize", this.items.length);
    }
  }
}
