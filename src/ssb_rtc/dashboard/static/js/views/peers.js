// All known peers: search, filter, and each one's state and reason.

import { h, mark, refresh, say } from "../dom.js";
import { count, many } from "../format.js";
import { LongList } from "../list.js";
import { go } from "../router.js";
import { nameOf, panel, shownState, state } from "../store.js";
import { drawBadge, drawWho, empty, field, tabs, who } from "./parts.js";
import { followForm } from "./firststeps.js";

const ROW_HEIGHT = 58;
const RANK = { CONNECTED: 0, CONNECTING: 1, DISCONNECTED: 2, BLOCKED: 3 };
const TESTS = {
  all: () => true,
  linked: (row) => row.state === "CONNECTED",
  follow: (row) => row.hops === 1,
  waiting: (row) => row.state !== "CONNECTED" && !row.blocked,
  blocked: (row) => row.blocked,
};
const CHOICES = [
  ["all", "All"],
  ["linked", "Linked"],
  ["follow", "I follow"],
  ["waiting", "Not linked"],
  ["blocked", "Blocked"],
];

const row = {
  key: (peer) => peer.id,
  make(peer) {
    const parts = {
      who: who(peer.id),
      badge: h("span", { class: "badge" }),
      why: h("span", { class: "why" }),
      score: h("span", { class: "score" }),
    };
    const node = h("li", { class: "peers-row" }, parts.who, h("span", {}, parts.badge), parts.why, parts.score);
    node.parts = parts;
    return node;
  },
  update(node, peer) {
    drawWho(node.parts.who, peer.id);
    drawBadge(node.parts.badge, shownState(peer));
    say(node.parts.why, peer.reason);
    mark(node.parts.why, "title", peer.reason);
    say(node.parts.score, peer.score.toFixed(1));
  },
};

export function buildPeers() {
  const root = document.getElementById("view-peers");
  const search = h("input", {
    type: "search",
    placeholder: "Name, id or reason",
    autocomplete: "off",
    spellcheck: "false",
  });
  const amount = h("p", { class: "muted small", id: "peers-amount" });
  const list = new LongList({ label: "Peers", height: ROW_HEIGHT, row });
  let filter = "all";
  const none = h("div", {});
  const card = h(
    "div",
    { class: "card" },
    h(
      "div",
      { class: "row-head peers-row", "aria-hidden": "true" },
      ["Peer", "State", "Why", "Score"].map((text) => h("span", {}, text)),
    ),
    list.element,
  );
  const draw = () => {
    const rows = sorted(filter, search.value.trim().toLowerCase());
    say(
      amount,
      rows.length === state.peers.size
        ? many(rows.length, "known peer")
        : `${count(rows.length)} of ${many(state.peers.size, "known peer")}`,
    );
    card.hidden = rows.length === 0;
    none.hidden = rows.length > 0;
    if (!rows.length) none.replaceChildren(state.peers.size ? nobody() : nobodyYet());
    list.show(rows);
  };
  const kinds = tabs("Which peers", CHOICES, filter, (value) => {
    filter = value;
    list.element.scrollTop = 0;
    draw();
  });
  search.addEventListener("input", () => {
    list.element.scrollTop = 0;
    draw();
  });
  root.append(
    h("div", { class: "tools" }, field("Search", search), kinds.node),
    h("div", { class: "stack" }, amount, card, none),
  );
  panel("peers", ["peers"], draw);
  panel("peers", ["feeds", "me"], () => {
    refresh(list.list);
    draw();
  });
}

function sorted(filter, searched) {
  const test = TESTS[filter];
  const found = [];
  for (const peer of state.peers.values()) {
    if (!test(peer)) continue;
    if (searched && !`${nameOf(peer.id) ?? ""} ${peer.id} ${peer.reason}`.toLowerCase().includes(searched)) continue;
    found.push(peer);
  }
  const rank = (peer) => RANK[shownState(peer)];
  return found.sort(
    (one, other) =>
      rank(one) - rank(other) ||
      (one.hops ?? 99) - (other.hops ?? 99) ||
      other.score - one.score ||
      (one.id < other.id ? -1 : 1),
  );
}

const nobody = () => h("div", { class: "card" }, empty("Nobody matches", "Try another word, or look at all of them."));

const nobodyYet = () =>
  h(
    "div",
    { class: "card stack" },
    empty(
      "Nobody is known yet",
      "Peers appear here when they are heard on a hub or on your local network, and when you follow them.",
      h("button", { type: "button", onclick: () => go("hubs") }, "Add a hub"),
      h("button", { type: "button", onclick: () => go("invite") }, "Share a code"),
    ),
    followForm(),
  );
