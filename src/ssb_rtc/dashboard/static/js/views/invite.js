// Invite and join: a code to send to a friend, a code or an id that a friend sent, an address to connect to.

import { get, post } from "../api.js";
import { h, keyed, say } from "../dom.js";
import { many, moment, short } from "../format.js";
import { nameOf, panel, state } from "../store.js";
import { act, copy } from "../toast.js";
import { followForm } from "./firststeps.js";
import { empty, field } from "./parts.js";

const ASK_MS = 5000;

let qrUrl = null;
let nextJoins_ms = 0;

function card(title, text, ...content) {
  return h(
    "section",
    { class: "card stack" },
    h("div", { class: "tight" }, h("h2", {}, title), h("p", { class: "muted" }, text)),
    ...content,
  );
}

function showCode(place, made) {
  if (qrUrl) URL.revokeObjectURL(qrUrl);
  // As an image it is a picture and nothing else, whatever is in it.
  qrUrl = URL.createObjectURL(new Blob([made.qr_svg], { type: "image/svg+xml" }));
  const code = h("textarea", {
    class: "code",
    rows: 4,
    readonly: true,
    id: "invite-code",
    onfocus: (event) => event.target.select(),
  });
  code.value = made.code;
  const until = made.expiresMs ? `until ${moment(made.expiresMs)}` : "without an end";
  place.replaceChildren(
    h("img", { class: "qr", src: qrUrl, alt: "The code as a QR code" }),
    field("The code", code),
    h(
      "div",
      { class: "row" },
      h("button", { type: "button", class: "main", onclick: () => copy(made.code, "The code was") }, "Copy the code"),
    ),
    h(
      "p",
      { class: "muted small" },
      `It works ${made.uses ? many(made.uses, "time") : "as often as it is used"}, ${until}. Send it to one person only: whoever has it can use it.`,
    ),
  );
}

function inviteCard() {
  const place = h("div", { class: "stack" });
  const note = h("input", { type: "text", maxlength: 200, autocomplete: "off", placeholder: "For whom it is, say" });
  const button = h("button", { type: "submit", class: "main" }, "Make a code");
  const submit = async (event) => {
    event.preventDefault();
    const made = await act(button, () => post("/api/invite", note.value.trim() ? { note: note.value.trim() } : {}));
    if (made) showCode(place, made);
  };
  return card(
    "Invite somebody",
    "Whoever joins with your code follows you, and your peer follows them back. Send it by chat, or let them scan it.",
    h("form", { class: "with-button", onsubmit: submit }, field("A note", note), button),
    place,
  );
}

function joinsCard() {
  const list = h("ul", { class: "bullets" });
  const node = card("Codes that wait", "They are used as soon as whoever made them is on a hub.", list);
  node.hidden = true;
  const ask = async () => {
    if (Date.now() < nextJoins_ms) return;
    nextJoins_ms = Date.now() + ASK_MS;
    try {
      const joins = await get("/api/joins");
      node.hidden = joins.length === 0;
      keyed(list, joins, {
        key: (join) => join.id,
        make: () => h("li"),
        update: (item, join) => say(item, `${nameOf(join.id) ?? short(join.id)}: ${join.text ?? join.state}`),
      });
    } catch {
      node.hidden = true;
      nextJoins_ms = Infinity; // this version makes no invitations
    }
  };
  panel("invite", ["peers", "clock"], ask);
  return node;
}

function addressCard() {
  const address = h("input", {
    type: "text",
    placeholder: "net:192.0.2.7:8008~shs:…",
    autocomplete: "off",
    spellcheck: "false",
    maxlength: 2048,
  });
  const pin = h("input", { type: "checkbox" });
  const button = h("button", { type: "submit" }, "Connect");
  const submit = async (event) => {
    event.preventDefault();
    if (!address.value.trim()) return address.focus();
    const order = { address: address.value.trim(), pin: pin.checked };
    if (
      await act(
        button,
        () => post("/api/connect", order),
        (got) => `Linked with ${nameOf(got.id) ?? short(got.id)}`,
      )
    )
      address.value = "";
  };
  return card(
    "Connect to an address",
    "Where you know it: a peer of your network, or one with an open port.",
    h(
      "form",
      { class: "tight", onsubmit: submit },
      h("div", { class: "with-button" }, field("Address", address), button),
      h("label", { class: "check" }, pin, "Keep a link with it"),
    ),
  );
}

function ownCard() {
  const id = h("p", { class: "mono" });
  id.style.overflowWrap = "anywhere";
  const none = empty(
    "No address of your own",
    "Nothing listens for others here, and nothing has to: peers meet over hubs and on the local network.",
  );
  const list = h("ul", { class: "bullets mono" });
  panel("invite", ["me", "status"], () => {
    say(id, state.me.id);
    const addresses = state.status.addresses ?? [];
    none.hidden = addresses.length > 0;
    keyed(list, addresses, { key: (address) => address, make: (address) => h("li", {}, address) });
  });
  return card(
    "Your id",
    "Somebody who has it can follow you. It is no secret.",
    id,
    h("div", {}, h("button", { type: "button", onclick: () => copy(state.me.id, "Your id was") }, "Copy your id")),
    h("h3", {}, "Your addresses"),
    none,
    list,
  );
}

export function buildInvite() {
  document
    .getElementById("view-invite")
    .append(
      h(
        "div",
        { class: "two" },
        h("div", { class: "stack" }, inviteCard(), joinsCard()),
        h(
          "div",
          { class: "stack" },
          card("Join or follow", "Paste what somebody sent you: their code, or their id.", followForm()),
          addressCard(),
          ownCard(),
        ),
      ),
    );
}
