// The feed: what was written, the newest first, as it comes; one conversation, or one author, where that is asked for.

import { get } from "../api.js";
import { forget, h, keyed, say } from "../dom.js";
import { followMessages } from "../events.js";
import { many, short } from "../format.js";
import { go } from "../router.js";
import { nameOf, panel, state, touch } from "../store.js";
import { act } from "../toast.js";
import { Composer } from "./composer.js";
import { empty, tabs } from "./parts.js";
import { makePost, redrawTimes } from "./post.js";
import { onThread } from "./words.js";

const PAGE = 40;
const SHOWN_MAX = 400;
const AGAIN_MS = 1500;
const CHOICES = [
  ["posts", "Posts"],
  ["private", "Private"],
  ["all", "Everything"],
  ["own", "Mine"],
];

/** What is shown: a kind of messages, of one author or of one conversation where these are not null. */
let wanted = { kind: "posts", author: null, thread: null };
let rows = [];
let held = [];
let older = null;
let asked = 0;
let again = null;
let loaded = false;
let ui = null;

const query = () => {
  if (wanted.thread) return { links_to: wanted.thread };
  const author = wanted.author ?? (wanted.kind === "own" ? state.me.id : null);
  if (author) return { author };
  return { posts: { type: "post" }, private: { private: 1 }, all: {} }[wanted.kind];
};

/** Whether a message that comes belongs to what is shown. */
function fits(row) {
  if (wanted.thread) return row.key === wanted.thread || row.root === wanted.thread;
  if (wanted.author) return row.author === wanted.author;
  if (wanted.kind === "own") return row.author === state.me.id;
  if (wanted.kind === "private") return row.private;
  return wanted.kind === "all" || row.type === "post";
}

async function load() {
  const number = ++asked;
  try {
    const page = await get("/api/messages", { ...query(), limit: PAGE });
    const root = wanted.thread ? await rootOf(wanted.thread) : null;
    if (number !== asked) return;
    rows = root && !page.messages.some((row) => row.key === root.key) ? [...page.messages, root] : page.messages;
    held = [];
    older = page.next;
    loaded = true;
    draw();
  } catch (error) {
    if (number === asked) say(ui.amount, error.message);
  }
}

/** The first message of a conversation, which does not link to itself; null where it is not here. */
async function rootOf(key) {
  try {
    return await get("/api/message", { id: key });
  } catch {
    return null;
  }
}

function take(row) {
  if (row === null) {
    again ??= setTimeout(
      () => {
        again = null;
        load();
      },
      loaded ? AGAIN_MS : 0,
    );
    return;
  }
  if (!loaded || !fits(row) || rows.some((one) => one.key === row.key) || held.some((one) => one.key === row.key))
    return;
  // Who reads further down is not pushed away by what comes.
  const reads = scrollY > 300 && !document.getElementById("view-messages").hidden && row.author !== state.me.id;
  if (reads) held = [row, ...held].slice(0, SHOWN_MAX);
  else rows = [row, ...rows].slice(0, SHOWN_MAX);
  touch("messages"); // drawn once a frame at most, however many come
}

function choose(next) {
  wanted = { ...wanted, ...next };
  load();
}

function release() {
  rows = [...held, ...rows].slice(0, SHOWN_MAX);
  held = [];
  draw();
  scrollTo({ top: 0, behavior: "smooth" });
}

function more(event) {
  return act(event.currentTarget, async () => {
    const page = await get("/api/messages", { ...query(), limit: PAGE, before: older });
    const known = new Set(rows.map((row) => row.key));
    rows = [...rows, ...page.messages.filter((row) => !known.has(row.key))];
    older = page.next;
    draw();
  });
}

const does = {
  reply: (row) => ui.composer.answer(row),
  thread(id) {
    go("messages");
    choose({ thread: id, author: null });
    scrollTo(0, 0);
  },
};

function title() {
  if (wanted.thread) return "One conversation, the newest first";
  if (wanted.author)
    return `What ${wanted.author === state.me.id ? "you" : (nameOf(wanted.author) ?? short(wanted.author))} wrote`;
  return "";
}

function draw() {
  const special = title();
  say(ui.special.firstChild, special);
  ui.special.hidden = !special;
  ui.kinds.node.hidden = Boolean(special);
  ui.fresh.hidden = held.length === 0;
  say(ui.fresh, `Show ${many(held.length, "new message")}`);
  ui.older.hidden = older === null;
  keyed(ui.posts, rows, { key: (row) => row.key, make: (row) => makePost(row, does) });
  ui.none.hidden = !loaded || rows.length > 0;
  if (!ui.none.hidden) ui.none.replaceChildren(nothing());
}

function nothing() {
  if (wanted.thread) return empty("Nothing of this conversation is here", "It may still come from other peers.");
  if (wanted.kind === "private")
    return empty("No private messages yet", "Tick “Private” above to write one: only those whom you name can read it.");
  if (wanted.kind === "own")
    return empty(
      "You have not written anything yet",
      "Write your first post above. Whoever follows you gets it when your peers meet.",
    );
  return empty(
    "Nothing is here yet",
    "Write your first post above, or follow somebody: what they wrote comes as soon as a peer that has it is there.",
    h("button", { type: "button", onclick: () => go("invite") }, "Follow somebody"),
  );
}

/** Shows what one author wrote. */
export const showAuthor = (id) => choose({ author: id, thread: null });

/** Begins a private message to somebody. */
export const writePrivately = (id) => ui.composer.to(id);

export function buildMessages() {
  const leave = () => choose({ author: null, thread: null });
  ui = {
    composer: new Composer(take),
    kinds: tabs("Which messages", CHOICES, wanted.kind, (kind) => choose({ kind })),
    special: h(
      "div",
      { class: "row apart", hidden: true },
      h("h2", {}),
      h("button", { type: "button", onclick: leave }, "Back to all"),
    ),
    amount: h("p", { class: "muted small", role: "status" }),
    fresh: h("button", { type: "button", class: "main fresh", hidden: true, onclick: release }),
    posts: h("div", { class: "posts", role: "feed", "aria-label": "Messages", "aria-busy": "false" }),
    none: h("div", { class: "card", hidden: true }),
    older: h("button", { type: "button", hidden: true, onclick: more }, "Older messages"),
  };
  document
    .getElementById("view-messages")
    .append(
      h(
        "div",
        { class: "reading stack" },
        ui.composer.element,
        ui.kinds.node,
        ui.special,
        ui.amount,
        ui.fresh,
        ui.posts,
        ui.none,
        h("div", { class: "row" }, ui.older),
      ),
    );
  onThread(does.thread);
  followMessages(take);
  panel("messages", ["messages"], draw);
  panel("messages", ["feeds", "me"], redrawNames);
  panel("messages", ["clock"], () => redrawTimes(ui.posts));
}

let drawnNames = "";

/** Names that were learnt after a message was drawn: it is drawn again, which happens seldom. */
function redrawNames() {
  const now = rows.map((row) => nameOf(row.author) ?? "").join("\n");
  if (now === drawnNames || ui.posts.contains(document.activeElement)) return;
  drawnNames = now;
  forget(ui.posts);
  draw();
}
