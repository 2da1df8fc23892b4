// The live stream: server-sent events that go on where they broke off (WHATWG HTML, 9.2).
//
// EventSource is not used: it comes back without jitter, gives up at the first refusal, and never says why.
import { open } from "./api.js";

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5000;
const SILENCE_MS = 40_000; // the server sends a comment every 15 s; more than two missing means the line is dead
const MAX_EVENT = 1 << 20;

/** Cuts a text that arrives in any pieces into events: {id, type, data}. */
export class EventParser {
  #rest = "";
  #fields = { id: "", type: "message", data: [] };

  /** The events that this piece completes. Throws RangeError if one is longer than any of ours. */
  take(piece) {
    const lines = (this.#rest + piece).split("\n");
    this.#rest = lines.pop();
    if (this.#rest.length > MAX_EVENT) throw new RangeError("an event of the stream is too long");
    const events = [];
    for (const line of lines) {
      if (line !== "") this.#field(line);
      else {
        const { id, type, data } = this.#fields;
        if (data.length) events.push({ id, type, data: data.join("\n") });
        this.#fields = { id: "", type: "message", data: [] };
      }
    }
    return events;
  }

  #field(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "id") this.#fields.id = value;
    else if (name === "event") this.#fields.type = value;
    else if (name === "data") this.#fields.data.push(value);
  }
}

/**
 * Follows a stream for as long as the page is there.
 * `onMessage(json)` gets each message; `onState(state, error)` hears "connecting", "live", "waiting", "over".
 */
export class LiveStream {
  #position = "";
  #failures = 0;
  #wake = () => {};

  constructor(path, onMessage, onState) {
    this.path = path;
    this.onMessage = onMessage;
    this.onState = onState;
    addEventListener("online", () => this.#wake());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.#wake());
  }

  /** Whether the next connection begins anew instead of going on. */
  get fresh() {
    return this.#position === "";
  }

  async run() {
    for (;;) {
      try {
        await this.#connection();
        this.onState("waiting");
      } catch (error) {
        if (error.status === 401 || error.status === 403) {
          this.onState("over", error);
          return;
        }
        // A position that this server does not know (its log is another one): begin anew.
        if (error.status === 400 || error.status === 404) this.#position = "";
        this.onState("waiting", error);
      }
      await this.#pause();
      this.onState("connecting");
    }
  }

  async #connection() {
    const controller = new AbortController();
    let watch;
    const heard = () => {
      clearTimeout(watch);
      watch = setTimeout(() => controller.abort(), SILENCE_MS);
    };
    heard();
    try {
      const headers = { Accept: "text/event-stream", ...(this.#position && { "Last-Event-ID": this.#position }) };
      const response = await open(this.path, { headers, signal: controller.signal });
      this.onState("live");
      const parser = new EventParser();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        heard();
        this.#failures = 0;
        for (const event of parser.take(value)) this.#take(event);
      }
    } finally {
      clearTimeout(watch);
      controller.abort();
    }
  }

  #take(event) {
    const message = JSON.parse(event.data);
    if (event.type === "error") throw Object.assign(new Error(message.error?.message), { status: message.error?.code });
    if (event.id) this.#position = event.id;
    this.onMessage(message);
  }

  /** A pause that grows, with chance in it so that not all pages come back in the same moment. */
  #pause() {
    const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#failures++);
    const ms = longest * (0.5 + Math.random() / 2);
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
