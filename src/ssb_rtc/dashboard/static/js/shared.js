// What came of being found: the codes that we gave out, and whether somebody follows us. Asked while a view shows it.

import { get } from "./api.js";
import { followMessages } from "./events.js";
import { state, touch } from "./store.js";

const ASK_MS = 5000;

let nextCodes_ms = 0;
let nextFollowed_ms = 0;

/** Asks for the codes given out, into `state.codes`; seldom, unless one was just made or taken back (`now`). */
export async function askCodes({ now = false } = {}) {
  if (!now && Date.now() < nextCodes_ms) return;
  nextCodes_ms = Date.now() + ASK_MS;
  try {
    state.codes = await get("/api/invites");
    touch("codes");
  } catch {
    // It is asked again.
  }
}

/** Asks whether anybody follows us, into `state.followed`; seldom. */
export async function askFollowed() {
  if (Date.now() < nextFollowed_ms) return;
  nextFollowed_ms = Date.now() + ASK_MS;
  try {
    const { messages } = await get("/api/messages", { links_to: state.me.id, type: "contact", limit: 100 });
    state.followed = followers(messages).size > 0;
    touch("codes");
  } catch {
    // It is asked again.
  }
}

followMessages((row) => {
  // Whom we follow anew may have come with a code of ours: it is asked for at the next second.
  if (row?.type === "contact" && row.author === state.me.id) nextCodes_ms = 0;
  if (row === null || state.followed || !followers([row]).size) return;
  state.followed = true;
  touch("codes");
});

/** Who follows us, by their last word on that; `rows`: the newest first. */
function followers(rows) {
  const said = new Map();
  for (const { author, content } of rows) {
    const isWord = typeof content?.following === "boolean" || content?.blocking === true;
    if (author === state.me.id || content?.contact !== state.me.id || !isWord || said.has(author)) continue;
    said.set(author, content.following === true);
  }
  return new Set([...said].filter(([, follows]) => follows).map(([id]) => id));
}
