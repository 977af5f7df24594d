// The text of a post as elements: links, ids, pictures and files. Nothing in it is ever read as markup.

import { blobUrl, post } from "../api.js";
import { h } from "../dom.js";
import { short } from "../format.js";
import { nameOf } from "../store.js";
import { act } from "../toast.js";
import { openPeer } from "./sheet.js";

// Bounded in every part, so that no text makes it slow.
const PIECES =
  /(!?)\[([^[\]\n]{0,200})\]\(([^()\s]{1,400})\)|https?:\/\/[^\s<>"'()[\]]{1,500}|[@%&][A-Za-z0-9+/]{43}=\.(?:ed25519|sha256)/g;
const PIECES_MAX = 200;

let openThread = () => {};
const here = new Set();

/** Tells what to do where an id of a message is chosen. */
export const onThread = (act_) => (openThread = act_);

/** Remembers that a blob is here, because we have just stored it. */
export const storedHere = (id) => here.add(id);

/** The elements of a text. */
export function words(text) {
  const made = [];
  let from = 0;
  for (const found of text.matchAll(PIECES)) {
    if (made.length > PIECES_MAX) break;
    if (found.index > from) made.push(text.slice(from, found.index));
    const [all, picture, label, target] = found;
    made.push(...[piece(target ?? all, label, Boolean(picture)) ?? all].flat());
    from = found.index + all.length;
  }
  made.push(text.slice(from));
  return made;
}

/** What others wrote, kept from turning around the direction of what stands beside it. */
const bdi = (text) => h("bdi", {}, text);

/** Where a link leads, whatever it is called. */
function placeOf(url) {
  try {
    return new URL(url).host;
  } catch {
    return "an address that makes no sense";
  }
}

/** A name to save a file under, without an ending: the browser adds that of its type, so that nothing opens as a program. */
const fileName = (label) => (label || "file").replace(/[^\p{L}\p{N} _-]+/gu, "_").slice(0, 60);

function piece(target, label, picture) {
  if (/^https?:\/\//.test(target))
    return [
      h("a", { href: target, rel: "noopener noreferrer nofollow", target: "_blank" }, bdi(label || target)),
      label && label !== target ? h("span", { class: "muted small" }, ` (${placeOf(target)})`) : null,
    ];
  if (!/^[@%&][A-Za-z0-9+/]{43}=\.(?:ed25519|sha256)$/.test(target)) return null;
  if (target[0] === "@")
    return h(
      "button",
      { type: "button", class: "link chosen", onclick: () => openPeer(target) },
      // How they call themselves, and not how the author of this calls them: that could be somebody else's name.
      bdi(nameOf(target) ? `@${nameOf(target)}` : `${label || "somebody"} ${short(target)}`),
    );
  if (target[0] === "%")
    return h(
      "button",
      { type: "button", class: "link chosen", onclick: () => openThread(target) },
      bdi(label || `message ${short(target)}`),
    );
  return picture ? pictureOf(target, label) : fileOf(target, label);
}

const image = (id, label) =>
  h("img", { src: blobUrl(id), alt: label || "a picture without a description", loading: "lazy" });

/** A picture that others posted is asked for only when somebody wants to see it. */
function pictureOf(id, label) {
  if (here.has(id)) return image(id, label);
  const button = h(
    "button",
    {
      type: "button",
      onclick: async () => {
        if (!(await act(button, () => post("/api/want", { id })))) return;
        here.add(id);
        show(button, id, label);
        // A post that was drawn again meanwhile has another button.
        for (const each of document.querySelectorAll("button[data-picture]"))
          if (each.dataset.picture === id) show(each, id, label);
      },
      "data-picture": id,
    },
    h("span", {}, "Show the picture", label ? [" “", bdi(label), "”"] : null),
  );
  return button;
}

function show(button, id, label) {
  const shown = image(id, label);
  shown.addEventListener("error", () => shown.replaceWith(fileOf(id, label)));
  button.replaceWith(shown);
}

function fileOf(id, label) {
  const button = h(
    "button",
    {
      type: "button",
      onclick: async () => {
        if (!here.has(id) && !(await act(button, () => post("/api/want", { id })))) return;
        h("a", { href: blobUrl(id), download: fileName(label) }).click();
      },
    },
    h("span", {}, "Save the file", label ? [" “", bdi(label), "”"] : null),
  );
  return button;
}
