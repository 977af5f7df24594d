// Which view is open: the fragment of the address names it, so that the browser's buttons work.

import { open } from "./store.js";

const HOME = "home";
const VIEWS = ["home", "messages", "peers", "hubs", "feeds", "timeline", "invite", "settings"];

let current = null;
let locked = false;

export const go = (view) => (location.hash = `#/${view}`);

function wanted() {
  const name = location.hash.replace(/^#\//, "");
  return VIEWS.includes(name) ? name : HOME;
}

function show(name, { focus }) {
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== `view-${name}`;
  for (const link of document.querySelectorAll("#nav a")) {
    if (link.hash === `#/${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const more = document.getElementById("nav-more");
  more.classList.toggle("current", document.querySelector("#nav-second [aria-current]") !== null);
  closeMore();
  const title = document.getElementById(`title-${name}`);
  document.title = `${title.textContent} - ssb-rtc`;
  current = name;
  open(name);
  if (focus) {
    scrollTo(0, 0);
    title.focus();
  }
}

function closeMore() {
  document.getElementById("nav-second").classList.remove("open");
  document.getElementById("nav-more").setAttribute("aria-expanded", "false");
}

function wireMore() {
  const more = document.getElementById("nav-more");
  const second = document.getElementById("nav-second");
  more.addEventListener("click", () => {
    more.setAttribute("aria-expanded", String(second.classList.toggle("open")));
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !second.classList.contains("open")) return;
    closeMore();
    more.focus();
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest("#nav")) closeMore();
  });
}

/** Shows that there is no session, whatever view is wanted. */
export function lock() {
  locked = true;
  show("locked", { focus: true });
}

/** Begins to follow the address. */
export function route() {
  wireMore();
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address names views only
    document.getElementById("main").focus();
  });
  addEventListener("hashchange", () => {
    if (location.hash.startsWith("#token=")) location.reload();
    else if (!locked && wanted() !== current) show(wanted(), { focus: true });
  });
  show(wanted(), { focus: false });
}
