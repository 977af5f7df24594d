// Requests to the peer. Each refusal is an Error with the sentence that the peer gave.

let csrf = "";
let whenLocked = () => {};

export const onLocked = (act) => (whenLocked = act);

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
    : await reach("/api/session");
  const answer = await response.json().catch(() => ({}));
  csrf = response.ok ? answer.csrf : "";
  return { open: response.ok, error: answer.error ?? null };
}

/** A question: get("/api/messages", {limit: 50}). What is null or empty is left out. */
export async function get(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const search = new URLSearchParams(given).toString();
  return answerOf(await reach(search ? `${path}?${search}` : path));
}

/** An order. */
export async function post(path, body) {
  return answerOf(
    await reach(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRF": csrf },
      body: JSON.stringify(body),
    }),
  );
}

/** Stores a file as a blob: {id, size, type}. */
export async function upload(file) {
  const headers = { "Content-Type": "application/octet-stream", "X-CSRF": csrf };
  return answerOf(await reach("/api/blobs", { method: "POST", headers, body: file }));
}

export const blobUrl = (id) => `/api/blobs/${encodeURIComponent(id)}`;
