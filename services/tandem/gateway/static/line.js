// The waiting line of each queue: place, who, how long so far, and whose phone rings for them.
import { SIP } from "./api.js";
import { byId, el, keyed, setText } from "./dom.js";
import { duration, now, parse } from "./times.js";
import { privateText } from "./words.js";

export class LineView {
  #ticking = [];

  constructor(book, desk) {
    this.book = book;
    this.desk = desk;
    this.root = byId("line");
    this.number = "";
  }

  update() {
    this.#ticking = [];
    keyed(this.root, this.desk.queues.slice(0, 50), (queue) => queue.name, (queue) => this.#queue(queue));
  }

  /** Waiting times go on by themselves. */
  tick() {
    for (const { node, since } of this.#ticking) setText(node, duration(now() - since));
  }

  /** The longest wait at this moment, milliseconds; 0 if nobody waits. */
  get longest() {
    return Math.max(0, ...this.#ticking.map(({ since }) => now() - since));
  }

  #queue({ name }) {
    const title = el("span", { class: "queue-name" });
    const count = el("span", { class: "count" });
    const rows = el("ol", { class: "rows" });
    const empty = el("p", { class: "empty" });
    const node = el("section", { class: "queue" }, el("h3", {}, title, count), rows, empty);
    const update = () => {
      const { waiting = [], totalSize = 0 } = this.desk.lines.get(name) ?? {};
      setText(title, this.desk.names.queue(name));
      setText(count, totalSize ? `${totalSize} waiting` : "");
      keyed(rows, waiting, (row) => row.contact, (row) => this.#row(row));
      const dial = this.number ? `, or dial ${this.number} at ${SIP} from a softphone` : "";
      empty.hidden = waiting.length > 0 && totalSize <= waiting.length;
      setText(empty, waiting.length ? `And ${totalSize - waiting.length} more.` : `Nobody waits. Press Call${dial}.`);
    };
    return { node, update };
  }

  #row() {
    const place = el("span", { class: "place" });
    const who = el("span", { class: "who" });
    const waited = el("span", { class: "waited", title: "Waited so far" });
    const offered = el("span", { class: "offered" });
    const node = el("li", {}, place, who, waited, offered);
    const update = (row) => {
      setText(place, String(row.place));
      setText(who, privateText(this.book.contacts.get(row.contact)?.resource.caller));
      setText(offered, row.offeredAgent ? `Rings ${this.desk.names.agent(row.offeredAgent)}` : "Waits for an agent");
      offered.classList.toggle("ringing", Boolean(row.offeredAgent));
      const since = parse(row.enqueueTime);
      setText(waited, duration(now() - since));
      this.#ticking.push({ node: waited, since });
    };
    return { node, update };
  }
}
