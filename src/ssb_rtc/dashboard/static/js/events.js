// The stream of events: into the state, and on to those who follow messages. It comes back by itself when it was cut.

import { enter, word } from "./api.js";
import { learnName, SAMPLES_MAX, state, STEPS_MAX, touch } from "./store.js";

const PAUSE_MS = 1000;
const PAUSE_MAX_MS = 15000;
const HIDDEN_MS = 120000;

const followers = new Set();
let source = null;
let asleep = false;
let pause_ms = PAUSE_MS;
let whenLocked = () => {};

/** Has `take(row)` called for each message that comes, and `take(null)` when some were left out. */
export const followMessages = (take) => followers.add(take);

const tell = (row) => followers.forEach((take) => take(row));

function setLive(live) {
  state.live = live;
  touch("live");
}

function takeRows(rows, into) {
  const at = performance.now();
  for (const row of rows) {
    row.at = at;
    learnName(row.id, row.name);
    into.set(row.id, row);
  }
}

const takers = {
  snapshot(data) {
    Object.assign(state, {
      me: data.me,
      version: data.version,
      folder: data.folder,
      status: data.status,
      sync: data.sync,
    });
    state.peers = new Map();
    state.feeds = new Map();
    takeRows(data.feeds, state.feeds);
    takeRows(data.peers, state.peers);
    learnName(data.me.id, data.me.name);
    takers.hubs(data.hubs);
    state.ready = true;
    pause_ms = PAUSE_MS;
    setLive("live");
    touch("me", "peers", "feeds", "status", "sync");
    tell(null);
  },
  peers(data) {
    takeRows(data.changed, state.peers);
    for (const id of data.removed) state.peers.delete(id);
    touch("peers");
  },
  hubs(rows) {
    const at = performance.now();
    state.hubs = rows.map((row) => ({ ...row, at }));
    touch("hubs");
  },
  feeds(data) {
    takeRows(data.changed, state.feeds);
    for (const id of data.removed ?? []) state.feeds.delete(id);
    const own = state.feeds.get(state.me.id);
    if (own?.name && own.name !== state.me.name) {
      state.me = { ...state.me, name: own.name };
      touch("me");
    }
    touch("feeds");
  },
  status(data) {
    state.status = { ...state.status, ...data };
    touch("status");
  },
  sync(data) {
    state.sync = data;
    touch("sync");
  },
  message(row) {
    learnName(row.author, row.name);
    tell(row);
  },
  missed() {
    tell(null);
  },
  step(step) {
    state.steps.push({ ...step, number: (state.steps.at(-1)?.number ?? 0) + 1 });
    if (state.steps.length > STEPS_MAX) state.steps.splice(0, state.steps.length - STEPS_MAX);
    touch("steps");
  },
};

/** Opens the stream. `locked()` is called when the session is over. */
export function connect(locked) {
  whenLocked = locked;
  source?.close();
  source = new EventSource(`/api/events?trace=1&word=${encodeURIComponent(word())}`);
  for (const [name, take] of Object.entries(takers)) {
    source.addEventListener(name, (event) => take(JSON.parse(event.data)));
  }
  source.addEventListener("resync", comeBack);
  source.addEventListener("error", comeBack);
}

/** A page that nobody looks at gives its stream back after a while: a peer serves only few, and a browser holds only few. */
function sleepWhileHidden() {
  let falling = null;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(falling);
    if (document.hidden) {
      falling = setTimeout(() => {
        asleep = true;
        source?.close();
        source = null;
      }, HIDDEN_MS);
    } else if (asleep) {
      asleep = false;
      connect(whenLocked);
    }
  });
}

sleepWhileHidden();

async function comeBack() {
  if (source === null) return;
  source.close();
  source = null;
  setLive("lost");
  await new Promise((resolve) => setTimeout(resolve, pause_ms));
  pause_ms = Math.min(pause_ms * 2, PAUSE_MAX_MS);
  if (asleep) return;
  try {
    const session = await enter(null);
    if (session.open) connect(whenLocked);
    else whenLocked();
  } catch {
    source = { close() {} }; // the peer is not there: ask again later
    comeBack();
  }
}

/** Once a second: one more sample of what goes over all links. */
export function sample() {
  let received = 0;
  let sent = 0;
  for (const row of state.peers.values()) {
    received += row.rate_in ?? 0;
    sent += row.rate_out ?? 0;
  }
  state.samples.push([received, sent]);
  if (state.samples.length > SAMPLES_MAX) state.samples.shift();
  touch("clock");
}
