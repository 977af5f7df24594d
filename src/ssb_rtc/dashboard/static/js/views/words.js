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
    made.push(piece(target ?? all, label, Boolean(picture)) ?? all);
    from = found.index + all.length;
  }
  made.push(text.slice(from));
  return made;
}

function piece(target, label, picture) {
  if (/^https?:\/\//.test(target))
    return h("a", { href: target, rel: "noopener noreferrer nofollow", target: "_blank" }, label || target);
  if (!/^[@%&][A-Za-z0-9+/]{43}=\.(?:ed25519|sha256)$/.test(target)) return null;
  if (target[0] === "@")
    return h(
      "button",
      { type: "button", class: "link chosen", onclick: () => openPeer(target) },
      label || `@${nameOf(target) ?? short(target).slice(1)}`,
    );
  if (target[0] === "%")
    return h(
      "button",
      { type: "button", class: "link chosen", onclick: () => openThread(target) },
      label || `message ${short(target)}`,
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
        const shown = image(id, label);
        shown.addEventListener("error", () => shown.replaceWith(fileOf(id, label)));
        button.replaceWith(shown);
      },
    },
    `Show the picture${label ? ` “${label}”` : ""}`,
  );
  return button;
}

function fileOf(id, label) {
  const button = h(
    "button",
    {
      type: "button",
      onclick: async () => {
        if (!here.has(id) && !(await act(button, () => post("/api/want", { id })))) return;
        h("a", { href: blobUrl(id), download: label || "file" }).click();
      },
    },
    `Save the file${label ? ` “${label}”` : ""}`,
  );
  return button;
}
