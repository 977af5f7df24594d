// The timeline: what the peers state manager heard, and what it ordered, as it happens.

import { h, keyed, say } from "../dom.js";
import { host, many, short, timeOfDay } from "../format.js";
import { nameOf, panel, state, touch } from "../store.js";
import { empty, field } from "./parts.js";

const SHOWN_MAX = 150;
const EFFECTS_MAX = 12;
const TIMERS = new Set(["ARM_TIMER", "CANCEL_TIMER", "SCHEDULE_PEERS_UPDATE_TICK"]);
const KINDS = {
  all: () => true,
  peers: (step) => Boolean(step.action.peer),
  hubs: (step) => Boolean(step.action.hub ?? step.action.url),
  refused: (step) => step.effects.some((effect) => effect.kind === "IGNORE_ACTION"),
};

const plain = (kind) => kind.charAt(0) + kind.slice(1).toLowerCase().replaceAll("_", " ");

/** Whom or what an action or effect is about, in a word. */
function subject(record) {
  if (typeof record.peer === "string") return nameOf(record.peer) ?? short(record.peer);
  if (typeof (record.hub ?? record.url) === "string") return host(record.hub ?? record.url);
  return typeof record.key === "string" ? record.key.slice(0, 60) : "";
}

const isNoise = (step) =>
  step.action.kind === "TIMER_EXPIRED" && step.effects.every((effect) => TIMERS.has(effect.kind));

function make(step) {
  const about = subject(step.action);
  const effects = step.effects.filter((effect) => ui.timers.checked || !TIMERS.has(effect.kind)).slice(0, EFFECTS_MAX);
  return h(
    "li",
    {},
    h("time", {}, timeOfDay(step.wall_s)),
    h(
      "div",
      {},
      h(
        "p",
        {},
        h("span", { class: "action" }, plain(step.action.kind)),
        about ? [" · ", h("bdi", {}, about)] : null,
        step.action.reason ? h("span", { class: "muted" }, `: ${step.action.reason}`) : null,
      ),
      effects.length
        ? h(
            "ul",
            { class: "effects" },
            effects.map((effect) =>
              h(
                "li",
                { class: "plain" },
                "→ ",
                h("b", {}, plain(effect.kind)),
                subject(effect) && subject(effect) !== about ? [" · ", h("bdi", {}, subject(effect))] : null,
                effect.reason ? `: ${effect.reason}` : "",
              ),
            ),
          )
        : null,
    ),
  );
}

let ui = null;
/** The steps when it was paused; null while it runs. */
let still = null;

function chosen() {
  const searched = ui.search.value.trim().toLowerCase();
  const test = KINDS[ui.kind.value];
  const found = [];
  const steps = still ?? state.steps;
  for (let index = steps.length - 1; index >= 0 && found.length < SHOWN_MAX; index -= 1) {
    const step = steps[index];
    if (!ui.timers.checked && isNoise(step)) continue;
    if (!test(step)) continue;
    step.words ??=
      `${JSON.stringify([step.action, step.effects])} ${plain(step.action.kind)} ${subject(step.action)}`.toLowerCase();
    if (!searched || step.words.includes(searched)) found.push(step);
  }
  return found;
}

function draw() {
  const steps = chosen();
  keyed(ui.list, steps, { key: (step) => `${step.number} ${ui.timers.checked}`, make });
  ui.none.hidden = steps.length > 0;
  ui.list.hidden = steps.length === 0;
  const come = still ? state.steps.filter((step) => step.number > (still.at(-1)?.number ?? 0)).length : 0;
  say(
    ui.amount,
    still
      ? `Paused${come ? `; ${many(come, "step")} came since` : ""}`
      : steps.length
        ? `The last ${many(steps.length, "step")}`
        : "",
  );
}

function pause() {
  still = still ? null : [...state.steps];
  say(ui.pause, still ? "Go on" : "Pause");
  ui.pause.setAttribute("aria-pressed", String(still !== null));
  touch("filter");
}

export function buildTimeline() {
  const again = () => touch("filter");
  ui = {
    search: h("input", {
      type: "search",
      placeholder: "Name, hub, reason…",
      autocomplete: "off",
      spellcheck: "false",
      oninput: again,
    }),
    kind: h(
      "select",
      { onchange: again },
      [
        ["all", "Everything"],
        ["peers", "About peers"],
        ["hubs", "About hubs"],
        ["refused", "What was ignored"],
      ].map(([value, text]) => h("option", { value }, text)),
    ),
    timers: h("input", { type: "checkbox", onchange: again }),
    pause: h("button", { type: "button", "aria-pressed": "false", onclick: pause }, "Pause"),
    amount: h("p", { class: "muted small" }),
    list: h("ol", { class: "timeline", "aria-label": "Steps, the newest first" }),
    none: empty(
      "Nothing to show",
      "Each decision of the peer appears here as it is made, with its reason. While nothing happens, or where nothing fits the filter, it stays empty.",
    ),
  };
  document
    .getElementById("view-timeline")
    .append(
      h(
        "div",
        { class: "tools" },
        field("Filter", ui.search),
        field("Which steps", ui.kind, "narrow"),
        h("label", { class: "check" }, ui.timers, "Timers too"),
        ui.pause,
      ),
      h("div", { class: "stack" }, ui.amount, h("div", { class: "card" }, ui.none, ui.list)),
    );
  panel("timeline", ["steps", "filter"], draw);
}
