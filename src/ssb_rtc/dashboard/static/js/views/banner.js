// What stands over every view: warnings of the peer, and the question before a large first sync.

import { post } from "../api.js";
import { h, keyed } from "../dom.js";
import { bytes, many } from "../format.js";
import { panel, state, touch } from "../store.js";
import { act, copy } from "../toast.js";

/** The warning for the command line that says the same as the question. */
const SAID_BY_QUESTION = "`ssb-rtc sync --accept`";

function question(asked) {
  const answer = (word, done) => async (event) => {
    const now = await act(event.currentTarget, () => post("/api/sync", { answer: word }), done);
    if (!now) return;
    state.sync = { ...state.sync, ...now };
    touch("sync");
  };
  const size = asked.bytes ? ` (about ${bytes(asked.bytes)})` : "";
  return h(
    "div",
    { class: "card banner", role: "group", "aria-label": "Question" },
    h("h2", {}, "Fetch a large first part?"),
    h(
      "p",
      {},
      `${many(asked.messages, "message")}${size} of ${many(asked.feeds, "feed")} wait to be fetched. Until you answer, only the feeds that you follow yourself come.`,
    ),
    h(
      "div",
      { class: "row" },
      h(
        "button",
        { class: "main", type: "button", onclick: answer("accept", "It is being fetched") },
        "Fetch all of it",
      ),
      h(
        "button",
        { type: "button", onclick: answer("decline", "Only those whom you follow are fetched") },
        "Only whom I follow",
      ),
    ),
  );
}

const COMMAND = "ssb-rtc dashboard";

/** A peer that starts anew has another port and knows no session of before, so this page can't find it by itself. */
const gone = () =>
  h(
    "div",
    { class: "card banner", role: "alert" },
    h("h2", {}, "The peer does not answer"),
    h(
      "p",
      {},
      "It may have ended, or started anew at another address. Run ",
      h("code", {}, COMMAND),
      " in a terminal: it prints a fresh address, or says how to start the peer. This page goes on trying meanwhile.",
    ),
    h(
      "div",
      { class: "row" },
      h("button", { type: "button", onclick: () => copy(COMMAND, "The command was") }, "Copy the command"),
    ),
  );

const warning = (text) => h("div", { class: "card banner" }, h("p", {}, text));

export function buildBanner() {
  const root = document.getElementById("banner");
  panel("*", ["sync", "status", "live"], () => {
    const asked = state.sync.question;
    const told = (state.status.warnings ?? []).filter((text) => !text.includes(SAID_BY_QUESTION));
    const items = told.map((text) => ({ key: `warning ${text}`, node: () => warning(text) }));
    if (state.gone && state.live === "lost") items.unshift({ key: "gone", node: gone });
    if (asked) items.push({ key: `question ${JSON.stringify(asked)}`, node: () => question(asked) });
    keyed(root, items, { key: (item) => item.key, make: (item) => item.node() });
  });
}
