// What the routing desk says: the agents' states and the waiting lines, with the names of both.
//
// The live stream tells of contacts alone, so the desk is asked again whenever a contact moves, and
// every two seconds for what moves without one (presence, the end of wrap-up).
import { get, TENANT } from "./api.js";
import { idOf } from "./words.js";

const AGENTS_EVERY_MS = 2000;
const LINES_EVERY_MS = 10_000;
const SOON_MS = 150; // events of one moment lead to one question
const MAX_QUEUES = 50;
const MAX_ROWS = 100;

export class Desk {
  agentStates = [];
  queues = [];
  lines = new Map(); // queue -> {waiting, totalSize}
  #agentNames = new Map();
  #sipUsers = new Map();
  #queueNames = new Map();
  #dirty = new Set();
  #asking = false;
  #timer = 0;

  /** `onChange()` after each change; `onError(error)`. */
  constructor(onChange, onError) {
    this.onChange = onChange;
    this.onError = onError;
    this.names = {
      agent: (name) => this.#agentNames.get(idOf(name)) || idOf(name),
      queue: (name) => this.#queueNames.get(idOf(name)) || idOf(name),
    };
    setInterval(() => this.#visible() && this.ask(), AGENTS_EVERY_MS);
    setInterval(() => this.#visible() && this.askAll(), LINES_EVERY_MS);
  }

  /** Read the configuration: queues and agents with their names. Throws ApiError. */
  async load() {
    const [queues, agents] = await Promise.all([
      get(`${TENANT}/queues`, { pageSize: 1000 }),
      get(`${TENANT}/agents`, { pageSize: 1000 }),
    ]);
    this.queues = queues.queues;
    this.#queueNames = new Map(queues.queues.map((queue) => [idOf(queue.name), queue.displayName]));
    this.#agentNames = new Map(agents.agents.map((agent) => [idOf(agent.name), agent.displayName]));
    this.#sipUsers = new Map(agents.agents.map((agent) => [agent.name, agent.sipUser]));
    this.askAll();
  }

  /** The name under which an agent's phone registers. */
  sipUser(agent) {
    return this.#sipUsers.get(agent) || idOf(agent);
  }

  /** Ask for the agents soon, and for the line of a queue that has moved. */
  ask(queue = "") {
    if (queue) this.#dirty.add(queue);
    if (!this.#timer) this.#timer = setTimeout(() => this.#answer(), SOON_MS);
  }

  askAll() {
    for (const queue of this.queues.slice(0, MAX_QUEUES)) this.#dirty.add(queue.name);
    this.ask();
  }

  async #answer() {
    this.#timer = 0;
    if (this.#asking) {
      this.ask();
      return;
    }
    this.#asking = true;
    const queues = [...this.#dirty];
    this.#dirty.clear();
    try {
      const [states, ...lines] = await Promise.all([
        get(`${TENANT}/agentStates`, { pageSize: 1000 }),
        ...queues.map((queue) => get(`${queue}/waiting`, { pageSize: MAX_ROWS })),
      ]);
      this.agentStates = states.agentStates;
      queues.forEach((queue, index) => this.lines.set(queue, lines[index]));
      this.onChange();
    } catch (error) {
      this.onError(error);
    } finally {
      this.#asking = false;
    }
  }

  #visible() {
    return document.visibilityState === "visible";
  }
}
