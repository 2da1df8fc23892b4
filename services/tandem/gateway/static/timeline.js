// A contact's life as a bar over time: its phases as colours, what happened as ticks.
import { el, setAttribute, setText, keyed } from "./dom.js";
import { timeOf, totals } from "./model.js";
import { duration } from "./times.js";
import { MARKED, capital, describe, phaseLabel } from "./words.js";

const SCALES_S = [20, 30, 40, 60, 90, 120, 180, 240, 360, 480, 600, 900, 1200, 1800, 2700];

/** The length of a live bar's axis: somewhat more than what has passed, and not another one each second. */
function scaleOf(ms) {
  const s = ms / 1000;
  return 1000 * (SCALES_S.find((scale) => scale > s) ?? Math.ceil((s + 1) / 3600) * 3600);
}

export class Timeline {
  constructor(names) {
    this.names = names;
    this.bar = el("div", { class: "bar", role: "img" });
    this.ticks = el("div", { class: "ticks", "aria-hidden": true });
    this.middle = el("span");
    this.end = el("span");
    this.axis = el("div", { class: "axis", "aria-hidden": true }, el("span", {}, "0:00"), this.middle, this.end);
    this.summary = el("p", { class: "totals" });
    this.track = el("div", { class: "track" }, this.bar, this.ticks);
    this.node = el("div", { class: "timeline" }, this.track, this.axis, this.summary);
  }

  update(contact, nowMs) {
    const segments = contact.segments(nowMs);
    const start = contact.startMs;
    const passed = Math.max(1, (contact.endMs || nowMs) - start);
    const scale = contact.endMs ? passed : scaleOf(passed);
    const part = (ms) => Math.min(100, Math.max(0, ((ms - start) / scale) * 100));
    const last = contact.phase ? segments.length - 1 : -1;
    const pieces = segments.map(({ phase, from, to }, index) => ({
      key: index,
      kind: `segment ${phase}${index === last ? " open" : ""}`,
      left: `${part(from)}%`,
      right: `${100 - part(to)}%`,
    }));
    keyed(this.bar, pieces, keyOf, piece);
    const ticks = contact.events.filter((event) => MARKED.has(event.type)).map((event) => ({
      key: event.version,
      left: `${part(timeOf(event))}%`,
      title: `${duration(timeOf(event) - start)} ${describe(event, this.names)}`,
    }));
    keyed(this.ticks, ticks, keyOf, tick);
    const sums = totals(segments);
    setText(this.summary, capital(sums.map(([phase, ms]) => `${phaseLabel(phase)} ${duration(ms)}`).join(" · ")));
    setAttribute(this.bar, "aria-label", capital(sums.map(([phase]) => phaseLabel(phase)).join(", then ")));
    setText(this.middle, duration(scale / 2));
    setText(this.end, duration(scale));
  }
}

const keyOf = ({ key }) => key;

function piece() {
  const node = el("div");
  const update = ({ kind, left, right }) => {
    setAttribute(node, "class", kind);
    node.style.left = left;
    node.style.right = right;
  };
  return { node, update };
}

function tick() {
  const node = el("i");
  const update = ({ left, title }) => {
    node.style.left = left;
    setAttribute(node, "title", title);
  };
  return { node, update };
}
