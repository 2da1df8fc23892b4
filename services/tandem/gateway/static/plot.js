// How many waited and how many talked, over the last ten minutes; computed from the contacts' own times.
import { byId, setAttribute, setText, svg } from "./dom.js";
import { now } from "./times.js";

const SPAN_MS = 600_000;
const WIDTH = 600;
const HEIGHT = 100;
const GROUPS = { waiting: ["waiting", "ringing"], talking: ["talking", "hold"] };

/** [[ms, count]] of the moments since `from` at which the number of open intervals changed. */
export function counts(intervals, from, to) {
  const moves = [];
  for (const interval of intervals) {
    if (interval.to <= from || interval.from >= to) continue;
    moves.push([Math.max(interval.from, from), 1]);
    if (interval.to < to) moves.push([interval.to, -1]);
  }
  moves.sort((a, b) => a[0] - b[0]);
  const points = [[from, 0]];
  for (const [at, by] of moves) {
    const count = points.at(-1)[1] + by;
    if (points.at(-1)[0] === at) points.at(-1)[1] = count;
    else points.push([at, count]);
  }
  return points;
}

export class Plot {
  constructor(book) {
    this.book = book;
    this.root = byId("plot");
    this.paths = { talking: svg("path", { class: "line talking" }), waiting: svg("path", { class: "line waiting" }) };
    this.area = svg("path", { class: "area waiting" });
    this.root.append(this.area, this.paths.talking, this.paths.waiting);
    const words = new Intl.RelativeTimeFormat(undefined, { style: "narrow" });
    setText(byId("plot-from"), words.format(-SPAN_MS / 60_000, "minute"));
  }

  update() {
    const to = now();
    const from = to - SPAN_MS;
    this.book.past = this.book.past.filter((interval) => interval.to > from);
    const recent = [...this.book.contacts.values()].filter((contact) => !contact.endMs || contact.endMs > from);
    const segments = [...recent.flatMap((contact) => contact.segments(to)), ...this.book.past];
    const series = {};
    for (const [name, phases] of Object.entries(GROUPS)) {
      series[name] = counts(segments.filter(({ phase }) => phases.includes(phase)), from, to);
    }
    const most = Math.max(...Object.values(series).flatMap((points) => points.map(([, count]) => count)));
    const top = Math.max(2, most + (most % 2));
    const place = (ms, count) => [((ms - from) / SPAN_MS) * WIDTH, HEIGHT - (count / top) * (HEIGHT - 6) - 2];
    for (const [name, path] of Object.entries(this.paths)) setAttribute(path, "d", steps(series[name], place));
    setAttribute(this.area, "d", `${steps(series.waiting, place)}V${HEIGHT}H0Z`);
    setText(byId("plot-top"), String(top));
    const last = (name) => series[name].at(-1)[1];
    setAttribute(this.root, "aria-label", `Last 10 minutes: ${last("waiting")} waiting and ${last("talking")} talking now, at most ${most} at once`);
    return { waiting: last("waiting"), talking: last("talking") };
  }
}

/** A line in steps through the points, to the right edge. */
function steps(points, place) {
  let path = "";
  for (const [index, point] of points.entries()) {
    const [x, y] = place(...point).map((value) => value.toFixed(1));
    path += index ? `H${x}V${y}` : `M${x},${y}`;
  }
  return `${path}H${WIDTH}`;
}
