// Numbers, times and ids for people.

const UNITS = ["B", "KB", "MB", "GB", "TB"];
const whole = new Intl.NumberFormat("en");
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hour12: false,
});

/** The same text, beginning with a capital. */
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export const count = (number) => whole.format(number ?? 0);

/** "1 peer", "2 peers". */
export const many = (number, one, several = `${one}s`) => `${count(number)} ${number === 1 ? one : several}`;

/** 1536 -> "1.5 KB". */
export function bytes(number) {
  let value = Math.max(0, number ?? 0);
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

export const rate = (number) => `${bytes(number)}/s`;

/** Seconds -> "42 s", "5 min", "3 h", "2 days". */
export function span(seconds) {
  const value = Math.max(0, seconds);
  if (value < 90) return `${Math.round(value)} s`;
  if (value < 5400) return `${Math.round(value / 60)} min`;
  if (value < 172800) return `${Math.round(value / 3600)} h`;
  return `${Math.round(value / 86400)} days`;
}

/** Milliseconds since 1970 -> "just now", "5 min ago", or the date. */
export function ago(ms) {
  const seconds = (Date.now() - ms) / 1000;
  if (!Number.isFinite(seconds)) return "at an unknown time";
  if (seconds < -60) return moment(ms);
  if (seconds < 45) return "just now";
  return seconds < 172800 ? `${span(seconds)} ago` : moment(ms);
}

/** Milliseconds since 1970 -> a date and time; what is no date is named so. */
export function moment(ms) {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? "at an unknown time" : day.format(date);
}

/** Seconds since 1970 -> the time of day. */
export const timeOfDay = (seconds) => clock.format(new Date(seconds * 1000));

/** For the attribute `datetime`; empty for what is no date. */
export function machineTime(ms) {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString();
}

/** "@6kps...=.ed25519" -> "@6kpsX4". */
export const short = (id) => String(id).slice(0, 8);

/** "https://hub.example.org/" -> "hub.example.org"; other addresses as they are. */
export function host(url) {
  return String(url)
    .replace(/^(swarm\+)?https?:\/\//, "$1")
    .replace(/\/$/, "");
}

/** A hue for an id, always the same. */
export function hue(id) {
  let sum = 0;
  for (const letter of String(id)) sum = (sum * 31 + letter.charCodeAt(0)) % 360;
  return sum;
}

export const STATES = {
  CONNECTED: "linked",
  CONNECTING: "connecting",
  DISCONNECTED: "not linked",
  BLOCKED: "blocked",
};
export const HUB_STATES = { CONNECTED: "connected", CONNECTING: "connecting", DISCONNECTED: "not connected" };
