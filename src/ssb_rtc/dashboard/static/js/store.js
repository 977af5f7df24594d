// What the page knows of the peer, and who shows it. Events change the state and touch topics; panels of the view that
// is open are drawn once a frame at most. A row that changed is a new object, so panels can tell.

const FALLBACK_MS = 300;
export const STEPS_MAX = 500;
export const SAMPLES_MAX = 60;

export const state = {
  live: "connecting",
  /** Whether the peer has not answered for so long that it may be gone. */
  gone: false,
  /** Whether a first snapshot has come. */
  ready: false,
  me: { id: "", name: null },
  version: "",
  folder: "",
  status: {},
  peers: new Map(),
  hubs: [],
  feeds: new Map(),
  sync: {},
  /** The codes that we gave out, and whether somebody follows us; null until that was asked for (see shared.js). */
  codes: null,
  followed: null,
  /** Steps of the manager, the newest last; at most STEPS_MAX. */
  steps: [],
  /** Bytes a second in and out over all links, a sample a second; at most SAMPLES_MAX. */
  samples: [],
};

const names = new Map();

/** Remembers how somebody calls themselves. */
export function learnName(id, name) {
  if (id && name) names.set(id, name);
}

/** How somebody calls themselves, or null. */
export const nameOf = (id) => names.get(id) ?? null;

/** Ids and names of all who have one. */
export const named = () => [...names];

const panels = [];
const dirty = new Set();
let view = null;
let scheduled = false;

/** Has `draw` called when `name` is the open view ("*": always) and one of `topics` was touched, or it is just opened. */
export function panel(name, topics, draw) {
  panels.push({ name, topics: new Set(topics), draw, stale: true });
}

/** Says that something changed. */
export function touch(...topics) {
  for (const topic of topics) dirty.add(topic);
  if (scheduled) return;
  scheduled = true;
  // A page in the background gets no frames: it is drawn when it is looked at again.
  if (document.hidden) setTimeout(flush, FALLBACK_MS);
  else requestAnimationFrame(flush);
}

/** Opens a view: draws what of it is out of date. */
export function open(name) {
  view = name;
  draw();
}

function flush() {
  scheduled = false;
  for (const one of panels) if (!one.stale) one.stale = [...one.topics].some((topic) => dirty.has(topic));
  dirty.clear();
  if (!document.hidden) draw();
}

function draw() {
  for (const one of panels) {
    if (!one.stale || (one.name !== "*" && one.name !== view)) continue;
    one.stale = false;
    one.draw();
  }
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) draw();
});

// --- what several views ask of the state ---

/** Peers by a test of their rows. */
export function peersWhere(test) {
  const found = [];
  for (const row of state.peers.values()) if (test(row)) found.push(row);
  return found;
}

export const isLinked = (row) => row.state === "CONNECTED";

/** Peers with a link, those with the longest first. */
export const linked = () =>
  peersWhere(isLinked).sort((one, other) => age(other) - age(one) || (one.id < other.id ? -1 : 1));

/** Seconds that a row's `linked_s` or `connected_s` has grown to by now; null without. */
export function age(row) {
  const seconds = row.linked_s ?? row.connected_s ?? null;
  return seconds === null ? null : seconds + (performance.now() - row.at) / 1000;
}

/** The state to show: a blocked peer is blocked, whatever else it is. */
export const shownState = (row) => (row.blocked ? "BLOCKED" : row.state);

/** Messages that are here and that are known to be missing, over all feeds. */
export function totals() {
  let have = 0;
  let missing = 0;
  for (const feed of state.feeds.values()) {
    have += feed.have;
    missing += feed.missing;
  }
  return { have: Math.max(have, state.status.messages ?? 0), missing: Math.max(missing, state.status.missing ?? 0) };
}
