// What the API's stable names are called on this page.
import { duration } from "./times.js";

const plain = (text) => text.toLowerCase().replaceAll("_", " ");
const without = (prefix, text = "") => (text.startsWith(prefix) ? text.slice(prefix.length) : text);

/** The label of an enum's value; one that this page does not know is shown as its name. */
const label = (table, prefix, value) => {
  const name = without(prefix, value);
  return table[name] ?? plain(name);
};

const STATES = { IN_FLOW: "In the menu" };
const OUTCOMES = {
  HANDLED: "Handled",
  ABANDONED: "Gave up waiting",
  LEFT_IN_FLOW: "Left in the menu",
  FLOW_ENDED: "Ended by the flow",
  HUNG_UP: "Hung up by a supervisor",
  MEDIA_LOST: "Line lost",
  FALLBACK: "Heard the apology",
  REFUSED: "Refused",
  FAILED: "Failed",
};
const STATUSES = {
  OFF_QUEUE: "Off queue",
  IDLE: "Idle",
  ALERTING: "Ringing",
  INTERACTING: "Talking",
  WRAP_UP: "Wrap-up",
  NOT_RESPONDING: "Not responding",
  BACKING_OFF: "Backing off",
};
const ENDED_BY = { CALLER: "the caller", AGENT: "the agent", FLOW: "the flow", API: "a supervisor", NODE: "the media node" };
const OFFERS = {
  REJECTED: "declined or was busy",
  TIMEOUT: "did not answer",
  CANCELED: "rings no more, the caller left",
  RESCINDED: "rings no more, routing took the call back",
  UNREACHABLE: "could not be reached",
  UNKNOWN: "may or may not have been rung, nobody is blamed",
};
const CAUSES = { NO_ANSWER: "no answer", NO_MEDIA: "no audio came", MEDIA_LOST: "the media node died" };
const REQUEUED = {
  AGENT_LOST: "the agent's line was lost",
  NOT_BRIDGED: "the two could not be connected",
  REFERRED: "the agent's phone let go of the caller",
};

export const PRESENCES = ["AVAILABLE", "BUSY", "BREAK", "MEAL", "MEETING", "TRAINING", "AWAY", "OFFLINE"];
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
export const presenceLabel = (name) => capital(plain(without("PRESENCE_", name)));
export const statusLabel = (status) => capital(label(STATUSES, "STATUS_", status));
export const outcomeLabel = (outcome) => capital(label(OUTCOMES, "OUTCOME_", outcome));
export const stateLabel = (state) => capital(label(STATES, "STATE_", state));
export const endedByLabel = (by) => label(ENDED_BY, "ENDED_BY_", by);

/** The last segment of a resource name. */
export const idOf = (name = "") => name.slice(name.lastIndexOf("/") + 1);

/** A private text (tandem.api.type.v1.PrivateText), or in brackets why there is none. */
export function privateText(text) {
  if (text?.value) return text.value;
  const why = without("VISIBILITY_", text?.visibility);
  return !why || why === "SHOWN" ? "unknown caller" : `(${plain(why)})`;
}

const PHASES = { flow: "menu", waiting: "waiting", ringing: "ringing", talking: "talking", hold: "hold" };
export const phaseLabel = (phase) => PHASES[phase];

const seconds = (ms) => `${Math.round(Number(ms) / 1000)}\u00a0s`;

function step(data) {
  const prompts = (data.prompts ?? []).join(", ");
  switch (data.kind) {
    case "STEP_KIND_ANSWER":
      return "The flow answers the call";
    case "STEP_KIND_PLAY":
      return `Hears ${prompts}`;
    case "STEP_KIND_MENU":
      return `Menu “${data.step}” asks${data.attempt > 1 ? ` again, try ${data.attempt}` : ""}${prompts ? `: ${prompts}` : ""}`;
    case "STEP_KIND_HANG_UP":
      return prompts ? `Hears ${prompts}; the flow hangs up` : "The flow hangs up";
    default:
      return `Step “${data.step}”`;
  }
}

function missed(data) {
  const pressed = data.timeout ? "Nothing was pressed" : `Pressed ${data.digits || "a digit"}, which is no choice`;
  return `${pressed} (try ${data.attempt ?? 1})`;
}

function offerEnded(data, names) {
  const how = label(OFFERS, "OFFER_OUTCOME_", data.outcome);
  const rang = data.rang_ms ? ` after ${seconds(data.rang_ms)}` : "";
  return `${names.agent(data.agent)} ${how}${rang}; the caller keeps the place`;
}

function recovered(data) {
  const rest = data.rejoin ? ", out of line for a moment" : "";
  return `Tandem could not decide ${data.refused ?? "something"} (${data.why ?? "no reason given"})${rest}`;
}

function recorded(data) {
  if (!data.blob) return `The recording was not kept: ${plain(data.reason ?? "no reason given")}`;
  const end = data.truncated ? ", its end is missing" : "";
  return `Recording kept, ${duration(Number(data.frames ?? 0) / 8)}${end}`;
}

/** A caller who was moved to another media node has a leg of its own there. */
const isCallers = (leg = "", own) => leg === own || /\.move\d+$/.test(leg);

const EVENTS = {
  "contact.started": (d) => `Calls ${d.number ?? ""}${d.caller ? ` from ${d.caller}` : ""}`,
  "contact.turned_away": (d) => `The call to ${d.number ?? "us"} was refused: ${plain(d.reason ?? "")}`,
  "contact.answered": () => "Answered",
  "contact.step_entered": step,
  "contact.menu_chosen": (d) => `Pressed ${d.digits || "a digit"}, goes on to “${d.next}”`,
  "contact.menu_missed": missed,
  "contact.queued": (d, n) => `Waits for ${n.queue(d.queue)}`,
  "contact.music_started": () => "Music plays",
  "contact.dequeued": (d, n) => `Waits no longer for ${n.queue(d.queue)}: ${plain(d.why ?? "")}`,
  "contact.agent_offered": (d, n) => `Rings ${n.agent(d.agent)}, at most ${seconds(d.ring_timeout_ms ?? 0)}`,
  "contact.agent_ringing": () => "The agent's phone rings",
  "contact.offer_cancel_begun": () => "The agent's phone is told to stop ringing",
  "contact.offer_ended": offerEnded,
  "contact.offer_turned_down": (d, n) => `${n.agent(d.agent)} was offered when the call no longer waited`,
  "contact.agent_answered": (d, n) => `${n.agent(d.agent)} answers`,
  "contact.connected": (d, n) => `Talks with ${n.agent(d.agent)}${d.recording ? ", recorded from here" : ""}`,
  "contact.held": (d) => `Put on hold by ${endedByLabel(d.by)}`,
  "contact.resumed": (d) => `Taken off hold by ${endedByLabel(d.by)}`,
  "contact.recording_pause_begun": (d) => (d.paused ? "The recording is to pause" : "The recording is to go on"),
  "contact.recording_paused": () => "Silence on the recording from here",
  "contact.recording_resumed": () => "Recorded again from here",
  "contact.recording_pause_failed": (d) => `The recording could not be ${d.paused ? "paused" : "resumed"}: ${plain(d.reason ?? "")}`,
  "contact.requeued": (d) => `Back at the old place in line: ${label(REQUEUED, "WHY_REQUEUED_", d.why)}`,
  "contact.queue_rejoined": (d, n) => `Back in line for ${n.queue(d.queue)}, at the old place`,
  "contact.offer_not_held": () => "Routing asked after an offer that is over, and is told its end again",
  "contact.place_not_held": () => "Routing asked whether the call still waits, and is told that it does not",
  "contact.recovered": recovered,
  "contact.disconnected": (d) => `${label(OUTCOMES, "CONTACT_OUTCOME_", d.outcome)}, ended by ${endedByLabel(d.by)}`,
  "contact.leg_closed": (d, n, own) => `The ${isCallers(d.leg, own) ? "caller's" : "agent's"} line is down (${label(CAUSES, "CAUSE_", d.cause)})`,
  "contact.leg_in_doubt": () => "Nobody knows whether the agent's phone still rings: it is told to hang up",
  "contact.move_begun": (d) => `The media node is being emptied: ${d.node} is to take the call over`,
  "contact.handed_out": () => "The other media node is asked",
  "contact.moved": (d) => `On media node ${d.node} now, at the same place in line`,
  "contact.move_failed": (d) => `Stays on its media node: ${plain(d.reason ?? "")}`,
  "contact.offer_kept": (d, n) => `${n.agent(d.agent)} is rung when the move is over`,
  "contact.recording_ended": recorded,
  "contact.wrap_up_ended": () => "The agent's wrap-up is over",
  "contact.completed": () => "Nothing more will happen to this contact",
  "contact.erased": (d) => `${d.scope === "ERASURE_SCOPE_RECORDINGS" ? "The recordings were" : "All that was private was"} erased ${d.cause === "ERASURE_CAUSE_RETENTION" ? "as the retention policy says" : "on request"}`,
};

/** An event in a sentence. `names` has agent(id) and queue(id). */
export function describe(event, names) {
  const words = EVENTS[event.type];
  return words ? words(event.data ?? {}, names, idOf(event.contact)) : event.type;
}

/** Events that get a mark on the timeline's bar. */
export const MARKED = new Set([
  "contact.menu_chosen",
  "contact.menu_missed",
  "contact.offer_ended",
  "contact.agent_answered",
  "contact.held",
  "contact.resumed",
  "contact.recording_paused",
  "contact.recording_resumed",
  "contact.requeued",
  "contact.moved",
  "contact.disconnected",
]);
