// A contact as this page knows it: the API's resource, its events, and the phases that follow from them.
import { idOf } from "./words.js";
import { parse } from "./times.js";

const MAX_EVENTS = 2000;

const PHASE_AFTER = {
  "contact.started": "flow",
  "contact.queued": "waiting",
  "contact.dequeued": "flow",
  "contact.agent_offered": "ringing",
  "contact.connected": "talking",
  "contact.held": "hold",
  "contact.resumed": "talking",
  "contact.requeued": "waiting",
  "contact.turned_away": "",
  "contact.disconnected": "",
};

/** When something happened, Unix milliseconds: by its own account, else when it was recorded. */
export const timeOf = (event) => Number(event.data?.at_ms ?? 0) || parse(event.eventTime);

export class Contact {
  resource = {};
  events = []; // by version; without gaps once `whole`
  #first = 1; // version of the first event that is kept

  constructor(name) {
    this.name = name;
    this.id = idOf(name);
  }

  /** Whether no event is missing among those that are kept. */
  get whole() {
    return this.events.length > 0 && this.events.every((event, index) => event.version === this.#first + index);
  }

  get startMs() {
    return parse(this.resource.createTime) || (this.events.length ? timeOf(this.events[0]) : 0);
  }

  /** When it ended; 0 while it is live. */
  get endMs() {
    const last = this.events.findLast((event) => PHASE_AFTER[event.type] === "");
    return parse(this.resource.endTime) || (last ? timeOf(last) : 0);
  }

  get ended() {
    return this.resource.state === "STATE_ENDED";
  }

  /** Add events in any order, each once. */
  add(events) {
    const all = new Map([...this.events, ...events].map((event) => [event.version, event]));
    this.events = [...all.values()].sort((a, b) => a.version - b.version);
    if (this.events.length > MAX_EVENTS) {
      this.events = this.events.slice(-MAX_EVENTS);
      this.#first = this.events[0].version;
    }
  }

  /** The agent whose phone rings or who talks or talked: a resource name or "". */
  get agent() {
    const offered = this.events.findLast((event) => event.type === "contact.agent_offered")?.data?.agent;
    if (this.resource.agent || this.resource.state !== "STATE_RINGING" || !offered) return this.resource.agent ?? "";
    return this.name.replace(/contacts\/.*/, `agents/${offered}`);
  }

  /** [{phase, from, to}], Unix milliseconds; the last `to` of a live contact is `nowMs`. */
  segments(nowMs) {
    const end = this.endMs || Math.max(nowMs, this.startMs);
    const changes = this.whole ? this.#changesOfEvents() : this.#changesOfResource();
    return changes
      .map(({ phase, at }, index) => ({ phase, from: at, to: Math.min(changes[index + 1]?.at ?? end, end) }))
      .filter((segment) => segment.phase !== "" && segment.to > segment.from);
  }

  /** The phase it is in, "" after its end. */
  get phase() {
    if (this.endMs) return "";
    return (this.whole ? this.#changesOfEvents() : this.#changesOfResource()).at(-1)?.phase ?? "";
  }

  #changesOfEvents() {
    const changes = [];
    for (const event of this.events) {
      const before = changes.at(-1)?.phase;
      let phase = PHASE_AFTER[event.type] ?? before;
      if (event.type === "contact.offer_ended" && before === "ringing") phase = "waiting";
      if (phase !== undefined && phase !== before) changes.push({ phase, at: timeOf(event) });
    }
    return changes;
  }

  /** What history's row alone tells: without rings and holds. */
  #changesOfResource() {
    const { createTime, enqueueTime, connectTime } = this.resource;
    const changes = [["flow", createTime], ["waiting", enqueueTime], ["talking", connectTime]];
    return changes.filter(([, time]) => time).map(([phase, time]) => ({ phase, at: parse(time) }));
  }
}

/** How long each phase lasted in all: [[phase, ms]], in the order in which they began. */
export function totals(segments) {
  const sums = new Map();
  for (const { phase, from, to } of segments) sums.set(phase, (sums.get(phase) ?? 0) + to - from);
  return [...sums];
}
