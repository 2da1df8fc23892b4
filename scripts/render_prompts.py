"""Renders the shipped prompts and the music on hold into services/tandem/media/prompts.

Run once, by hand, when a text changes (`make prompts`); the result is committed, so that nothing here is
needed at run time. Speech comes from espeak-ng and sox (`apt-get install espeak-ng sox`), music from this file.
Everything is what a telephone line carries: 8,000 samples a second, 16 bit, one channel.
"""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
import tempfile
import wave
from array import array
from pathlib import Path

PROMPTS = Path(__file__).parents[1] / "services" / "tandem" / "media" / "prompts"
RATE = 8000

SPEECH = {
    "welcome-menu": "Welcome to Tandem. For sales, press one. For support, press two.",
    "invalid": "Sorry, that is not a choice.",
    "timeout": "Sorry, I did not hear a digit.",
    "please-wait": "Thank you. Please hold the line for the next free agent.",
    "no-agents": "All our agents are busy. Please stay on the line, you keep your place.",
    "closed": "We are closed at the moment. Please call again during our opening hours.",
    "apology": "We are sorry. We cannot take your call right now. Please try again later.",
    "goodbye": "Thank you for calling. Goodbye.",
}
MUSIC_TEXT = "Music on hold: four soft chords with a slow melody; the end joins the beginning."

SPEECH_RMS_DBFS = -20.0
"""Loudness of speech while somebody speaks; telephone speech stands at about -20 dBm0."""
PEAK_DBFS = -3.0
"""No sample above this: codecs and far-end gain keep some room."""
MUSIC_RMS_DBFS = -26.0
"""Music stays behind speech: it is heard for minutes."""


def amplitude(dbfs: float) -> float:
    """Full-scale decibels as a factor of 32,767."""
    return 32767 * 10 ** (dbfs / 20)


def level(samples: list[float], rms_dbfs: float) -> array[int]:
    """16-bit samples at the given loudness, quieter where a peak would pass PEAK_DBFS."""
    peak = max(abs(sample) for sample in samples)
    active = [sample for sample in samples if abs(sample) > peak / 30]
    rms = math.sqrt(sum(sample * sample for sample in active) / len(active))
    gain = min(amplitude(rms_dbfs) / rms, amplitude(PEAK_DBFS) / peak)
    return array("h", (round(sample * gain) for sample in samples))


def speak(text: str) -> array[int]:
    """Speech between 100 ms and 300 ms of silence."""
    with tempfile.TemporaryDirectory() as directory:
        spoken, narrow = Path(directory, "spoken.wav"), Path(directory, "narrow.wav")
        subprocess.run(["espeak-ng", "-v", "en-us", "-s", "145", "-p", "42", "-g", "2", "-w", spoken, text], check=True)
        # -R and -D: the same bytes on every run. The band is what G.711 passes.
        trim = ["silence", "1", "0.01", "0.5%", "fade"]
        effects = [
            "gain",
            "-6",
            "highpass",
            "180",
            "sinc",
            "-3400",
            *trim,
            "0.005",
            "reverse",
            *trim,
            "0.02",
            "reverse",
        ]
        subprocess.run(
            ["sox", "-R", "-D", spoken, "-r", str(RATE), "-b", "16", "-c", "1", narrow, *effects],
            check=True,
        )
        with wave.open(str(narrow)) as file:
            samples = array("h", file.readframes(file.getnframes()))
    return (
        array("h", bytes(RATE // 10 * 2))
        + level([float(s) for s in samples], SPEECH_RMS_DBFS)
        + array("h", bytes(RATE * 3 // 10 * 2))
    )


def midi(note: int) -> float:
    """Frequency in Hz of a MIDI note number."""
    return 440 * 2 ** ((note - 69) / 12)


def add_note(
    loop: list[float],
    start_s: float,
    length_s: float,
    note: int,
    loudness: float,
    attack_s: float,
    partials: list[float],
) -> None:
    """Adds one note to the loop, wrapping round its end: what rings on at the end is heard at the beginning."""
    count, attack = int(length_s * RATE), int(attack_s * RATE)
    # A partial above the band would be heard as another, false note.
    heard = [(k, weight) for k, weight in enumerate(partials, start=1) if midi(note) * k < 3400]
    first = int(start_s * RATE)
    for index in range(count):
        rise = 0.5 - 0.5 * math.cos(math.pi * min(1.0, index / attack))
        fall = (0.5 + 0.5 * math.cos(math.pi * index / count)) ** 1.5
        turn = 2 * math.pi * midi(note) * index / RATE
        # A slow beat between two strings, 0.4 Hz apart, keeps long chords alive.
        tone = sum(
            weight * (math.sin(turn * k) + 0.6 * math.sin((turn + 2 * math.pi * 0.4 * index / RATE) * k))
            for k, weight in heard
        )
        loop[(first + index) % len(loop)] += loudness * rise * fall * tone


def play_music() -> array[int]:
    """A loop of 24 s: C major 9, A minor 7, F, G with an added 9, twice, under a slow melody."""
    bar_s = 3.0
    chords = [(48, 64, 67, 71, 74), (45, 60, 64, 67, 72), (41, 60, 65, 69, 72), (43, 59, 62, 67, 69)] * 2
    melody = [(76, 79), (72, 76), (77, 72), (74, 71), (79, 84), (81, 79), (76, 77), (74, 67)]
    loop = [0.0] * int(bar_s * len(chords) * RATE)
    for bar, (chord, notes) in enumerate(zip(chords, melody, strict=True)):
        for note in chord:
            add_note(loop, bar * bar_s, bar_s * 1.7, note, 0.5, 0.7, [1.0, 0.3, 0.12])
        for beat, note in enumerate(notes):
            add_note(loop, bar * bar_s + beat * bar_s / 2, 2.2, note, 0.55, 0.02, [1.0, 0.35, 0.1, 0.04])
    return level(loop, MUSIC_RMS_DBFS)


def write(name: str, samples: array[int], text: str) -> dict[str, object]:
    """Writes one WAV file and returns its line of the manifest."""
    path = PROMPTS / f"{name}.wav"
    if sys.byteorder == "big":
        samples.byteswap()
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
        file.writeframes(samples.tobytes())
    return {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "duration_ms": len(samples) * 1000 // RATE,
        "text": text,
    }


def main() -> None:
    PROMPTS.mkdir(parents=True, exist_ok=True)
    manifest = {name: write(name, speak(text), text) for name, text in SPEECH.items()}
    manifest["music"] = write("music", play_music(), MUSIC_TEXT)
    (PROMPTS / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    for name, prompt in manifest.items():
        print(f"{name:14} {prompt['duration_ms']:6} ms  {prompt['text']}")


if __name__ == "__main__":
    main()
