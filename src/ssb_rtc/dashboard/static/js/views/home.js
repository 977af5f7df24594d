// Overview: how things stand in one sentence, what to do first, figures, the map, the links.

import { h, mark, s, say } from "../dom.js";
import { bytes, count, many, rate } from "../format.js";
import { linked, panel, SAMPLES_MAX, state, totals } from "../store.js";
import { buildFirstSteps } from "./firststeps.js";
import { buildLinks } from "./links.js";
import { buildMap } from "./map.js";

const SPARK_HEIGHT = 20;

export function buildHome() {
  const lead = h("p", { class: "lead" }, "Asking the peer how things stand…");
  const root = h("div", { class: "stack" });
  document.getElementById("view-home").append(root);
  root.append(lead);
  buildFirstSteps(root);
  root.append(figures());
  buildMap(root);
  buildLinks(root);
  panel("home", ["peers", "hubs", "status", "feeds"], () => say(lead, sentence()));
}

function sentence() {
  if (!state.ready) return "Asking the peer how things stand…";
  const links = linked().length;
  const hubs = state.hubs.filter((hub) => hub.state === "CONNECTED").length;
  const { missing } = totals();
  const meets = hubs ? `met over ${many(hubs, "hub")}` : "without any hub at the moment";
  const rest = missing ? `${many(missing, "message")} still to come.` : "Nothing that is known of is missing.";
  if (links) return `Linked with ${many(links, "peer")}, ${meets}. ${rest}`;
  if (!state.hubs.length) return "No hub yet, so only peers of your local network can find you.";
  return hubs ? `On ${many(hubs, "hub")}, waiting for others to show up.` : "Trying to reach a hub.";
}

/** One figure: a name, a value and a note under it. */
function figure(name, note) {
  const value = h("dd", {});
  const under = h("dd", { class: "note" }, note ?? "");
  return { node: h("div", { class: "figure" }, h("dt", {}, name), value, under), value, under };
}

function figures() {
  const links = figure("Linked peers");
  const hubs = figure("Hubs");
  const messages = figure("Messages");
  const disk = figure("On the disk");
  const now = figure("Coming in now");
  const bar = h("progress", { max: 1, "aria-label": "Messages that are here, of all that are known" });
  messages.under.after(h("dd", {}, bar));
  const [incoming, outgoing] = [s("path", {}), s("path", { class: "out" })];
  const spark = s(
    "svg",
    {
      class: "spark",
      viewBox: `0 0 ${SAMPLES_MAX - 1} ${SPARK_HEIGHT}`,
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    },
    incoming,
    outgoing,
  );
  now.under.after(h("dd", {}, spark));

  panel("home", ["peers", "hubs", "status", "feeds"], () => {
    const trying = [...state.peers.values()].filter((row) => row.state === "CONNECTING").length;
    say(links.value, count(linked().length));
    say(links.under, `${count(state.peers.size)} known${trying ? `, ${trying} connecting` : ""}`);
    say(hubs.value, count(state.hubs.filter((hub) => hub.state === "CONNECTED").length));
    say(hubs.under, `of ${count(state.hubs.length)} known`);
    const { have, missing } = totals();
    say(messages.value, count(have));
    say(messages.under, missing ? `${count(missing)} to come` : `of ${many(state.feeds.size, "feed")}`);
    mark(bar, "value", have + missing ? have / (have + missing) : 1);
    say(disk.value, bytes(state.status.storage_bytes));
    say(disk.under, state.sync.max ? `of ${bytes(state.sync.max)}` : "feeds and files");
  });
  panel("home", ["clock"], () => {
    const [received, sent] = state.samples.at(-1) ?? [0, 0];
    say(now.value, rate(received));
    say(now.under, `${rate(sent)} going out`);
    const most = Math.max(1024, ...state.samples.flat());
    mark(incoming, "d", curve(0, most));
    mark(outgoing, "d", curve(1, most));
  });
  return h("dl", { class: "figures" }, links.node, hubs.node, messages.node, disk.node, now.node);
}

function curve(which, most) {
  const from = SAMPLES_MAX - state.samples.length;
  const points = state.samples.map(
    (one, index) => `${from + index} ${(SPARK_HEIGHT * (1 - one[which] / most)).toFixed(1)}`,
  );
  return points.length > 1 ? `M${points.join("L")}` : "";
}
