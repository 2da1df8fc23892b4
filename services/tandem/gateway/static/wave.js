// The picture of a recording: the loudness of each channel over time, out of a WAV file's bytes.

const MULAW = 7;

/** G.711 mu-law: the size of each of the 256 samples, 0 to 1 (ITU-T G.711, table 2). */
const SIZES = Float32Array.from({ length: 256 }, (_, byte) => {
  const code = ~byte & 0xff;
  return ((((code & 0x0f) << 3) + 0x84) * 2 ** ((code >> 4) & 7) - 0x84) / 32124;
});

/** {rate, channels, samples} of a mu-law WAV. Throws RangeError for any other file. */
export function readWav(buffer) {
  const view = new DataView(buffer);
  const text = (at) => String.fromCharCode(...new Uint8Array(buffer, at, 4));
  if (buffer.byteLength < 12 || text(0) !== "RIFF" || text(8) !== "WAVE") throw new RangeError("no WAV file");
  let format = null;
  for (let at = 12; at + 8 <= buffer.byteLength; ) {
    const size = Math.min(view.getUint32(at + 4, true), buffer.byteLength - at - 8);
    if (text(at) === "fmt " && size >= 16) {
      format = { code: view.getUint16(at + 8, true), channels: view.getUint16(at + 10, true), rate: view.getUint32(at + 12, true) };
    }
    if (text(at) === "data" && format?.code === MULAW && format.channels > 0) {
      return { ...format, samples: new Uint8Array(buffer, at + 8, size) };
    }
    at += 8 + size + (size % 2);
  }
  throw new RangeError("no mu-law audio");
}

/** The greatest size in each of `columns` equal parts of a channel. */
export function peaks({ channels, samples }, channel, columns) {
  const frames = Math.floor(samples.length / channels);
  const found = new Float32Array(columns);
  for (let column = 0; column < columns; column++) {
    const stop = Math.floor(((column + 1) * frames) / columns);
    for (let frame = Math.floor((column * frames) / columns); frame < stop; frame++) {
      const size = SIZES[samples[frame * channels + channel]];
      if (size > found[column]) found[column] = size;
    }
  }
  return found;
}

/** Draw the channels one below the other, in these colours. */
export function draw(canvas, wav, colours) {
  const ratio = devicePixelRatio || 1;
  const width = (canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio)));
  const height = (canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio)));
  const context = canvas.getContext("2d");
  const lane = height / wav.channels;
  for (let channel = 0; channel < wav.channels; channel++) {
    const middle = lane * (channel + 0.5);
    context.fillStyle = colours[channel % colours.length];
    peaks(wav, channel, width).forEach((peak, x) => {
      const half = Math.max(ratio / 2, Math.sqrt(peak) * lane * 0.46);
      context.fillRect(x, middle - half, 1, half * 2);
    });
  }
}
