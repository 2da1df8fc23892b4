// A recording to listen to, with a picture of both channels.
import { get, open } from "./api.js";
import { el, setText } from "./dom.js";
import { clock, duration, parse } from "./times.js";
import { draw, readWav } from "./wave.js";

const MAX_DRAWN = 20_000_000; // bytes: 20 minutes; a longer one would only be a black band
const PAUSE_MS = 500;
const TRIES = 12;

/** What a call answers, asked again while history is still catching up with the end of the call. */
async function patiently(call) {
  for (let tries = 1; ; tries++) {
    try {
      return await call();
    } catch (error) {
      const early = error.passing || error.status === 404;
      if (!early || tries === TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

export class Player {
  #wav = null;
  #erased = false;

  constructor(name, names) {
    this.url = `/v1/${name}:download`;
    this.names = names;
    this.audio = el("audio", { controls: true, preload: "metadata", hidden: true, "aria-label": "Recording" });
    this.caption = el("figcaption", {}, "The recording is being fetched");
    this.canvas = el("canvas", { "aria-hidden": true });
    this.head = el("i", { class: "playhead", "aria-hidden": true });
    const lanes = el("div", { class: "lanes", "aria-hidden": true }, el("span", {}, "Caller"), el("span", {}, "Heard by the caller"));
    this.picture = el("div", { class: "picture" }, this.canvas, this.head);
    this.wave = el("div", { class: "wave" }, lanes, this.picture);
    this.node = el("figure", { class: "player" }, this.caption, this.wave, this.audio);
    this.#listen();
    this.#load(name).catch((error) => this.#failed(error));
  }

  async #load(name) {
    const recording = await patiently(() => get(name));
    if (recording.erased) this.erased();
    if (this.#erased) return;
    if (Number(recording.sizeBytes) <= MAX_DRAWN) {
      const response = await patiently(() => open(this.url));
      this.#wav = readWav(await response.arrayBuffer());
      if (this.#erased) return this.erased();
      this.#draw();
    } else this.wave.replaceChildren(el("p", { class: "empty" }, "Too long to be drawn. Play or download it."));
    const length = duration(parseFloat(recording.duration) * 1000);
    const facts = [`Recording, ${length}`, recording.agent && this.names.agent(recording.agent), clock(parse(recording.startTime))];
    const size = `${Math.max(1, Math.round(Number(recording.sizeBytes) / 1000)).toLocaleString()} kB`;
    this.caption.replaceChildren(
      facts.filter(Boolean).join(" · ") + (recording.truncated ? " · its end is missing" : "") + " ",
      el("a", { href: this.url, download: "" }, `Download (${size})`),
    );
    this.audio.src = this.url;
    this.audio.hidden = false;
  }

  /** Forget the audio: nobody may hear it any more. */
  erased() {
    this.#erased = true;
    this.#wav = null;
    this.audio.removeAttribute("src");
    this.audio.load();
    this.audio.hidden = this.wave.hidden = true;
    setText(this.caption, "The recording was erased");
    this.caption.classList.remove("problem");
  }

  #listen() {
    const { audio } = this;
    new ResizeObserver(() => this.#draw()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
    for (const type of ["timeupdate", "seeked"]) audio.addEventListener(type, () => this.#moved());
    audio.addEventListener("error", () => this.#why());
    this.picture.addEventListener("click", (event) => {
      if (!Number.isFinite(audio.duration)) return;
      const box = this.canvas.getBoundingClientRect();
      audio.currentTime = ((event.clientX - box.left) / box.width) * audio.duration;
    });
  }

  #moved() {
    const part = Number.isFinite(this.audio.duration) ? this.audio.currentTime / this.audio.duration : 0;
    this.head.style.left = `${part * 100}%`;
  }

  #draw() {
    if (!this.#wav || !this.canvas.clientWidth) return;
    const style = getComputedStyle(this.canvas);
    draw(this.canvas, this.#wav, [style.getPropertyValue("--caller"), style.getPropertyValue("--agent")]);
  }

  /** An audio element does not say why it could not load: ask again for the reason. */
  async #why() {
    try {
      await open(this.url, { headers: { Range: "bytes=0-0" } });
      this.#failed(new Error("This browser cannot play it. Download it instead."));
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error) {
    if (this.#erased) return;
    setText(this.caption, `The recording cannot be played. ${error.message}`);
    this.caption.classList.add("problem");
    this.wave.hidden = !this.#wav;
  }
}
