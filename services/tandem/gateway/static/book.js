// All contacts that this page knows. The live stream fills it; what the stream leaves out is fetched.
import { get, TENANT } from "./api.js";
import { Contact } from "./model.js";

const ENDED_KEPT = 50;
const FETCHES = 4;
const TRIES = 8;
const RETRY_MS = 1000;
const INTERVALS_KEPT = 20_000;

export class Book {
  contacts = new Map();
  past = []; // phases of contacts that are no longer kept, for the plot
  #kept = ENDED_KEPT;
  #earlier; // page token of history; none before it was read, "" at its end
  #begun = null; // names that the stream has told since it began anew
  #wanted = new Map(); // name -> tries so far
  #fetching = new Set();

  /** `onChange(contact)` after each change, `onError(error)` for what could not be fetched. */
  constructor(onChange, onError) {
    this.onChange = onChange;
    this.onError = onError;
  }

  /** The stream begins anew: it will tell all live contacts first. */
  begin() {
    this.#begun = new Set();
  }

  /** Take a message of the stream. */
  take({ contact: resource, event, synced }) {
    if (synced) this.#synced();
    const name = resource?.name || event?.contact;
    if (!name) return;
    if (event?.type === "contact.erased") {
      if (this.contacts.has(name)) this.want(name); // what this page still shows of it is out of date
      return;
    }
    const contact = this.#at(name);
    this.#begun?.add(name);
    if (resource?.name) contact.resource = resource;
    if (event) contact.add([event]);
    if (!contact.whole || !resource?.name) this.want(name);
    this.#changed(contact);
  }

  /** Fetch a contact with all its events. */
  want(name) {
    if (!this.#wanted.has(name)) this.#wanted.set(name, 0);
    this.#pump();
  }

  /** Read the newest ended contacts. Throws ApiError. */
  async newest() {
    const next = await this.#page("");
    this.#earlier ??= next;
  }

  /** Read the contacts before those that were read so far. Throws ApiError. */
  async more() {
    const next = await this.#page(this.#earlier);
    this.#kept += ENDED_KEPT;
    this.#earlier = next;
  }

  get hasEarlier() {
    return Boolean(this.#earlier);
  }

  async #page(pageToken) {
    const query = { life: "LIFE_ENDED", pageSize: ENDED_KEPT, ...(pageToken && { pageToken }) };
    const page = await get(`${TENANT}/contacts`, query);
    for (const resource of page.contacts) {
      const contact = this.#at(resource.name);
      contact.resource = resource;
      this.onChange(contact);
    }
    return page.nextPageToken;
  }

  /** Live contacts, those that arrived last first. */
  get live() {
    return this.#sorted((contact) => !contact.ended && contact.resource.name);
  }

  get ended() {
    return this.#sorted((contact) => contact.ended);
  }

  #sorted(wanted) {
    return [...this.contacts.values()].filter(wanted).sort((a, b) => b.startMs - a.startMs || (a.id < b.id ? 1 : -1));
  }

  #at(name) {
    let contact = this.contacts.get(name);
    if (!contact) this.contacts.set(name, (contact = new Contact(name)));
    return contact;
  }

  #changed(contact) {
    if (contact.ended) this.#prune();
    this.onChange(contact);
  }

  /** What the stream did not tell at its beginning has ended meanwhile. */
  #synced() {
    for (const contact of this.live) if (this.#begun && !this.#begun.has(contact.name)) this.want(contact.name);
    this.#begun = null;
  }

  #prune() {
    for (const contact of this.ended.slice(this.#kept)) {
      this.contacts.delete(contact.name);
      this.past.push(...contact.segments(contact.endMs));
    }
    this.past.splice(0, this.past.length - INTERVALS_KEPT);
  }

  #pump() {
    for (const [name, tries] of this.#wanted) {
      if (this.#fetching.size >= FETCHES) return;
      if (this.#fetching.has(name)) continue;
      this.#wanted.delete(name);
      this.#fetching.add(name);
      this.#fetch(name, tries + 1).finally(() => {
        this.#fetching.delete(name);
        this.#pump();
      });
    }
  }

  async #fetch(name, tries) {
    try {
      const resource = await get(name);
      const events = [];
      for (let pageToken = "", first = true; first || pageToken; first = false) {
        const page = await get(`${name}/events`, { pageSize: 1000, ...(pageToken && { pageToken }) });
        events.push(...page.events);
        pageToken = page.nextPageToken;
      }
      const contact = this.#at(name);
      contact.resource = resource;
      contact.add(events);
      this.#changed(contact);
    } catch (error) {
      if (error.passing && tries < TRIES) {
        setTimeout(() => {
          this.#wanted.set(name, tries);
          this.#pump();
        }, RETRY_MS * tries);
      } else this.onError(error);
    }
  }
}
