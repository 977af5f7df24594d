// The map: we in the middle, hubs around us, and on the outside the peers that are heard there.

import { h, keyed, mark, s, say } from "../dom.js";
import { host, HUB_STATES, many, short, STATES } from "../format.js";
import { nameOf, panel, shownState, state } from "../store.js";
import { openHub, openPeer } from "./sheet.js";

const PEERS_MAX = 120;
const NARROW_PEERS_MAX = 40;
const NARROW = 520;
const HUBS_MAX = 24;
const LABEL_MAX = 18;
const ELSEWHERE = "elsewhere";
const HUB_RING = 0.46;
const RINGS = [0.78, 0.89, 1];
const SPACE = 21;
/** Not the middle of a peer's share of its ring, so that links don't run through the hub's name. */
const ASIDE = 0.28;
const RANK = { CONNECTED: 0, CONNECTING: 1, DISCONNECTED: 2, BLOCKED: 3 };

const cut = (text) => (text.length > LABEL_MAX ? `${text.slice(0, LABEL_MAX - 1)}…` : text);

/** Who is drawn when not all can be: links, then attempts, then friends, then by score. */
function chosen(most) {
  const rows = [...state.peers.values()];
  const rank = (row) => RANK[shownState(row)] * 10 + Math.min(row.hops ?? 9, 9);
  rows.sort((one, other) => rank(one) - rank(other) || other.score - one.score || (one.id < other.id ? -1 : 1));
  return rows.slice(0, most);
}

/** Where everything stands, for a picture of this size: {nodes, lines, left}. */
function layout(width, height) {
  const [cx, cy] = [width / 2, height / 2];
  const [rx, ry] = [width / 2 - Math.min(62, width * 0.14), height / 2 - 34];
  const at = (turn, ring) => ({ x: cx + Math.cos(turn) * rx * ring, y: cy + Math.sin(turn) * ry * ring });
  const hubs = state.hubs.slice(0, HUBS_MAX);
  const sectors = new Map(hubs.map((hub) => [hub.url, { hub, peers: [] }]));
  const most = width < NARROW ? NARROW_PEERS_MAX : PEERS_MAX;
  const drawn = chosen(most);
  for (const row of drawn) {
    const url = row.hubs.find((one) => sectors.has(one)) ?? ELSEWHERE;
    if (!sectors.has(url)) sectors.set(url, { hub: null, peers: [] });
    sectors.get(url).peers.push(row);
  }
  const all = [...sectors.values()];
  const weight = (sector) => 1.2 + Math.sqrt(sector.peers.length);
  const sum = all.reduce((before, sector) => before + weight(sector), 0) || 1;
  const nodes = [];
  const lines = [];
  let turn = -Math.PI / 2 - (all.length ? (weight(all[0]) / sum) * Math.PI : 0);
  for (const sector of all) {
    const wide = (weight(sector) / sum) * 2 * Math.PI;
    const middle = turn + wide / 2;
    if (sector.hub) {
      const place = at(middle, HUB_RING);
      nodes.push({ key: `hub ${sector.hub.url}`, kind: "hub", row: sector.hub, ...place });
      lines.push({
        key: `line ${sector.hub.url}`,
        from: { x: cx, y: cy },
        to: place,
        kind: sector.hub.state === "CONNECTED" ? "up" : sector.hub.state === "CONNECTING" ? "trying" : "",
      });
    }
    spread(sector.peers, turn, wide, Math.min(rx, ry), (row, where, ring) => {
      const place = at(where, ring);
      nodes.push({ key: row.id, kind: "peer", row, ...place });
      lines.push(...linesOf(row, sector.hub ? at(middle, HUB_RING) : null, { x: cx, y: cy }, place));
    });
    turn += wide;
  }
  for (const node of nodes) node.above = node.y < cy;
  return {
    nodes,
    lines,
    rings: [HUB_RING, RINGS.at(-1)].map((ring) => [rx * ring, ry * ring]),
    me: { x: cx, y: cy },
    left: state.peers.size - drawn.length,
    most,
  };
}

/** Puts rows on rings within a sector, those that matter most on the inner one. */
function spread(rows, turn, wide, radius, put) {
  const room = (ring) => Math.max(1, Math.floor((wide * 0.86 * radius * ring) / SPACE));
  // As few rings as hold them, the outer ones, which have the most room.
  let rings = RINGS.slice(-1);
  for (let used = 2; used <= RINGS.length && rings.reduce((sum, ring) => sum + room(ring), 0) < rows.length; used += 1)
    rings = RINGS.slice(-used);
  let rest = rows;
  rings.forEach((ring, index) => {
    const fits = index === rings.length - 1 ? rest.length : room(ring);
    const here = rest.slice(0, fits);
    rest = rest.slice(fits);
    here.forEach((row, number) => put(row, turn + wide * (0.07 + (0.86 * (number + ASIDE)) / here.length), ring));
  });
}

function linesOf(row, hub, centre, place) {
  const found = [];
  if (hub && row.state !== "CONNECTED")
    found.push({ key: `heard ${row.id}`, from: hub, to: place, kind: row.state === "CONNECTING" ? "trying" : "" });
  if (row.state === "CONNECTED") {
    found.push({
      key: `link ${row.id}`,
      from: centre,
      to: place,
      kind: row.rate_in + row.rate_out > 200 ? "link moving" : "link",
    });
  }
  return found;
}

function label(node) {
  if (node.kind === "hub")
    return `Hub ${host(node.row.url)}: ${HUB_STATES[node.row.state]}${node.row.reason ? `, ${node.row.reason}` : ""}, score ${node.row.score}`;
  const name = nameOf(node.row.id) ?? short(node.row.id);
  return `${name}: ${STATES[shownState(node.row)]}, ${node.row.reason}, score ${node.row.score}`;
}

function makeNode(node) {
  const hub = node.kind === "hub";
  const shape = hub
    ? s("rect", { class: "shape", x: -8, y: -8, width: 16, height: 16, rx: 4.5 })
    : s("circle", { class: "shape", r: 6.5 });
  const made = s(
    "g",
    { role: "button", tabindex: -1 },
    s("circle", { class: "halo", r: 14 }),
    shape,
    s("text", {}),
    s("title", {}),
  );
  made.addEventListener("click", () => openNode(made.drawn));
  return made;
}

function openNode(node) {
  if (node.kind === "hub") openHub(node.row.url);
  else openPeer(node.row.id);
}

function updateNode(made, node) {
  const shown = node.kind === "hub" ? node.row.state : shownState(node.row);
  made.drawn = node;
  mark(made, "class", `node ${node.kind} ${shown}${node.row.hops !== null && node.row.hops <= 2 ? " near" : ""}`);
  mark(made, "transform", `translate(${node.x.toFixed(1)} ${node.y.toFixed(1)})`);
  mark(made, "aria-label", label(node));
  const [, , text, title] = made.children;
  const named =
    node.kind === "hub"
      ? host(node.row.url)
      : shown === "CONNECTED" || shown === "CONNECTING"
        ? (nameOf(node.row.id) ?? short(node.row.id))
        : "";
  // Away from the middle, where the lines are.
  mark(text, "y", node.above ? -14 : 24);
  say(text, cut(named));
  say(title, label(node));
}

const updateLine = (line, { from, to, kind }) => {
  for (const [name, value] of Object.entries({ x1: from.x, y1: from.y, x2: to.x, y2: to.y }))
    mark(line, name, value.toFixed(1));
  mark(line, "class", kind);
};

/** One stop of the tab key for the whole map; the arrow keys go from node to node. */
function wireKeys(svg, layer) {
  const focusOn = (node) => {
    if (!node) return;
    for (const other of layer.children) mark(other, "tabindex", other === node ? 0 : -1);
    node.focus();
  };
  svg.addEventListener("keydown", (event) => {
    const nodes = [...layer.children];
    const at = nodes.indexOf(document.activeElement);
    if (at < 0) return;
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) focusOn(nodes[(at + step + nodes.length) % nodes.length]);
    else if (event.key === "Home") focusOn(nodes[0]);
    else if (event.key === "End") focusOn(nodes.at(-1));
    else if (event.key === "Enter" || event.key === " ") openNode(document.activeElement.drawn);
    else return;
    event.preventDefault();
  });
}

const LEGEND = [
  ["hub", "hub"],
  ["on", "linked"],
  ["try", "connecting"],
  ["", "not linked"],
  ["no", "blocked"],
];

function noteOf(drawn) {
  if (!drawn.nodes.length) return "Hubs and peers appear here as soon as there are any.";
  const some = drawn.left ? `; the ${drawn.most} that matter most are drawn` : "";
  return `${many(state.hubs.length, "hub")}, ${many(state.peers.size, "peer")}${some}. Choose one to see why it is as it is.`;
}

export function buildMap(root) {
  const rings = [0, 1].map(() => s("ellipse", { class: "ring" }));
  const lines = s("g", {});
  const nodes = s("g", {});
  const me = s("g", { class: "me" }, s("circle", { r: 11 }), s("text", { y: 29 }, "you"));
  const svg = s(
    "svg",
    { class: "map", role: "group", "aria-labelledby": "map-title map-note" },
    rings,
    lines,
    me,
    nodes,
  );
  const note = h("p", { class: "muted small", id: "map-note" });
  root.append(
    h(
      "section",
      { class: "card", "aria-labelledby": "map-title" },
      h("div", { class: "card-head" }, h("h2", { id: "map-title" }, "Map"), note),
      svg,
      h(
        "ul",
        { class: "legend", "aria-hidden": "true" },
        LEGEND.map(([kind, text]) => h("li", { class: kind }, h("i"), text)),
      ),
    ),
  );
  wireKeys(svg, nodes);
  const render = () => {
    const { width, height } = svg.getBoundingClientRect();
    if (!width) return;
    const drawn = layout(width, height);
    drawn.rings.forEach(([rx, ry], index) =>
      Object.entries({ cx: drawn.me.x, cy: drawn.me.y, rx, ry }).forEach(([name, value]) =>
        mark(rings[index], name, value.toFixed(1)),
      ),
    );
    keyed(lines, drawn.lines, { key: (line) => line.key, make: () => s("line", {}), update: updateLine });
    keyed(nodes, drawn.nodes, { key: (node) => node.key, make: makeNode, update: updateNode });
    if (nodes.firstChild && !nodes.querySelector('[tabindex="0"]')) mark(nodes.firstChild, "tabindex", 0);
    mark(me, "transform", `translate(${drawn.me.x} ${drawn.me.y})`);
    say(note, noteOf(drawn));
  };
  panel("home", ["peers", "hubs", "me"], render);
  new ResizeObserver(render).observe(svg);
}
