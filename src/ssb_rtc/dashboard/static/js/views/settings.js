// The settings in force, and where each one came from. They are changed where they were made, not here.

import { get } from "../api.js";
import { h, keyed, say } from "../dom.js";
import { field, foldingTable } from "./parts.js";
import { panel, state } from "../store.js";

const HEADINGS = ["Setting", "Value", "From", "What it does"];
const SOURCES = {
  default: "default",
  flag: "flag",
  environment: "environment",
  file: "file",
  program: "program",
  given: "given",
};

let rows = null;

const shown = (value, unit) => {
  if (value === null || value === "" || (Array.isArray(value) && !value.length)) return "none";
  const text = Array.isArray(value)
    ? value.join(", ")
    : typeof value === "boolean"
      ? value
        ? "yes"
        : "no"
      : String(value);
  return unit && typeof value === "number" ? `${text} ${unit}` : text;
};

const cell = (more, ...content) => h("td", { role: "cell", class: more }, content);

function make(row) {
  const source = SOURCES[row.source] ?? row.source;
  const more =
    row.source === "default" ? null : h("span", { class: "small muted" }, `default: ${shown(row.default, row.unit)}`);
  return h(
    "tr",
    { role: "row" },
    cell("", h("div", { class: "tight" }, h("b", {}, row.name), h("span", { class: "small muted" }, row.flag))),
    cell("value", h("div", { class: "tight" }, shown(row.value, row.unit), more)),
    cell(
      "",
      h("span", { class: row.source === "default" ? "tag" : "tag on", title: row.where ?? row.variable }, source),
    ),
    cell("whole", h("span", { class: "muted" }, row.help)),
  );
}

export function buildSettings() {
  const search = h("input", {
    type: "search",
    placeholder: "Name or what it does",
    autocomplete: "off",
    spellcheck: "false",
  });
  const { table, body } = foldingTable(HEADINGS, "title-settings", "settings");
  const facts = h("dl", { class: "facts" });
  const amount = h("p", { class: "muted small" });
  document
    .getElementById("view-settings")
    .append(
      h(
        "div",
        { class: "stack" },
        h(
          "section",
          { class: "card", "aria-labelledby": "about-title" },
          h("div", { class: "card-head" }, h("h2", { id: "about-title" }, "This peer")),
          facts,
        ),
        h(
          "p",
          { class: "muted" },
          "Settings are shown here and changed where the peer is started: as a flag, in the environment or in the settings file. Keys and passwords are only said to be set.",
        ),
        h("div", { class: "tools" }, field("Search", search)),
        amount,
        h("div", { class: "card" }, table),
      ),
    );

  const draw = () => {
    const searched = search.value.trim().toLowerCase();
    const found = (rows ?? []).filter(
      (row) => !searched || `${row.name} ${row.flag} ${row.variable} ${row.help}`.toLowerCase().includes(searched),
    );
    keyed(body, found, { key: (row) => row.name, make });
    say(amount, rows === null ? "Asking the peer…" : `${found.length} of ${rows.length} settings`);
  };
  search.addEventListener("input", draw);
  const load = async () => {
    try {
      rows = await get("/api/settings");
      draw();
    } catch (error) {
      say(amount, error.message);
    }
  };
  panel("settings", ["me", "status"], () => {
    const told = [
      ["Id", state.me.id],
      ["Version", state.version],
      ["Folder", state.folder],
    ];
    keyed(
      facts,
      told.flatMap(([name, text]) => [
        { key: `${name}?`, tag: "dt", text: name },
        { key: name, tag: "dd", text },
      ]),
      { key: (item) => item.key, make: (item) => h(item.tag), update: (node, item) => say(node, item.text) },
    );
    if (rows === null && state.ready) load();
  });
}
