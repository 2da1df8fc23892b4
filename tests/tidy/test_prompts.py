"""The shipped prompts are those of the manifest, and what a telephone line carries."""

from __future__ import annotations

import array
import hashlib
import json
import math
import wave

import pytest

from tests.tidy.source import PACKAGE

PROMPTS = PACKAGE / "media" / "prompts"
MANIFEST = json.loads((PROMPTS / "manifest.json").read_text(encoding="utf-8"))
MAX_TOTAL_BYTES = 1_500_000
"""All prompts are held in memory and cloned with the repository."""


def samples(name: str) -> array.array[int]:
    with wave.open(str(PROMPTS / MANIFEST[name]["file"])) as file:
        return array.array("h", file.readframes(file.getnframes()))


def dbfs(value: float) -> float:
    return 20 * math.log10(max(value, 1) / 32767)


def test_the_demo_finds_its_prompts():
    spoken = {"welcome-menu", "invalid", "timeout", "please-wait", "no-agents", "closed", "apology", "goodbye"}
    assert spoken | {"music"} == MANIFEST.keys()


def test_no_file_stands_beside_the_manifest():
    listed = {entry["file"] for entry in MANIFEST.values()}
    assert {path.name for path in PROMPTS.glob("*.wav")} == listed
    assert sum((PROMPTS / file).stat().st_size for file in listed) < MAX_TOTAL_BYTES


@pytest.mark.parametrize("name", MANIFEST)
def test_the_file_is_the_one_that_was_listed(name):
    entry = MANIFEST[name]
    data = (PROMPTS / entry["file"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == entry["sha256"]
    assert entry["text"]
    with wave.open(str(PROMPTS / entry["file"])) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (8000, 2, 1)
        assert file.getnframes() * 1000 // 8000 == entry["duration_ms"]


@pytest.mark.parametrize("name", MANIFEST)
def test_loudness_suits_a_telephone(name):
    sound = samples(name)
    peak = max(abs(sample) for sample in sound)
    active = [sample for sample in sound if abs(sample) > peak / 30]
    rms = math.sqrt(sum(sample * sample for sample in active) / len(active))
    assert dbfs(peak) <= -2.9
    assert -28 < dbfs(rms) < -18


def test_the_music_has_no_click_where_its_end_joins_the_beginning():
    music = samples("music")
    steps = [abs(music[index] - music[index - 1]) for index in range(1, len(music))]
    assert abs(music[0] - music[-1]) <= max(steps) / 2
    assert 20_000 <= MANIFEST["music"]["duration_ms"] <= 30_000
