// Times: the server's clock, durations, and clock times in the viewer's zone.

let offsetMs = 0;

/** Learn the server's clock from the Date header of an answer. It is right to a second, so small differences do not count. */
export function learnClock(response) {
  const date = Date.parse(response.headers.get("date") ?? "");
  if (Number.isNaN(date)) return;
  const found = date + 500 - Date.now();
  offsetMs = Math.abs(found) < 2000 ? 0 : found;
}

/** Now by the server's clock, Unix milliseconds. */
export const now = () => Date.now() + offsetMs;

/** Unix milliseconds of an API timestamp, 0 for one that is not set. */
export const parse = (text) => (text ? Date.parse(text) : 0);

/** 0:07, 12:34, 1:02:03. */
export function duration(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(s / 3600);
  const minutes = Math.floor(s / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(s % 60)}` : `${minutes}:${two(s % 60)}`;
}

const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const WITH_DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "medium" });
const WHOLE = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

/** The clock time, with the day unless it is today. */
export function clock(ms) {
  const sameDay = new Date(ms).toDateString() === new Date(now()).toDateString();
  return (sameDay ? CLOCK : WITH_DAY).format(ms);
}

/** Day, time and zone in full. */
export const whole = (ms) => WHOLE.format(ms);

export const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;
