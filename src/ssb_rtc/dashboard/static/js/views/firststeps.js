// What somebody who is new does first; gone when it is done.

import { post } from "../api.js";
import { h, say } from "../dom.js";
import { sentence } from "../format.js";
import { go } from "../router.js";
import { panel, peersWhere, state } from "../store.js";
import { act, toast } from "../toast.js";
import { field } from "./parts.js";

const ID = /^@[A-Za-z0-9+/]{43}=\.ed25519$/;

/** Follows an id, or uses a code: whatever somebody was sent. */
export async function followOrJoin(text) {
  const given = text.trim();
  if (!given) throw new Error("paste an id that begins with @, or a code");
  if (ID.test(given)) return post("/api/follow", { id: given, state: true });
  const joined = post("/api/join", { code: given });
  toast("Looking for whoever made the code");
  return joined;
}

/** A field that takes an id or a code, as a form. */
export function followForm() {
  const input = h("input", {
    type: "text",
    placeholder: "@….ed25519 or a code",
    autocomplete: "off",
    spellcheck: "false",
    maxlength: 4096,
  });
  const button = h("button", { class: "main", type: "submit" }, "Follow");
  const submit = async (event) => {
    event.preventDefault();
    const done = (got) =>
      got.text ? sentence(got.text) : "Done: their messages come as soon as a peer that has them is there";
    if (await act(button, () => followOrJoin(input.value), done)) input.value = "";
  };
  return h("form", { class: "with-button", onsubmit: submit }, field("An id or a code", input), button);
}

function nameForm() {
  const input = h("input", {
    type: "text",
    maxlength: 64,
    autocomplete: "off",
    placeholder: "A name that your friends know",
  });
  const button = h("button", { class: "main", type: "submit" }, "Publish it");
  const submit = async (event) => {
    event.preventDefault();
    if (!input.value.trim()) return input.focus();
    if (await act(button, () => post("/api/about", { name: input.value.trim() }), "That is your name now"))
      input.value = "";
  };
  return h("form", { class: "with-button", onsubmit: submit }, field("Your name", input), button);
}

export function hubForm() {
  const input = h("input", {
    type: "url",
    placeholder: "https://hub.example.org",
    autocomplete: "off",
    maxlength: 2048,
  });
  const secret = h("input", { type: "checkbox" });
  const button = h("button", { class: "main", type: "submit" }, "Add");
  const submit = async (event) => {
    event.preventDefault();
    if (!input.value.trim()) return input.focus();
    const order = { action: "add", url: input.value.trim(), private: secret.checked };
    if (await act(button, () => post("/api/hubs", order), "The hub was added")) input.value = "";
  };
  return h(
    "form",
    { class: "tight", onsubmit: submit, novalidate: true },
    h("div", { class: "with-button" }, field("Address of a hub", input), button),
    h("label", { class: "check" }, secret, "Keep it to ourselves: other peers are never told of it"),
  );
}

const HIDDEN = "first steps hidden";
let hidden = wasHidden();

function wasHidden() {
  try {
    return localStorage.getItem(HIDDEN) !== null;
  } catch {
    return false; // storage is switched off in this browser
  }
}

function keepHidden() {
  try {
    localStorage.setItem(HIDDEN, "");
  } catch {
    // It lasts as long as the page.
  }
}

export function buildFirstSteps(root) {
  const steps = [
    {
      title: "Say who you are",
      why: "Others see your name instead of a key. You can change it at any time.",
      todo: nameForm(),
      done: () => Boolean(state.me.name),
    },
    {
      title: "Add a hub",
      why: "A hub is where peers meet. It passes on sealed letters and sees nothing of what you write. Anybody's will do.",
      todo: hubForm(),
      done: () => state.hubs.length > 0,
    },
    {
      title: "Follow somebody",
      why: "You get the feeds of those whom you follow, and of those whom they follow.",
      todo: followForm(),
      done: () => peersWhere((row) => row.hops === 1).length > 0,
    },
    {
      title: "Share your code",
      why: "Somebody who joins with it follows you, and you follow them back.",
      todo: h(
        "div",
        { class: "row" },
        h("button", { class: "main", type: "button", onclick: () => go("invite") }, "Make a code"),
      ),
      done: () => peersWhere((row) => row.hops === 1).length > 0,
    },
  ];
  const list = h("ol", { class: "steps" });
  for (const [index, step] of steps.entries()) {
    step.mark = h("span", { class: "mark", "aria-hidden": "true" });
    step.said = h("span", { class: "said-only" });
    step.node = h(
      "li",
      {},
      step.mark,
      h(
        "div",
        {},
        h("h3", {}, step.title, step.said),
        h("p", { class: "muted" }, step.why),
        h("div", { class: "todo" }, step.todo),
      ),
    );
    step.number = String(index + 1);
    list.append(step.node);
  }
  const hide = () => {
    hidden = true;
    keepHidden();
    card.hidden = true;
  };
  const card = h(
    "section",
    { class: "card", "aria-labelledby": "first-title", hidden: true },
    h(
      "div",
      { class: "card-head" },
      h("h2", { id: "first-title" }, "First steps"),
      h("button", { type: "button", class: "quiet", onclick: hide }, "Hide"),
    ),
    list,
  );
  root.append(card);
  panel("home", ["peers", "hubs", "me"], () => {
    let open = 0;
    for (const step of steps) {
      const done = step.done();
      open += done ? 0 : 1;
      step.node.classList.toggle("done", done);
      say(step.mark, done ? "✓" : step.number);
      say(step.said, done ? " (done)" : "");
    }
    card.hidden = hidden || !state.ready || open === 0;
  });
}
