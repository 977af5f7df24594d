// Where posts are written: public or private, alone or as a reply, with files.

import { post, upload } from "../api.js";
import { h, keyed, say } from "../dom.js";
import { bytes, short } from "../format.js";
import { nameOf, named, state } from "../store.js";
import { act, toast } from "../toast.js";
import { field } from "./parts.js";
import { storedHere } from "./words.js";

const PEOPLE_MAX = 6;
const TELL_FROM_BYTES = 6000;
const BYTES_MAX = 8000;
const SUGGESTIONS_MAX = 200;
const ID = /@[A-Za-z0-9+/]{43}=\.ed25519/;

export class Composer {
  /** `posted(row)` is called with each message that was published. */
  constructor(posted) {
    this.posted = posted;
    this.reply = null;
    this.people = [];
    this.mentions = [];
    this.build();
    this.draw();
  }

  build() {
    this.text = h("textarea", {
      rows: 3,
      maxlength: 8000,
      placeholder: "What is new?",
      oninput: () => this.drawSize(),
      onkeydown: (event) => this.key(event),
    });
    this.about = h("p", { class: "muted small" });
    this.chips = h("div", { class: "to" });
    this.suggestions = h("datalist", { id: "people" });
    this.adding = h("input", {
      type: "text",
      list: "people",
      autocomplete: "off",
      spellcheck: "false",
      placeholder: "A name or an id",
    });
    this.toBox = h(
      "div",
      { class: "tight" },
      this.chips,
      h(
        "form",
        { class: "with-button", onsubmit: (event) => this.add(event) },
        field("Only these can read it; add somebody", this.adding),
        h("button", { type: "submit" }, "Add"),
      ),
      this.suggestions,
    );
    this.secret = h("input", { type: "checkbox", onchange: () => this.draw() });
    this.file = h("input", { type: "file", hidden: true, onchange: () => this.attach() });
    this.attaching = h("button", { type: "button", onclick: () => this.file.click() }, "Add a file");
    this.size = h("span", { class: "muted small" });
    this.send = h("button", { type: "button", class: "main", onclick: () => this.publish() }, "Publish");
    this.cancel = h("button", { type: "button", class: "quiet", onclick: () => this.clear() }, "Never mind");
    this.label = field("Write a post", this.text);
    this.element = h(
      "div",
      { class: "card composer stack" },
      this.about,
      this.label,
      this.toBox,
      h(
        "div",
        { class: "row apart" },
        h("div", { class: "row" }, this.attaching, this.file, h("label", { class: "check" }, this.secret, "Private")),
        h("div", { class: "row" }, this.size, this.cancel, this.send),
      ),
    );
  }

  key(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.publish();
  }

  /** Answers a message; the answer to a private one goes to the same people. */
  answer(row) {
    this.reply = row;
    this.secret.checked = row.private;
    const others = [...new Set([row.author, ...row.recps])].filter((id) => id !== state.me.id);
    this.people = row.private ? (others.length ? others : [state.me.id]) : [];
    this.draw();
    this.text.focus();
    this.element.scrollIntoView({ block: "nearest" });
  }

  /** Begins a private message. */
  to(id) {
    this.reply = null;
    this.secret.checked = true;
    this.people = [id];
    this.draw();
    this.text.focus();
  }

  draw() {
    const secret = this.secret.checked;
    const whose = this.reply && (nameOf(this.reply.author) ?? short(this.reply.author));
    say(this.about, this.reply ? `A reply to ${whose}: “${this.reply.text.slice(0, 90)}”` : "");
    this.about.hidden = !this.reply;
    say(this.label.firstChild, this.reply ? "Write a reply" : secret ? "Write a private message" : "Write a post");
    this.secret.disabled = Boolean(this.reply?.private);
    this.toBox.hidden = !secret;
    say(this.send, secret ? "Send" : "Publish");
    this.cancel.hidden = !this.reply && !secret;
    keyed(this.chips, this.people, {
      key: (id) => id,
      make: (id) =>
        h(
          "span",
          { class: "chip" },
          h("bdi", {}, nameOf(id) ?? short(id)),
          nameOf(id) ? h("span", { class: "id" }, short(id)) : null, // names are not unique, and anybody chooses theirs
          h(
            "button",
            { type: "button", "aria-label": `Without ${nameOf(id) ?? short(id)}`, onclick: () => this.without(id) },
            "✕",
          ),
        ),
    });
    if (secret) {
      const people = named()
        .filter(([id]) => id !== state.me.id)
        .slice(0, SUGGESTIONS_MAX);
      keyed(this.suggestions, people, {
        key: ([id]) => id,
        make: ([id, name]) => h("option", { value: `${name} ${id}` }),
      });
    }
    this.drawSize();
  }

  drawSize() {
    const size = new TextEncoder().encode(this.text.value).length;
    say(this.size, size > TELL_FROM_BYTES ? `${BYTES_MAX - size} bytes left` : "");
  }

  add(event) {
    event.preventDefault();
    const text = this.adding.value.trim();
    const id = text.match(ID)?.[0] ?? this.idOf(text);
    if (id === null) return null;
    if (!id) return toast("Nobody of that name is known here: paste their id, which begins with @.", { fault: true });
    if (this.people.length >= PEOPLE_MAX)
      return toast(`A private message has at most ${PEOPLE_MAX} readers besides you.`, { fault: true });
    if (!this.people.includes(id)) this.people = [...this.people, id];
    this.adding.value = "";
    this.draw();
  }

  /** Who is called so; null, and a word about it, where that are several: one of them may only call themself so. */
  idOf(name) {
    const ids = named()
      .filter(([id, other]) => id !== state.me.id && other.toLowerCase() === name.toLowerCase())
      .map(([id]) => id);
    if (ids.length < 2) return ids[0];
    toast(`${ids.length} people call themselves ${name} (${ids.map(short).join(", ")}): choose one by the id.`, {
      fault: true,
    });
    return null;
  }

  without(id) {
    this.people = this.people.filter((one) => one !== id);
    this.draw();
    this.adding.focus();
  }

  async attach() {
    const file = this.file.files[0];
    this.file.value = "";
    if (!file) return;
    const stored = await act(
      this.attaching,
      () => upload(file),
      (got) => `${file.name} is stored (${bytes(got.size)})`,
    );
    if (!stored) return;
    storedHere(stored.id);
    const name = file.name.replace(/[[\]()\n]/g, "_").slice(0, 100);
    this.mentions.push({ link: stored.id, name, size: stored.size, type: stored.type });
    const picture = stored.type.startsWith("image/") ? "!" : "";
    this.text.value += `${this.text.value && !this.text.value.endsWith("\n") ? "\n" : ""}${picture}[${name}](${stored.id})\n`;
    this.drawSize();
    this.text.focus();
  }

  async publish() {
    const text = this.text.value.trim();
    if (!text) return this.text.focus();
    const secret = this.secret.checked;
    if (secret && !this.people.length) {
      toast("Say who may read it: add a name or an id.", { fault: true });
      return this.adding.focus();
    }
    const order = { text, mentions: this.mentions.filter((one) => text.includes(one.link)) };
    if (secret) order.to = this.people;
    if (this.reply) Object.assign(order, { root: this.reply.root ?? this.reply.key, branch: this.reply.key });
    const row = await act(this.send, () => post("/api/publish", order), secret ? "Sent" : "Published");
    if (!row) return;
    this.clear();
    this.posted(row);
  }

  clear() {
    this.text.value = "";
    this.reply = null;
    this.people = [];
    this.mentions = [];
    this.secret.checked = false;
    this.draw();
  }
}
