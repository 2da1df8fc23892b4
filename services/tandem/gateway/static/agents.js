// The agents: what they say (presence) and what routing does with them (status), each with since when.
import { post } from "./api.js";
import { byId, el, keyed, setAttribute, setText } from "./dom.js";
import { clock, duration, now, parse, whole } from "./times.js";
import { PRESENCES, idOf, presenceLabel, privateText, statusLabel } from "./words.js";

const MAX_SHOWN = 200;

export class AgentsView {
  #ticking = [];

  constructor(book, desk, onError) {
    this.book = book;
    this.desk = desk;
    this.onError = onError;
    this.root = byId("agents");
  }

  update() {
    this.#ticking = [];
    byId("agents-empty").hidden = this.desk.agentStates.length > 0;
    keyed(this.root, this.desk.agentStates.slice(0, MAX_SHOWN), (state) => state.name, (state) => this.#agent(state));
  }

  tick() {
    for (const { node, since } of this.#ticking) setText(node, `for ${duration(now() - since)}`);
  }

  #agent({ agent: name }) {
    const id = idOf(name);
    const title = el("span", { class: "who" });
    const phone = el("span", { class: "phone" });
    const select = el("select", { id: `presence-${id}`, onchange: () => this.#set(name, select) });
    for (const presence of PRESENCES) select.append(el("option", { value: `PRESENCE_${presence}` }, presenceLabel(presence)));
    const presenceSince = el("time", { class: "since" });
    const chip = el("span", { class: "chip" });
    const statusSince = el("span", { class: "since" });
    const busy = el("span", { class: "with" });
    const end = el("button", { type: "button", class: "quiet", onclick: () => this.#endWrapUp(name) }, "End wrap-up");
    const node = el(
      "li",
      { class: "agent" },
      el("div", { class: "agent-head" }, title, phone),
      el("label", { class: "field", for: select.id }, "Presence"),
      el("span", { class: "value" }, select, presenceSince),
      el("span", { class: "field" }, "Routing"),
      el("span", { class: "value" }, chip, statusSince, busy, end),
    );
    const update = (state) => {
      setText(title, this.desk.names.agent(name));
      setText(phone, state.reachable ? "phone registered" : `register a phone as ${this.desk.sipUser(name)}`);
      phone.classList.toggle("missing", !state.reachable && state.presence === "PRESENCE_AVAILABLE");
      setAttribute(select, "aria-label", `Presence of ${this.desk.names.agent(name)}`);
      if (document.activeElement !== select && !select.disabled) select.value = state.presence;
      setAttribute(select, "data-presence", state.presence.replace("PRESENCE_", "").toLowerCase());
      const since = parse(state.presenceTime);
      setText(presenceSince, since ? `since ${clock(since)}` : "");
      setAttribute(presenceSince, "title", since ? whole(since) : "");
      setText(chip, statusLabel(state.status));
      setAttribute(chip, "class", `chip status ${state.status.replace("STATUS_", "").toLowerCase()}`);
      const wrapUp = state.status === "STATUS_WRAP_UP";
      const caller = state.contact && !wrapUp && this.book.contacts.get(state.contact)?.resource.caller;
      setText(busy, caller ? privateText(caller) : "");
      end.hidden = !wrapUp;
      const at = parse(state.statusTime);
      setAttribute(statusSince, "title", at ? `since ${whole(at)}` : "");
      if (at) this.#ticking.push({ node: statusSince, since: at });
    };
    return { node, update };
  }

  async #set(name, select) {
    select.disabled = true;
    try {
      await post(`/v1/${name}:setPresence`, { presence: select.value });
    } catch (error) {
      this.onError(error);
    } finally {
      select.disabled = false;
      this.desk.ask();
    }
  }

  async #endWrapUp(name) {
    try {
      await post(`/v1/${name}:endWrapUp`);
    } catch (error) {
      this.onError(error);
    } finally {
      this.desk.ask();
    }
  }
}
