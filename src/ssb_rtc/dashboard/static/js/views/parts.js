// Small pieces that several views show.

import { h, mark, say } from "../dom.js";
import { HUB_STATES, hue, short, STATES } from "../format.js";
import { nameOf, state } from "../store.js";
import { openPeer } from "./sheet.js";

/** A coloured square with a letter, by which somebody is known again at a glance. */
export function face(id) {
  const node = h("span", { class: "face", "aria-hidden": "true" });
  drawFace(node, id);
  return node;
}

export function drawFace(node, id) {
  say(node, [...(nameOf(id) ?? id.slice(1))][0] ?? "?");
  node.style.setProperty("--hue", hue(id));
}

/** What to call somebody in a line of text. */
export const calledShort = (id) => (id === state.me.id ? "you" : (nameOf(id) ?? short(id)));

/** A button with somebody's name that shows what is known of them. */
export function who(id) {
  const node = h(
    "button",
    { type: "button", class: "link who", onclick: () => openPeer(node.dataset.id) },
    h("bdi", { class: "name" }),
    h("span", { class: "id" }),
  );
  drawWho(node, id);
  return node;
}

export function drawWho(node, id) {
  const [name, key] = node.children;
  const known = nameOf(id);
  node.dataset.id = id;
  say(name, id === state.me.id ? `${known ?? short(id)} (you)` : (known ?? short(id)));
  say(key, known ? short(id) : "");
  key.hidden = !known;
}

/** The state of a peer, in colour and in words. */
export function badge(shown) {
  const node = h("span", { class: "badge" });
  drawBadge(node, shown);
  return node;
}

export function drawBadge(node, shown, words = STATES) {
  mark(node, "data-state", shown);
  say(node, words[shown] ?? shown);
}

export const drawHubBadge = (node, shown) => drawBadge(node, shown, HUB_STATES);

/** Lets one of several choices be pressed: [[value, label], ...]; `choose(value)` is called. */
export function tabs(label, choices, chosen, choose) {
  const buttons = choices.map(([value, text]) =>
    h(
      "button",
      { type: "button", "data-value": value, "aria-pressed": String(value === chosen), onclick: () => pick(value) },
      text,
    ),
  );
  function pick(value) {
    for (const button of buttons) mark(button, "aria-pressed", String(button.dataset.value === value));
    choose(value);
  }
  const node = h("div", { class: "tabs", role: "group", "aria-label": label }, buttons);
  return { node, pick };
}

/** A table whose rows fold up on a telephone: {table, body}; `labelledby` is the id of its title. */
export function foldingTable(headings, labelledby, more = "") {
  const body = h("tbody", { role: "rowgroup" });
  const head = h(
    "tr",
    { role: "row" },
    headings.map((text) => h("th", { role: "columnheader", scope: "col" }, text)),
  );
  const table = h(
    "table",
    { class: `folds ${more}`, role: "table", "aria-labelledby": labelledby },
    h("thead", { role: "rowgroup" }, head),
    body,
  );
  return { table, body };
}

/** A cell of such a table; where it is folded, its label stands over it. */
export const cell = (label, ...content) => h("td", { role: "cell", "data-label": label }, content);

/** A cell without a label that has a line for itself where the table is folded. */
export const wholeCell = (...content) => h("td", { role: "cell", class: "whole" }, content);

/** A labelled field. */
export function field(label, control, more = "") {
  const id = control.id || `field-${(field.count = (field.count ?? 0) + 1)}`;
  control.id = id;
  return h("div", { class: `field ${more}` }, h("label", { for: id }, label), control);
}

/** What stands where there is nothing yet: what that means, and what to do next. */
export const empty = (title, text, ...next) =>
  h(
    "div",
    { class: "empty" },
    h("strong", {}, title),
    h("p", {}, text),
    next.length ? h("div", { class: "row" }, next) : null,
  );
