// The only place that makes elements. Strings become text nodes, never markup: what others wrote can't be anything else.

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "htmlFor", "selected", "open"]);

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (PROPERTIES.has(name)) node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** An element: h("p", {class: "lead", onclick: act}, "text", child, null). */
export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);

/** The same in SVG. */
export const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

/** Sets the text of an element where it is another one, so that nothing is laid out anew for nothing. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Sets (or with null takes away) an attribute where it is another one. */
export function mark(node, name, value) {
  if (value === null || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

const rowsOf = new WeakMap();

/**
 * Makes the children of `parent` those of `items`, in their order; touches only what is new, gone, moved or changed.
 * `key(item)` names a row, `make(item)` gives its element, `update(element, item)` fills it; an item that is the same
 * object as before is taken to be unchanged.
 */
export function keyed(parent, items, { key, make, update }) {
  const before = rowsOf.get(parent) ?? new Map();
  const after = new Map();
  for (const item of items) {
    const name = key(item);
    let row = before.get(name);
    if (row === undefined) row = { node: make(item), item: undefined };
    if (row.item !== item) {
      update?.(row.node, item);
      row.item = item;
    }
    after.set(name, row);
  }
  for (const [name, row] of before) if (!after.has(name)) row.node.remove();
  let cursor = parent.firstChild;
  for (const { node } of after.values()) {
    if (node === cursor) cursor = cursor.nextSibling;
    else place(parent, node, cursor);
  }
  rowsOf.set(parent, after);
}

function place(parent, node, before) {
  // Moving by moveBefore keeps the keyboard where it is; older browsers lose it.
  if (node.parentNode === parent && parent.moveBefore && parent.isConnected) parent.moveBefore(node, before);
  else parent.insertBefore(node, before);
}

/** Has all rows of a keyed parent made anew at the next `keyed`. */
export function forget(parent) {
  rowsOf.delete(parent);
  parent.replaceChildren();
}

/** Has all rows of a keyed parent filled anew at the next `keyed`. */
export function refresh(parent) {
  for (const row of rowsOf.get(parent)?.values() ?? []) row.item = undefined;
}
