// Requests to the peer. Each refusal is an Error with the sentence that the peer gave.

/**
 * The session's word. It is kept where only pages of this very address can read it: the cookie, which is the other half
 * of the session, is sent to every port of this machine.
 */
const WORD = "word";
let kept = "";
let whenLocked = () => {};

export const onLocked = (act) => (whenLocked = act);

export function word() {
  try {
    return localStorage.getItem(WORD) ?? kept;
  } catch {
    return kept; // storage is switched off in this browser: it lasts as long as the page
  }
}

function keep(told) {
  kept = told;
  try {
    localStorage.setItem(WORD, told);
  } catch {
    // See above.
  }
}

async function answerOf(response) {
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (response.status === 401) whenLocked();
  throw new Error(answer.error ?? `the peer answered with ${response.status}`);
}

async function reach(path, options) {
  try {
    return await fetch(path, { credentials: "same-origin", ...options });
  } catch {
    throw new Error("the peer does not answer: is `ssb-rtc start` still running?");
  }
}

/** Exchanges the token of the address for a session, or takes up the one that there is. Gives whether there is one. */
export async function enter(token) {
  const response = token
    ? await reach("/api/session", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ token }),
      })
    : await reach("/api/session", { headers: { "X-CSRF": word() } });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) keep(answer.csrf);
  return { open: response.ok, error: answer.error ?? null };
}

/** A question: get("/api/messages", {limit: 50}). What is null or empty is left out. */
export async function get(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const search = new URLSearchParams(given).toString();
  return answerOf(await reach(search ? `${path}?${search}` : path, { headers: { "X-CSRF": word() } }));
}

/** An order. */
export async function post(path, body) {
  return answerOf(
    await reach(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRF": word() },
      body: JSON.stringify(body),
    }),
  );
}

/** Stores a file as a blob: {id, size, type}. */
export async function upload(file) {
  const headers = { "Content-Type": "application/octet-stream", "X-CSRF": word() };
  return answerOf(await reach("/api/blobs", { method: "POST", headers, body: file }));
}

export const blobUrl = (id) => `/api/blobs/${encodeURIComponent(id)}`;
