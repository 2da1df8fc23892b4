// The page: wires the live stream to the views.
import { ApiError, SIP, TENANT, get, post } from "./api.js";
import { AgentsView } from "./agents.js";
import { Book } from "./book.js";
import { ContactsView } from "./contacts.js";
import { Desk } from "./desk.js";
import { byId, el, setAttribute, setText } from "./dom.js";
import { LineView } from "./line.js";
import { Plot } from "./plot.js";
import { LiveStream } from "./stream.js";
import { clock, duration, zone } from "./times.js";
import { idOf, outcomeLabel, privateText, stateLabel } from "./words.js";

const TICK_MS = 250;
const PLOT_EVERY = 4; // ticks
const MAX_NOTICES = 3;
const ANNOUNCE_MS = 1500;
const CONFIGURE_AGAIN_MS = 2000;

let dirty = true;
let lostAt = 0;
const changed = () => (dirty = true);

// ---------------------------------------------------------------- what the user is told

function notice(error) {
  const box = byId("notices");
  const text = error.message;
  if ([...box.children].some((shown) => shown.dataset.text === text)) return;
  const item = el("div", { class: "notice", "data-text": text }, el("span", {}, text));
  item.append(el("button", { type: "button", class: "quiet", onclick: () => item.remove() }, "Dismiss"));
  box.append(item);
  while (box.children.length > MAX_NOTICES) box.firstElementChild.remove();
}

/** While the page is not live the banner says so; each failed question need not. */
function trouble(error) {
  if (error.status === 401) live("over", error);
  else if (!(error instanceof ApiError) || !error.passing) notice(error);
}

const said = new Map(); // contact -> state last announced
let announcing = 0;

/** For those who listen: what a contact came to, one sentence at a time. */
function announce(contact) {
  const { state, outcome } = contact.resource;
  if (!state || said.get(contact.name) === state) return;
  const known = said.has(contact.name) || state === "STATE_IN_FLOW";
  if (contact.ended) said.delete(contact.name);
  else said.set(contact.name, state);
  if (!known || Date.now() < announcing) return;
  announcing = Date.now() + ANNOUNCE_MS;
  const agent = contact.agent && ` ${desk.names.agent(contact.agent)}`;
  setText(byId("announce"), `${privateText(contact.resource.caller)}: ${contact.ended ? outcomeLabel(outcome) : stateLabel(state)}${agent}`);
}

const LIVE_TEXTS = { connecting: "Connecting", live: "Live", waiting: "Not live, reconnecting", over: "Session ended" };

function live(state, error) {
  const node = byId("live");
  if (state === "connecting" && node.dataset.state === "waiting") return; // said already
  setAttribute(node, "data-state", state);
  setText(byId("live-text"), LIVE_TEXTS[state]);
  document.body.classList.toggle("not-live", state === "waiting" || state === "over");
  const stale = byId("stale");
  if (state === "live") {
    lostAt = 0;
    const fresh = stream.fresh;
    if (fresh) book.begin();
    configure(fresh);
  } else if (state === "waiting") {
    lostAt ||= Date.now();
    const why = error instanceof ApiError ? error.message : "The line to the server broke.";
    setText(stale, `Not live since ${clock(lostAt)}: what you see may be old. ${why} Calls go on without this page; it comes back by itself.`);
  } else if (state === "over") {
    stale.replaceChildren(el("span", {}, error.message), el("button", { type: "button", onclick: () => location.reload() }, "Load again"));
  }
  stale.hidden = state === "live" || (state === "connecting" && !lostAt);
}

// ---------------------------------------------------------------- the parts

const desk = new Desk(changed, trouble);
const book = new Book((contact) => {
  announce(contact);
  if (contact.resource.queue) desk.ask(contact.resource.queue);
  changed();
}, trouble);
const line = new LineView(book, desk);
const agents = new AgentsView(book, desk, notice);
const contacts = new ContactsView(book, desk, notice);
const plot = new Plot(book);
const stream = new LiveStream(`/v1/${TENANT}/contacts:watch`, (message) => book.take(message), live);

/** What the stream does not tell: read anew with each connection. */
async function configure(fresh) {
  try {
    const [tenant, numbers] = await Promise.all([get(TENANT), get(`${TENANT}/numbers`, { pageSize: 20 }), desk.load()]);
    setText(byId("tenant"), tenant.displayName || idOf(TENANT));
    dial(numbers.numbers);
    if (fresh) await book.newest();
    changed();
  } catch (error) {
    trouble(error);
    if (error.passing) setTimeout(configure, CONFIGURE_AGAIN_MS, fresh);
  }
}

function dial(numbers) {
  const ids = numbers.map((number) => idOf(number.name));
  line.number = ids[0] ?? "";
  const codes = ids.slice(0, 5).flatMap((id, index) => [index ? " or " : "", el("code", {}, id)]);
  const text = ids.length ? ["From a softphone, dial ", ...codes, " at ", el("code", {}, SIP)] : ["No number leads to a flow yet."];
  byId("dial").replaceChildren(...text);
}

async function call() {
  const button = byId("call");
  button.disabled = true;
  setText(button, "Calling");
  try {
    await post("/demo/call");
    setText(byId("announce"), "A robot caller dials.");
  } catch (error) {
    notice(error);
  } finally {
    button.disabled = false;
    setText(button, "Call");
  }
}

async function earlier() {
  const button = byId("earlier");
  button.disabled = true;
  try {
    await book.more();
  } catch (error) {
    notice(error);
  } finally {
    button.disabled = false;
  }
}

// ---------------------------------------------------------------- time

function render() {
  dirty = false;
  line.update();
  agents.update();
  contacts.update();
  setText(byId("figure-idle"), String(desk.agentStates.filter((state) => state.status === "STATUS_IDLE").length));
}

let ticks = 0;
function tick() {
  const moved = dirty;
  if (moved) render();
  line.tick();
  agents.tick();
  contacts.tick();
  setText(byId("figure-longest"), line.longest ? duration(line.longest) : "–");
  if (moved || ticks++ % PLOT_EVERY === 0) {
    const { waiting, talking } = plot.update();
    setText(byId("figure-waiting"), String(waiting));
    setText(byId("figure-talking"), String(talking));
  }
}

byId("call").addEventListener("click", call);
byId("earlier").addEventListener("click", earlier);
setText(byId("zone"), `Times are yours: ${zone()}.`);
setInterval(tick, TICK_MS);
stream.run();
