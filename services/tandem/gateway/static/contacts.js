// Contacts as cards: who, where they stand, the timeline; opened: every event, the recordings, hanging up.
import { post } from "./api.js";
import { byId, el, keyed, setAttribute, setText } from "./dom.js";
import { timeOf } from "./model.js";
import { Player } from "./player.js";
import { Timeline } from "./timeline.js";
import { clock, duration, now, whole } from "./times.js";
import { describe, endedByLabel, idOf, outcomeLabel, privateText, stateLabel } from "./words.js";

const MAX_LIVE_SHOWN = 50;

export class ContactsView {
  #cards = new Map();

  constructor(book, desk, onError) {
    this.book = book;
    this.desk = desk;
    this.onError = onError;
  }

  update() {
    const { live, ended } = this.book;
    const shown = live.slice(0, MAX_LIVE_SHOWN);
    const make = (contact) => this.#card(contact);
    const focused = document.activeElement;
    // Live ones first: a card that moves must be out of its old place before it is put into the new one.
    keyed(byId("live-contacts"), shown, (contact) => contact.name, make);
    keyed(byId("ended-contacts"), ended, (contact) => contact.name, make);
    if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
    const kept = new Set([...shown, ...ended].map((contact) => contact.name));
    for (const name of this.#cards.keys()) if (!kept.has(name)) this.#cards.delete(name);
    byId("live-empty").hidden = live.length > 0;
    byId("ended-empty").hidden = ended.length > 0;
    byId("earlier").hidden = !this.book.hasEarlier;
    const more = live.length > shown.length ? ` (the last ${shown.length} are shown)` : "";
    setText(byId("live-count"), live.length ? `${live.length}${more}` : "");
    setText(byId("ended-count"), ended.length ? `${this.book.hasEarlier ? "last " : ""}${ended.length}` : "");
  }

  /** Live bars grow by themselves. */
  tick() {
    for (const contact of this.book.live) this.#cards.get(contact.name)?.tick(contact);
  }

  /** One card per contact for as long as it is shown, also when it moves from live to ended. */
  #card(contact) {
    let card = this.#cards.get(contact.name);
    if (!card) this.#cards.set(contact.name, (card = new Card(contact, this.book, this.desk.names, this.onError)));
    return card;
  }
}

class Card {
  #players = new Map();

  constructor(contact, book, names, onError) {
    this.names = names;
    this.onError = onError;
    this.timeline = new Timeline(names);
    this.who = el("span", { class: "who" });
    this.chip = el("span", { class: "chip" });
    this.facts = el("span", { class: "facts" });
    this.when = el("time", { class: "since" });
    this.marks = el("span", { class: "recorded" });
    const head = el("span", { class: "card-head" }, this.who, this.chip, this.facts, this.marks, this.when);
    this.events = el("ol", { class: "events" });
    this.recordings = el("div", { class: "recordings" });
    this.hangUp = el("button", { type: "button", class: "danger", onclick: () => this.#hangUp(contact) }, "Hang up");
    this.id = el("code", { class: "id" }, contact.name);
    this.pause = el("button", { type: "button", onclick: () => this.#turnRecording(contact) });
    const actions = el("div", { class: "actions" }, this.pause, this.hangUp, this.id);
    this.node = el(
      "details",
      { class: "card", "data-contact": contact.name, ontoggle: () => this.#toggled(contact, book) },
      el("summary", {}, head, this.timeline.node),
      el("div", { class: "inside" }, this.recordings, this.events, actions),
    );
  }

  update(contact) {
    const { resource } = contact;
    setAttribute(this.node, "data-state", (resource.state ?? "").replace("STATE_", "").toLowerCase());
    setText(this.who, privateText(resource.caller));
    this.#chip(contact);
    const ended = contact.ended && resource.endedBy !== "ENDED_BY_UNSPECIFIED" ? `ended by ${endedByLabel(resource.endedBy)}` : "";
    const agent = contact.agent && this.names.agent(contact.agent);
    setText(this.facts, [resource.number && `to ${idOf(resource.number)}`, resource.queue && this.names.queue(resource.queue), agent, ended].filter(Boolean).join(" · "));
    const talks = resource.state === "STATE_TALKING";
    const paused = talks && Boolean(resource.recordingPaused);
    const kept = resource.eraseTime ? "erased" : resource.recordings?.length ? "recorded" : "";
    setText(this.marks, paused ? "recording paused" : kept);
    this.marks.classList.toggle("paused", paused);
    setText(this.pause, paused ? "Resume recording" : "Pause recording");
    this.pause.hidden = !talks;
    setText(this.when, contact.startMs ? clock(contact.startMs) : "");
    setAttribute(this.when, "title", contact.startMs ? whole(contact.startMs) : "");
    this.hangUp.hidden = contact.endMs > 0;
    this.tick(contact);
    if (this.node.open) this.#inside(contact);
  }

  tick(contact) {
    this.timeline.update(contact, now());
  }

  #chip(contact) {
    const { resource, phase } = contact;
    const kind = contact.ended ? `outcome ${resource.outcome.replace("OUTCOME_", "").toLowerCase()}` : `phase ${phase}`;
    const live = phase === "hold" ? "On hold" : stateLabel(resource.state);
    setText(this.chip, contact.ended ? outcomeLabel(resource.outcome) : live);
    setAttribute(this.chip, "class", `chip ${kind}`);
  }

  #inside(contact) {
    const start = contact.startMs;
    keyed(this.events, contact.events, (event) => event.version, (event) => {
      const at = timeOf(event);
      const what = el("span", { class: "what" });
      const node = el(
        "li",
        {},
        el("span", { class: "offset" }, `+${((at - start) / 1000).toFixed(1)} s`),
        el("time", { class: "at", title: whole(at) }, clock(at)),
        what,
        el("code", { class: "type" }, event.type),
      );
      return { node, update: (known) => setText(what, describe(known, this.names)) };
    });
    for (const name of contact.resource.recordings ?? []) {
      if (this.#players.has(name)) continue;
      const player = new Player(name, this.names);
      this.#players.set(name, player);
      this.recordings.append(player.node);
    }
    if (contact.resource.eraseTime) for (const player of this.#players.values()) player.erased();
  }

  #toggled(contact, book) {
    if (!this.node.open) return;
    if (!contact.whole) book.want(contact.name);
    this.#inside(contact);
  }

  #hangUp(contact) {
    return this.#order(this.hangUp, contact, "hangUp");
  }

  /** Shown as paused once the media node has said so, not when it was asked. */
  #turnRecording(contact) {
    return this.#order(this.pause, contact, contact.resource.recordingPaused ? "resumeRecording" : "pauseRecording");
  }

  async #order(button, contact, verb) {
    button.disabled = true;
    try {
      await post(`/v1/${contact.name}:${verb}`);
    } catch (error) {
      this.onError(error);
    } finally {
      button.disabled = false;
    }
  }
}
