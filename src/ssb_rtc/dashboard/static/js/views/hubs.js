// The table of hubs: how each one fares, how it fared lately, and what can be done with it.

import { h, keyed, mark, s, say } from "../dom.js";
import { count, host, HUB_STATES, span, timeOfDay } from "../format.js";
import { age, panel, state } from "../store.js";
import { cell, drawHubBadge, empty, foldingTable, wholeCell } from "./parts.js";
import { hubForm } from "./firststeps.js";
import { openHub } from "./sheet.js";

const HEADINGS = ["Hub", "State", "Last hour", "Peers", "Score", "Why"];
const SPAN_S = 3600;
const STRIP = 130;
const SOURCES = {
  user: "added by you",
  config: "from the settings",
  invite: "from an invitation",
  gossip: "told by peers",
};

function make(hub) {
  const parts = {
    name: h("button", { type: "button", class: "link hub-name", onclick: () => openHub(hub.url) }, host(hub.url)),
    source: h("span", { class: "small muted" }),
    badge: h("span", { class: "badge" }),
    since: h("span", { class: "small muted" }),
    strip: s("svg", { class: "history", viewBox: `0 0 ${STRIP} 14`, preserveAspectRatio: "none", role: "img" }),
    changes: h("span", { class: "small muted" }),
    peers: h("span"),
    score: h("span"),
    why: h("span"),
  };
  const why = cell("Why", parts.why);
  why.classList.add("whole");
  const node = h(
    "tr",
    { role: "row" },
    wholeCell(h("div", { class: "tight" }, parts.name, parts.source)),
    cell("State", h("div", { class: "tight" }, h("span", {}, parts.badge), parts.since)),
    cell("Last hour", h("div", { class: "tight" }, parts.strip, parts.changes)),
    cell("Peers", parts.peers),
    cell("Score", parts.score),
    why,
  );
  node.parts = parts;
  return node;
}

function since(hub) {
  if (hub.connected_s !== null) return `for ${span(age(hub))}`;
  if (hub.retry_in_s === null) return "";
  const left = hub.retry_in_s - (performance.now() - hub.at) / 1000;
  return left > 0 ? `tried again in ${span(left)}` : "tried again now";
}

function update(node, hub) {
  const { parts } = node;
  node.hub = hub;
  say(parts.source, `${SOURCES[hub.source] ?? hub.source}${hub.private ? ", kept to ourselves" : ""}`);
  drawHubBadge(parts.badge, hub.state);
  say(parts.since, since(hub));
  say(parts.peers, count(hub.peers));
  say(parts.score, hub.score.toFixed(1));
  say(parts.why, hub.error ? `${hub.reason ? `${hub.reason}; ` : ""}${hub.error}` : (hub.reason ?? ""));
  drawStrip(parts, hub);
}

/** The last hour as a strip: each change until the next one, in the colour of its state. */
function drawStrip({ strip, changes }, hub) {
  const now_s = Date.now() / 1000;
  const pieces = hub.history
    .map(([from_s, name], index) => ({ from_s, name, to_s: hub.history[index + 1]?.[0] ?? now_s }))
    .filter((piece) => piece.to_s > now_s - SPAN_S);
  const at = (wall_s) => Math.max(0, ((wall_s - now_s + SPAN_S) / SPAN_S) * STRIP);
  keyed(strip, pieces, {
    key: (piece) => piece.from_s,
    make: () => s("rect", { y: 0, height: 14 }),
    update(rect, piece) {
      mark(rect, "x", at(piece.from_s).toFixed(1));
      mark(rect, "width", Math.max(1, at(piece.to_s) - at(piece.from_s)).toFixed(1));
      mark(rect, "class", piece.name);
    },
  });
  const last = hub.history.at(-1);
  const text = last ? `${HUB_STATES[last[1]] ?? last[1]} since ${timeOfDay(last[0])}` : "nothing yet";
  say(changes, last ? `so since ${timeOfDay(last[0])}` : text);
  mark(strip, "aria-label", `${pieces.length} states in the last hour: ${text}`);
}

export function buildHubs() {
  const { table, body } = foldingTable(HEADINGS, "title-hubs", "hubs");
  const none = empty(
    "No hub yet",
    "A hub is where peers find each other when they are not on one network. It sees sealed letters only, so you need not trust whoever runs it. Ask a friend for the address of theirs, or run one: ssb-rtc hub serve.",
  );
  document
    .getElementById("view-hubs")
    .append(
      h(
        "div",
        { class: "stack" },
        h(
          "section",
          { class: "card", "aria-labelledby": "add-hub" },
          h("div", { class: "card-head" }, h("h2", { id: "add-hub" }, "Add a hub")),
          hubForm(),
        ),
        h("div", { class: "card" }, none, table),
      ),
    );
  panel("hubs", ["hubs"], () => {
    none.hidden = state.hubs.length > 0;
    table.hidden = state.hubs.length === 0;
    keyed(body, state.hubs, { key: (hub) => hub.url, make, update });
  });
  panel("hubs", ["clock"], () => {
    for (const node of body.children) if (node.hub) say(node.parts.since, since(node.hub));
  });
}
