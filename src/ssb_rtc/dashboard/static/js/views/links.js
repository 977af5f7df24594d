// The links that are open now: over what they go, how quick they are, what came and what is missing.

import { h, keyed, mark, refresh, say } from "../dom.js";
import { bytes, count, rate, span } from "../format.js";
import { age, linked, panel } from "../store.js";
import { cell, drawBadge, drawWho, empty, foldingTable, wholeCell, who } from "./parts.js";
import { go } from "../router.js";

const TRANSPORTS = {
  rtc: "WebRTC",
  net: "TCP",
  ws: "WebSocket",
  wss: "WebSocket",
  unix: "this machine",
  lan: "local network",
};
const ACTIVITY = { busy: "fetching", idle: "idle", stuck: "stuck" };
const HEADINGS = ["Peer", "Over", "Answers in", "In / out now", "In / out so far", "Messages", "For"];

export const transportName = (name) => TRANSPORTS[name] ?? name ?? "";

function make(row) {
  const parts = {
    who: who(row.id),
    activity: h("span", { class: "badge" }),
    over: h("span"),
    rtt: h("span"),
    now: h("span"),
    far: h("span"),
    messages: h("span"),
    bar: h("progress", { max: 1, "aria-label": "Messages fetched over this link" }),
    age: h("span"),
  };
  const node = h(
    "tr",
    { role: "row" },
    wholeCell(h("div", { class: "tight" }, parts.who, h("span", {}, parts.activity))),
    cell("Over", parts.over),
    cell("Answers in", parts.rtt),
    cell("In / out now", parts.now),
    cell("In / out so far", parts.far),
    cell("Messages", h("div", { class: "tight" }, parts.messages, parts.bar)),
    cell("For", parts.age),
  );
  node.parts = parts;
  return node;
}

function update(node, row) {
  const { parts } = node;
  node.row = row;
  drawWho(parts.who, row.id);
  drawBadge(parts.activity, row.activity || "idle", ACTIVITY);
  say(parts.over, transportName(row.transport));
  say(parts.rtt, row.rtt_ms === null ? "not measured" : `${Math.round(row.rtt_ms * 10) / 10} ms`);
  say(parts.now, `${rate(row.rate_in)} / ${rate(row.rate_out)}`);
  say(parts.far, `${bytes(row.bytes_in)} / ${bytes(row.bytes_out)}`);
  say(
    parts.messages,
    row.missing ? `${count(row.received)}, ${count(row.missing)} missing` : `${count(row.received)}, none missing`,
  );
  mark(parts.bar, "value", row.missing ? row.received / (row.received + row.missing) : 1);
  parts.bar.hidden = !row.missing;
  say(parts.age, span(age(row) ?? 0));
}

export function buildLinks(root) {
  const { table, body } = foldingTable(HEADINGS, "links-title");
  const none = empty(
    "No link at the moment",
    "Links open by themselves as soon as somebody you know is on the same hub or network.",
    h("button", { type: "button", onclick: () => go("peers") }, "See why"),
    h("button", { type: "button", onclick: () => go("hubs") }, "Look at the hubs"),
  );
  root.append(
    h(
      "section",
      { class: "card", "aria-labelledby": "links-title" },
      h("div", { class: "card-head" }, h("h2", { id: "links-title" }, "Links")),
      none,
      table,
    ),
  );
  panel("home", ["peers", "feeds"], () => {
    const rows = linked();
    none.hidden = rows.length > 0;
    table.hidden = rows.length === 0;
    keyed(body, rows, { key: (row) => row.id, make, update });
  });
  panel("home", ["me"], () => refresh(body));
  panel("home", ["clock"], () => {
    for (const node of body.children) if (node.row) say(node.parts.age, span(age(node.row) ?? 0));
  });
}
