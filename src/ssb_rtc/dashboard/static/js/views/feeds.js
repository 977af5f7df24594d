// How much of each feed is here, and how much more is known to be elsewhere.

import { h, mark, say } from "../dom.js";
import { count, many } from "../format.js";
import { LongList } from "../list.js";
import { panel, nameOf, state, totals } from "../store.js";
import { drawWho, empty, field, who } from "./parts.js";
import { followForm } from "./firststeps.js";

const ROW_HEIGHT = 58;

const row = {
  key: (feed) => feed.id,
  make(feed) {
    const parts = { who: who(feed.id), bar: h("progress", { max: 1 }), amount: h("span", { class: "amount" }) };
    const node = h("li", { class: "feeds-row" }, parts.who, parts.bar, parts.amount);
    node.parts = parts;
    return node;
  },
  update(node, feed) {
    const { who: button, bar, amount } = node.parts;
    drawWho(button, feed.id);
    const text = feed.missing
      ? `${count(feed.have)} of ${count(feed.have + feed.missing)}`
      : feed.have
        ? `${count(feed.have)}, all`
        : "nothing yet";
    mark(bar, "value", feed.have + feed.missing ? feed.have / (feed.have + feed.missing) : 0);
    mark(bar, "aria-label", `Feed of ${nameOf(feed.id) ?? feed.id.slice(0, 8)}: ${text}`);
    say(amount, text);
  },
};

export function buildFeeds() {
  const root = document.getElementById("view-feeds");
  const search = h("input", { type: "search", placeholder: "Name or id", autocomplete: "off", spellcheck: "false" });
  const list = new LongList({ label: "Feeds", height: ROW_HEIGHT, row });
  const bar = h("progress", { class: "big", max: 1, "aria-label": "All feeds" });
  const whole = h("p", {});
  const none = h(
    "div",
    { class: "card stack" },
    empty("No feed is here yet", "You get the feeds of those whom you follow."),
    followForm(),
  );
  const card = h(
    "div",
    { class: "card" },
    h(
      "div",
      { class: "row-head feeds-row", "aria-hidden": "true" },
      ["Feed", "", "Messages"].map((text) => h("span", {}, text)),
    ),
    list.element,
  );
  const draw = () => {
    const searched = search.value.trim().toLowerCase();
    const found = [...state.feeds.values()].filter(
      (feed) => !searched || `${nameOf(feed.id) ?? ""} ${feed.id}`.toLowerCase().includes(searched),
    );
    found.sort((one, other) => other.missing - one.missing || other.have - one.have || (one.id < other.id ? -1 : 1));
    const { have, missing } = totals();
    say(
      whole,
      missing
        ? `${count(have)} of ${many(have + missing, "message")} in ${many(state.feeds.size, "feed")}`
        : `All ${many(have, "message")} that are known of, in ${many(state.feeds.size, "feed")}`,
    );
    mark(bar, "value", have + missing ? have / (have + missing) : 1);
    card.hidden = state.feeds.size === 0;
    none.hidden = state.feeds.size > 0;
    list.show(found);
  };
  search.addEventListener("input", () => {
    list.element.scrollTop = 0;
    draw();
  });
  root.append(
    h(
      "div",
      { class: "stack" },
      h("div", { class: "card tight" }, h("h2", {}, "In all"), whole, bar),
      h("div", { class: "tools" }, field("Search", search)),
      card,
      none,
    ),
  );
  panel("feeds", ["feeds", "status"], draw);
}
