// A field that finds people by name or id: a list under it, which arrows, Enter and Escape work as well as a pointer.

import { h, mark } from "../dom.js";
import { short } from "../format.js";
import { named, nameOf, state } from "../store.js";
import { field } from "./parts.js";

const SHOWN_MAX = 8;
const ID = /@[A-Za-z0-9+/]{43}=\.ed25519/;
const FAR = 99;

const hopsOf = (id) => state.peers.get(id)?.hops ?? FAR;

/** Everybody who is known, but ourselves. */
const everybody = () => new Set([...state.peers.keys(), ...named().map(([id]) => id)]);

/** Who fits what was typed, the nearest first; of those who are equally near, whose name begins with it. */
export function matching(text, without = []) {
  const typed = text.trim().toLowerCase();
  const found = [];
  for (const id of everybody()) {
    if (id === state.me.id || without.includes(id) || state.peers.get(id)?.blocked) continue;
    const name = (nameOf(id) ?? "").toLowerCase();
    const fits = name.includes(typed) || (typed.length > 1 && id.toLowerCase().startsWith(typed));
    if (fits && (name || typed)) found.push({ id, hops: hopsOf(id), later: !name.startsWith(typed), name });
  }
  const order = (one, other) =>
    one.hops - other.hops || one.later - other.later || (one.name < other.name ? -1 : one.name > other.name ? 1 : 0);
  return found.sort(order).map(({ id }) => id);
}

/** Ids of whom a text may mean: of more than one where several call themselves so, which anybody can do. */
export function meant(text) {
  const id = text.match(ID)?.[0];
  if (id) return [id];
  const typed = text.trim().toLowerCase();
  const called = named().filter(([one, name]) => one !== state.me.id && name.toLowerCase() === typed);
  return called.map(([one]) => one);
}

/** The field: `chosen(id)` is called; `taken()` gives ids that are not offered. */
export class PeopleField {
  constructor(label, { chosen, taken }) {
    this.chosen = chosen;
    this.taken = taken;
    this.at = -1;
    this.ids = [];
    this.list = h("ul", { class: "offers", role: "listbox", id: "people", "aria-label": "Known people", hidden: true });
    // A field loses the keyboard to what is pressed: the list must not go before it was chosen from.
    this.list.addEventListener("pointerdown", (event) => event.preventDefault());
    this.input = h("input", {
      type: "text",
      role: "combobox",
      autocomplete: "off",
      spellcheck: "false",
      maxlength: 256,
      placeholder: "A name or an id",
      "aria-autocomplete": "list",
      "aria-expanded": "false",
      "aria-controls": "people",
      oninput: () => this.offer(),
      onfocus: () => this.offer(),
      onclick: () => this.offer(),
      onblur: () => this.close(),
      onkeydown: (event) => this.key(event),
    });
    this.element = field(label, this.input, "finds");
    this.element.append(this.list);
  }

  offer() {
    this.ids = matching(this.input.value, this.taken()).slice(0, SHOWN_MAX);
    this.at = -1;
    this.list.replaceChildren(...this.ids.map((id, index) => this.option(id, index)));
    this.list.hidden = this.ids.length === 0;
    mark(this.input, "aria-expanded", String(!this.list.hidden));
    mark(this.input, "aria-activedescendant", null);
  }

  option(id, index) {
    return h(
      "li",
      { role: "option", id: `person-${index}`, "aria-selected": "false", onclick: () => this.choose(id) },
      h("bdi", { class: "name" }, nameOf(id) ?? short(id)),
      h("span", { class: "id" }, nameOf(id) ? short(id) : ""),
    );
  }

  close() {
    this.list.hidden = true;
    this.at = -1;
    mark(this.input, "aria-expanded", "false");
    mark(this.input, "aria-activedescendant", null);
  }

  key(event) {
    if (event.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (this.list.hidden) this.offer();
      this.move(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Enter" && this.at >= 0) {
      event.preventDefault();
      this.choose(this.ids[this.at]);
    } else if (event.key === "Escape" && !this.list.hidden) {
      event.stopPropagation();
      this.close();
    }
  }

  /** To the next one or the one before; beyond the last is the first. */
  move(by) {
    const amount = this.ids.length;
    if (!amount) return;
    this.at = this.at < 0 && by < 0 ? amount - 1 : (this.at + by + amount) % amount;
    for (const [index, node] of [...this.list.children].entries()) {
      mark(node, "aria-selected", String(index === this.at));
    }
    mark(this.input, "aria-activedescendant", `person-${this.at}`);
    this.list.children[this.at].scrollIntoView({ block: "nearest" });
  }

  choose(id) {
    this.input.value = "";
    this.close();
    this.chosen(id);
    this.input.focus();
    this.close();
  }
}
