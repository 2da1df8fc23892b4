"""Prompts that a test can tell apart: each is a tone of its own."""

from __future__ import annotations

import hashlib
import io
import json
import wave
from pathlib import Path

from tandem.client import tones

PROMPT_HZ = {"menu": 350.0, "goodbye": 400.0, "music": 450.0, "apology": 550.0}
PROMPT_S = {"menu": 5.0, "goodbye": 0.6, "music": 0.5, "apology": 0.8}


def write_prompts(directory: Path) -> Path:
    """A directory with these prompts and their manifest."""
    directory.mkdir(parents=True, exist_ok=True)
    manifest = {}
    for name, hz in PROMPT_HZ.items():
        file = io.BytesIO()
        with wave.open(file, "wb") as writer:
            writer.setnchannels(1)
            writer.setsampwidth(2)
            writer.setframerate(tones.RATE)
            writer.writeframes(tones.sine(hz, int(PROMPT_S[name] * tones.RATE)).tobytes())
        (directory / f"{name}.wav").write_bytes(file.getvalue())
        manifest[name] = {"file": f"{name}.wav", "sha256": hashlib.sha256(file.getvalue()).hexdigest()}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    return directory
