// "Why not?": one peer or hub in a sheet at the side: why it is as it is, what happens next, and what can be done.

import { get, post } from "../api.js";
import { h, keyed, say } from "../dom.js";
import { count, host, HUB_STATES, many, sentence, short, span, STATES } from "../format.js";
import { go } from "../router.js";
import { age, nameOf, panel, shownState, state } from "../store.js";
import { act, copy } from "../toast.js";
import { writePrivately, showAuthor } from "./messages.js";
import { drawBadge, drawFace, face, field } from "./parts.js";
import { transportName } from "./links.js";

const REFRESH_MS = 2000;
const WAY_MAX = 20;
const LEAST_TERM = 0.05;

let sheet = null;
/** What the sheet shows: {kind: "peer" | "hub", name, asked_ms}. */
let shown = null;
let parts = null;

export const openPeer = (id) => openSheet("peer", id);
export const openHub = (url) => openSheet("hub", url);

export function buildSheet() {
  sheet = document.getElementById("sheet");
  sheet.addEventListener("close", () => {
    const { name } = shown;
    shown = null;
    focusAfter(name);
  });
  sheet.addEventListener("click", (event) => {
    if (event.target === sheet) sheet.close(); // beside it
  });
  panel("*", ["peers", "hubs"], () => {
    if (shown === null) return;
    drawFacts();
    if (Date.now() - shown.asked_ms > REFRESH_MS) ask();
  });
}

/** The keyboard goes back to where the sheet was opened; where that row was made anew meanwhile, to the new one. */
function focusAfter(name) {
  if (document.activeElement !== document.body && document.activeElement !== null) return;
  const same = document.querySelector(`main > section:not([hidden]) .who[data-id="${CSS.escape(name)}"]`);
  (same ?? document.querySelector("main > section:not([hidden]) h1")).focus();
}

function openSheet(kind, name) {
  shown = { kind, name, asked_ms: 0 };
  parts = build(kind, name);
  sheet.replaceChildren(parts.body);
  drawFacts();
  if (!sheet.open) sheet.showModal();
  parts.title.focus();
  ask();
}

function section(title, ...content) {
  return h("section", { class: "tight" }, h("h3", {}, title), ...content);
}

function build(kind, name) {
  const made = {
    title: h("h2", { id: "sheet-title", tabindex: -1 }),
    badge: h("span", { class: "badge" }),
    facts: h("dl", { class: "facts" }),
    because: h("ul", { class: "bullets" }),
    next: h("ul", { class: "bullets" }),
    terms: h("ul", { class: "terms" }),
    way: h("ol", { class: "way" }),
    orders: h("div", { class: "tight" }),
  };
  made.face = kind === "peer" ? face(name) : null;
  made.scoring = section("What its score is made of", made.terms);
  made.lately = section("The way to it, the last time", made.way);
  made.following = section("What happens next", made.next);
  made.body = h(
    "div",
    { class: "sheet-body" },
    h(
      "div",
      { class: "sheet-head" },
      made.face,
      h("div", { class: "tight" }, made.title, h("span", {}, made.badge)),
      h("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => sheet.close() }, "✕"),
    ),
    made.orders,
    section("Why it is so", made.because),
    made.following,
    made.lately,
    made.scoring,
    section("What is known", made.facts),
  );
  return made;
}

async function ask() {
  const asked = shown;
  asked.asked_ms = Date.now();
  try {
    const why = await (asked.kind === "peer"
      ? get("/api/why/peer", { id: asked.name })
      : get("/api/why/hub", { url: asked.name }));
    if (shown !== asked) return;
    drawWhy(why);
  } catch (error) {
    if (shown === asked) drawWhy({ because: [error.message], next: [], terms: {} });
  }
}

const bullet = { key: (text) => text, make: (text) => h("li", {}, sentence(text)) };

function drawWhy(why) {
  keyed(parts.because, [...new Set(why.because)], bullet);
  keyed(parts.next, [...new Set(why.next)], bullet);
  parts.following.hidden = why.next.length === 0;
  const way = why.timeline ?? [];
  parts.lately.hidden = way.length === 0;
  keyed(parts.way, way.slice(-WAY_MAX), {
    key: (line) => `${line.wall_s} ${line.what}`,
    make: (line) => h("li", {}, h("span", { class: "muted" }, `${line.at_s.toFixed(2)} s`), h("span")),
    update: (node, line) =>
      say(
        node.lastChild,
        `${sentence(line.what)}${line.detail ? `: ${line.detail}` : ""}${line.times > 1 ? ` (${line.times} times)` : ""}`,
      ),
  });
  const terms = Object.entries(why.terms)
    .map(([name, value]) => ({ name, value }))
    .filter((term) => Math.abs(term.value) >= LEAST_TERM);
  const most = Math.max(1, ...terms.map((term) => Math.abs(term.value)));
  parts.scoring.hidden = terms.length === 0;
  keyed(parts.terms, terms, {
    key: (term) => term.name,
    make: (term) =>
      h(
        "li",
        {},
        h("span", {}, term.name.replaceAll("_", " ")),
        h("span", { class: "bar", "aria-hidden": "true" }),
        h("span", { class: "value" }),
      ),
    update(node, term) {
      const [, bar, value] = node.children;
      bar.style.width = `${(Math.abs(term.value) / most) * 100}%`;
      bar.classList.toggle("minus", term.value < 0);
      say(value, `${term.value > 0 ? "+" : ""}${term.value.toFixed(1)}`);
    },
  });
}

function drawFacts() {
  const { kind, name } = shown;
  const row = kind === "peer" ? state.peers.get(name) : state.hubs.find((hub) => hub.url === name);
  const facts = kind === "peer" ? peerFacts(name, row) : hubFacts(name, row);
  say(parts.title, kind === "peer" ? (nameOf(name) ?? short(name)) : host(name));
  if (parts.face) drawFace(parts.face, name);
  drawBadge(parts.badge, row ? shownState(row) : "DISCONNECTED", kind === "peer" ? STATES : HUB_STATES);
  keyed(
    parts.facts,
    facts.flatMap(([title, text]) => [
      { key: `${title}?`, tag: "dt", text: title },
      { key: title, tag: "dd", text },
    ]),
    {
      key: (item) => item.key,
      make: (item) => h(item.tag, { class: item.text.startsWith("@") ? "mono" : "" }),
      update: (node, item) => say(node, item.text),
    },
  );
  const orders = kind === "peer" ? peerOrders(name, row) : hubOrders(name, row);
  // Anew only where other things can be done than before, or the keyboard would lose its place each second.
  if (parts.orders.dataset.kind !== orders.kind) {
    parts.orders.dataset.kind = orders.kind;
    parts.orders.replaceChildren(...orders.make());
  }
}

function peerFacts(id, row) {
  const facts = [["Id", id]];
  if (!row) return facts;
  facts.push([
    "Distance",
    row.hops === null
      ? "a stranger"
      : row.hops === 0
        ? "ourselves"
        : row.hops === 1
          ? "you follow them"
          : `${row.hops} hops away`,
  ]);
  if (row.transport) facts.push(["Linked over", transportName(row.transport)], ["Linked for", span(age(row) ?? 0)]);
  if (row.rtt_ms !== null) facts.push(["Answers in", `${row.rtt_ms} ms`]);
  if (row.hubs.length) facts.push(["Heard on", row.hubs.map(host).join(", ")]);
  if (row.state === "CONNECTED")
    facts.push(["Messages", `${count(row.received)} received over this link, ${count(row.missing)} missing`]);
  facts.push(["Failures in a row", count(row.failures)], ["Score", String(row.score)]);
  if (row.pinned) facts.push(["Pinned", "a link with it is kept"]);
  return facts;
}

function hubFacts(url, row) {
  const facts = [["Address", url]];
  if (!row) return facts;
  facts.push(
    ["Comes from", row.source + (row.private ? ", kept to ourselves" : "")],
    ["Peers heard there", count(row.peers)],
    ["Score", String(row.score)],
  );
  if (row.attempts) facts.push(["Attempts", many(row.attempts, "attempt")]);
  if (row.error) facts.push(["Last error", row.error]);
  return facts;
}

const order = (text, path, body, done, more = {}) =>
  h(
    "button",
    { type: "button", ...more, onclick: (event) => act(event.currentTarget, () => post(path, body), done) },
    text,
  );

function peerOrders(id, row) {
  if (id === state.me.id)
    return { kind: "me", make: () => [h("div", { class: "row" }, copyButton(id), postsButton(id))] };
  const follows = row?.hops === 1;
  const blocked = row?.blocked ?? false;
  const connected = row?.state === "CONNECTED";
  const make = () => [
    h(
      "div",
      { class: "row" },
      blocked
        ? null
        : follows
          ? order("Unfollow", "/api/follow", { id, state: false }, "You no longer follow them")
          : order("Follow", "/api/follow", { id, state: true }, "You follow them now", { class: "main" }),
      blocked
        ? null
        : h("button", { type: "button", onclick: () => leave(() => writePrivately(id)) }, "Write privately"),
      postsButton(id),
      connected ? order("End the link", "/api/disconnect", { id }, "The link was ended") : null,
      copyButton(id),
    ),
    blocked
      ? h("div", {}, order("Unblock", "/api/block", { id, state: false }, "They are no longer blocked"))
      : blockForm(id),
  ];
  return { kind: `${follows} ${blocked} ${connected}`, make };
}

const copyButton = (id) => h("button", { type: "button", onclick: () => copy(id, "The id was") }, "Copy the id");
const postsButton = (id) =>
  h("button", { type: "button", onclick: () => leave(() => showAuthor(id)) }, "Their messages");

function leave(next) {
  sheet.close();
  go("messages");
  next();
}

function blockForm(id) {
  const reason = h("input", { type: "text", maxlength: 1000, autocomplete: "off" });
  const button = h("button", { type: "submit", class: "danger" }, "Block them");
  const submit = (event) => {
    event.preventDefault();
    const body = { id, state: true, ...(reason.value.trim() ? { reason: reason.value.trim() } : {}) };
    act(button, () => post("/api/block", body), "They are blocked");
  };
  return h(
    "details",
    {},
    h("summary", { class: "muted" }, "Block"),
    h(
      "form",
      { class: "tight", onsubmit: submit },
      h(
        "p",
        { class: "small muted" },
        "We then neither talk to this peer nor keep its feed. Everybody can read that you blocked it, and why.",
      ),
      field("Reason (public, may stay empty)", reason),
      h("div", {}, button),
    ),
  );
}

function hubOrders(url, row) {
  const make = () => [
    h(
      "div",
      { class: "row" },
      row ? null : order("Add it", "/api/hubs", { action: "add", url }, "The hub was added", { class: "main" }),
      row && !row.private
        ? order("Recommend it", "/api/hubs", { action: "publish", url }, "Whoever follows you learns of this hub")
        : null,
      row && !row.private
        ? order("Take that back", "/api/hubs", { action: "retire", url }, "You no longer recommend this hub")
        : null,
      row ? order("Remove", "/api/hubs", { action: "remove", url }, "The hub was removed", { class: "danger" }) : null,
    ),
  ];
  return { kind: `${Boolean(row)} ${row?.private}`, make };
}
