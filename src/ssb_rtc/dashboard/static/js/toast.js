// What came of something that was ordered: said once, in a corner and to screen readers.

import { h } from "./dom.js";
import { sentence } from "./format.js";

const SHOWN_MS = 5000;
const FAULT_MS = 12000;

export function toast(text, { fault = false } = {}) {
  const note = h("p", { class: fault ? "toast fault" : "toast" }, text);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), fault ? FAULT_MS : SHOWN_MS);
}

/**
 * Runs `work` while `control` (a button) is out of use; says `done` (a text, or what makes one of the result) or the
 * error. Gives the result, or null where it failed.
 */
export async function act(control, work, done = null) {
  if (control?.disabled) return null;
  const focused = document.activeElement === control;
  if (control) control.disabled = true;
  try {
    const result = await work();
    const text = typeof done === "function" ? done(result) : done;
    if (text) toast(text);
    return result ?? true;
  } catch (error) {
    toast(sentence(error.message), { fault: true });
    return null;
  } finally {
    if (control) control.disabled = false;
    // A button that is out of use loses the keyboard.
    if (focused && control.isConnected && document.activeElement === document.body) control.focus();
  }
}

/** Copies a text and says so. */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied`);
  } catch {
    toast("This browser does not let the page copy: mark the text and copy it yourself.", { fault: true });
  }
}
