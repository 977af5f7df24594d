// One message, as an article. What is not a post is told in one line.

import { h, say } from "../dom.js";
import { ago, machineTime, moment, short } from "../format.js";
import { nameOf, state } from "../store.js";
import { calledShort, face, who } from "./parts.js";
import { openPeer } from "./sheet.js";
import { words } from "./words.js";

const LONG_CHARACTERS = 1400;
const LONG_LINES = 24;
const NAME_MAX = 64;

const person = (id) =>
  h(
    "button",
    { type: "button", class: "link", onclick: () => openPeer(id) },
    h("b", {}, h("bdi", {}, calledShort(id))),
  );
const isFeed = (id) => typeof id === "string" && /^@.{44}\.ed25519$/.test(id);

function time(row) {
  return h("time", { datetime: machineTime(row.timestamp_ms), title: moment(row.timestamp_ms) }, ago(row.timestamp_ms));
}

const TIMES_MS = 20000;
let timesDrawn_ms = 0;

/** Has "2 min ago" become "3 min ago", now and then. */
export function redrawTimes(posts) {
  if (Date.now() - timesDrawn_ms < TIMES_MS) return;
  timesDrawn_ms = Date.now();
  for (const node of posts.querySelectorAll("time[datetime]")) {
    const ms = Date.parse(node.dateTime);
    if (Number.isFinite(ms)) say(node, ago(ms));
  }
}

/** What a message that is no post says, as pieces of a sentence after its author's name. */
function told(row) {
  const content = row.content ?? {};
  if (row.content === null) return ["wrote something private to others"];
  if (row.type === "contact" && isFeed(content.contact)) {
    const word =
      content.blocking === true ? "blocked " : content.following === true ? "followed " : "no longer follows ";
    return [word, person(content.contact)];
  }
  if (row.type === "about" && typeof content.name === "string") {
    if (content.about === row.author)
      return ["calls themself ", h("b", {}, h("bdi", {}, content.name.slice(0, NAME_MAX)))];
    if (isFeed(content.about))
      return ["calls ", person(content.about), " ", h("b", {}, h("bdi", {}, content.name.slice(0, NAME_MAX)))];
  }
  if (row.type === "vote") return [content.vote?.value > 0 ? "liked a message" : "took back a like"];
  return ["published a message of the type ", h("code", {}, row.type ?? "none")];
}

function minor(row) {
  const raw = h("pre", { hidden: true });
  const more = h(
    "button",
    {
      type: "button",
      class: "quiet",
      "aria-expanded": "false",
      onclick: () => {
        raw.hidden = !raw.hidden;
        more.setAttribute("aria-expanded", String(!raw.hidden));
        if (!raw.hidden) say(raw, JSON.stringify(row.content, null, 2));
      },
    },
    "Details",
  );
  return h(
    "article",
    { class: "post minor" },
    h(
      "div",
      { class: "row apart" },
      h("p", { class: "grow" }, person(row.author), " ", told(row), " · ", time(row)),
      row.content ? more : null,
    ),
    raw,
  );
}

/** An article. `does`: {reply(row), thread(id)}. */
export function makePost(row, does) {
  if (row.type !== "post" || row.text === null) return minor(row);
  const text = h("div", { class: "words" }, words(row.text));
  const footer = h(
    "footer",
    {},
    h("button", { type: "button", class: "quiet", onclick: () => does.reply(row) }, "Reply"),
    h(
      "button",
      { type: "button", class: "quiet", onclick: () => does.thread(row.root ?? row.key) },
      row.root ? "Show the conversation" : "Show replies",
    ),
  );
  if (row.text.length > LONG_CHARACTERS || row.text.split("\n", LONG_LINES + 1).length > LONG_LINES) {
    text.classList.add("cut");
    const all = h(
      "button",
      {
        type: "button",
        class: "quiet",
        onclick: () => {
          text.classList.remove("cut");
          all.remove();
        },
      },
      "Show all of it",
    );
    footer.prepend(all);
  }
  const about = [time(row)];
  if (row.private) about.push(" · private, ", recipients(row));
  if (row.root) about.push(" · a reply");
  return h(
    "article",
    {
      class: row.private ? "post private" : "post",
      "aria-label": `Post by ${nameOf(row.author) ?? short(row.author)}`,
    },
    h("header", {}, face(row.author), h("div", {}, who(row.author), h("div", { class: "small muted" }, about))),
    text,
    footer,
  );
}

function recipients(row) {
  const others = row.recps.filter((id) => id !== state.me.id && id !== row.author);
  return others.length
    ? `with ${others.map(calledShort).join(", ")}`
    : row.author === state.me.id
      ? "to ourselves"
      : "to you";
}
