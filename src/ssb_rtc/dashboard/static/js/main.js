// Starts the page: exchanges the token, builds the views, opens the stream.

import { enter, onLocked } from "./api.js";
import { h, mark, say } from "./dom.js";
import { connect, sample } from "./events.js";
import { lock, route } from "./router.js";
import { panel, state, touch } from "./store.js";
import { buildBanner } from "./views/banner.js";
import { buildFeeds } from "./views/feeds.js";
import { buildHome } from "./views/home.js";
import { buildHubs } from "./views/hubs.js";
import { buildInvite } from "./views/invite.js";
import { buildMessages } from "./views/messages.js";
import { buildPeers } from "./views/peers.js";
import { buildSettings } from "./views/settings.js";
import { buildSheet } from "./views/sheet.js";
import { buildTimeline } from "./views/timeline.js";

const LIVE = { connecting: "Connecting", live: "Live", lost: "Trying to reach the peer", locked: "Locked" };
const CLOCK_MS = 1000;

/** The token of the address, which is taken out of it and of the browser's history before anything else. */
function takeToken() {
  if (!location.hash.startsWith("#token=")) return null;
  const token = decodeURIComponent(location.hash.slice("#token=".length));
  history.replaceState(null, "", "/");
  return token;
}

function showLocked(error) {
  state.live = "locked";
  touch("live");
  const view = document.getElementById("view-locked");
  if (view.children.length === 1) {
    view.append(
      h(
        "div",
        { class: "stack" },
        h("p", { class: "lead" }, error ?? "There is no session with the peer, or it is over."),
        h(
          "p",
          {},
          "In a terminal, run ",
          h("code", {}, "ssb-rtc dashboard"),
          " and open the address that it prints. Each address opens the page once.",
        ),
      ),
    );
  }
  lock();
}

async function start() {
  const token = takeToken();
  panel("*", ["live"], () => {
    mark(document.getElementById("live"), "data-state", state.live);
    say(document.getElementById("live-text"), LIVE[state.live]);
  });
  buildBanner();
  buildHome();
  buildMessages();
  buildPeers();
  buildHubs();
  buildFeeds();
  buildTimeline();
  buildInvite();
  buildSettings();
  buildSheet();
  route();
  onLocked(() => showLocked(null));
  try {
    let session = await enter(token);
    // An address that was used up still opens the page where this browser has a session.
    if (!session.open && token) session = { ...(await enter(null)), error: session.error };
    if (!session.open) return showLocked(token ? session.error : null);
  } catch (error) {
    return showLocked(error.message);
  }
  connect(() => showLocked(null));
  setInterval(() => document.hidden || sample(), CLOCK_MS);
}

start();
