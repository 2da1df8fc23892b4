"""Recordings: who said what on which channel, and nothing plain on the disk."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import signal
import sys
from array import array
from pathlib import Path

import pytest

from tandem.adapters.memory.blobs import BlobTable
from tandem.client import tones
from tandem.core import recording
from tandem.core.ports.media import (
    By,
    Cause,
    HangUp,
    LegAnswered,
    LegEnded,
    Outcome,
    RecordingFailed,
    RecordingStored,
    RecordPause,
    RecordResume,
    RecordStart,
    RecordStop,
)
from tandem.core.recording import Opener, frames_in, name_of
from tandem.core.seal import Secret
from tandem.media.backend import Row, RowKind
from tandem.wire import g711
from tandem.wire.g711 import Law
from tandem.wire.sip import events as sip
from tests.integration.media import victim
from tests.integration.media.phone import Phone
from tests.integration.media.world import NUMBER, TENANT, ListSink, world

CALLER_HZ, AGENT_HZ = 625.0, 1000.0
"""Their periods divide 20 ms, so that any frame of the tone is the same bytes."""
KEY = hashlib.sha256(b"the recording's key").digest()


def channels(file: bytes, name: str) -> tuple[array[int], array[int]]:
    """Left and right of a whole recording, opened."""
    frames, opener, audio = frames_in(len(file)), Opener(file[: recording.HEADER_BYTES], KEY, name), b""
    for chunk in recording.span(frames, recording.WAV_HEADER_BYTES, recording.wav_size(frames)).chunks:
        place, length = recording.at(frames, chunk)
        opened = opener.open(chunk, file[place : place + length])
        assert isinstance(opened, bytes)
        audio += opened
    return tones.samples_of(audio[0::2], Law.MU), tones.samples_of(audio[1::2], Law.MU)


def assert_nothing_plain(directory: Path) -> None:
    """No file holds the key, or 4 ms of either tone in either law."""
    needles = [KEY, KEY.hex().encode()]
    for hz in (CALLER_HZ, AGENT_HZ):
        for law in Law:
            frame = tones.tone(hz, 160, law)
            needles += [(frame + frame)[i : i + 32] for i in range(0, 160, 8)]
            needles += [g711.decode(law, needle)[:32] for needle in needles[-20:]]
    for path in directory.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            interleaved = content[0::2], content[1::2]
            assert not any(needle in part for needle in needles for part in (content, *interleaved)), path


class AwayAtFirst(BlobTable):
    """Refuses the first attempt."""

    attempts = 0

    def put(self, name: str, content: bytes) -> None:
        self.attempts += 1
        if self.attempts == 1:
            raise OSError("away")
        super().put(name, content)


def test_the_search_for_plain_audio_finds_it(tmp_path):
    left, right = tones.tone(CALLER_HZ, 800, Law.MU), g711.silence(Law.MU, 800)
    stereo = bytes(byte for frame in zip(left, right, strict=True) for byte in frame)
    for content in (left[77:], stereo[80:], b"x" + KEY, tones.tone(AGENT_HZ, 400, Law.A)):
        (tmp_path / "leak").write_bytes(content)
        with pytest.raises(AssertionError):
            assert_nothing_plain(tmp_path)


async def nothing_spooled(place: Path) -> None:
    """The spool's file goes once the recording was told to be stored."""
    async with asyncio.timeout(20):
        while list(place.rglob("*.sealed")):
            await asyncio.sleep(0.01)


async def test_each_party_is_on_its_channel(tmp_path):
    async with world(tmp_path) as w:
        caller, agent = w.phone("4917055", tone_hz=CALLER_HZ), w.phone("ann", tone_hz=AGENT_HZ, law=Law.A)
        first, _ = await w.talk(caller, agent, "ann-secret")
        await caller.hears(AGENT_HZ)
        await agent.hears(CALLER_HZ)
        await w.do(first, RecordStart("r1", Secret(KEY)))
        await w.do(first, RecordStart("r1", Secret(KEY)))  # already recording: done
        await caller.hears_audio(1.5)
        assert_nothing_plain(tmp_path / "spool")
        await w.do(first, RecordStop("r1"))
        stored = (await w.sink.until(RecordingStored)).body

        file = w.blobs.get(stored.blob)
        assert (stored.recording, stored.blob, stored.truncated) == ("r1", name_of(TENANT, "r1"), False)
        assert (stored.size_bytes, stored.sha256) == (len(file), hashlib.sha256(file).hexdigest())
        assert stored.frames == frames_in(len(file))
        left, right = channels(file, stored.blob)
        assert 1.4 < len(left) / 8000 < 2.5
        middle = slice(4000, 12000)
        assert tones.share(left[middle], CALLER_HZ) > 0.9
        assert tones.share(right[middle], AGENT_HZ) > 0.9
        assert tones.share(left[middle], AGENT_HZ) < 0.01
        await nothing_spooled(tmp_path)
        assert RowKind.RECORDING not in [kind for kind, _ in w.sink.rows]
        await w.do(first, RecordStop("r1"))  # ended before: done


async def test_what_is_said_in_a_pause_is_not_recorded_and_the_time_is_kept(tmp_path):
    async with world(tmp_path) as w:
        caller, agent = w.phone("4917055", tone_hz=CALLER_HZ), w.phone("ann", tone_hz=AGENT_HZ)
        first, _ = await w.talk(caller, agent, "ann-secret")
        await caller.hears(AGENT_HZ)
        await agent.hears(CALLER_HZ)
        await w.do(first, RecordStart("r1", Secret(KEY)))
        await caller.hears_audio(0.6)
        await w.do(first, RecordPause("r1"))
        await caller.hears_audio(1.0)
        await w.do(first, RecordResume("r1"))
        await caller.hears_audio(0.6)
        await w.do(first, RecordStop("r1"))
        stored = (await w.sink.until(RecordingStored)).body
        for side, hz in zip(channels(w.blobs.get(stored.blob), stored.blob), (CALLER_HZ, AGENT_HZ), strict=True):
            heard = [tones.share(side[at : at + 800], hz) > 0.5 for at in range(0, len(side) - 799, 800)]
            words = "".join(".#"[one] for one in heard).strip(".").split("#" * 3)
            assert max(len(word.strip("#")) for word in words) >= 8, words
            assert heard.count(True) >= 8


async def test_a_recording_ends_with_its_leg_and_keeps_wall_time(tmp_path):
    async with world(tmp_path) as w:
        caller = w.phone("4917055", tone_hz=CALLER_HZ)
        leg = await w.call(caller)
        asked_s = asyncio.get_running_loop().time()
        await w.do(leg, RecordStart("r1", Secret(KEY)))
        await caller.hears_audio(0.4)
        caller.muted = True
        await caller.hears_audio(0.6)
        caller.muted = False
        await caller.hears_audio(0.6)
        await w.do(leg, HangUp())
        took_s = asyncio.get_running_loop().time() - asked_s
        stored = (await w.sink.until(RecordingStored)).body
        left, right = channels(w.blobs.get(stored.blob), stored.blob)
        assert len(left) == len(right)
        assert 1.5 < len(left) / 8000 < took_s + 0.1  # what was heard, and no more than there was time
        windows = (left[i : i + tones.WINDOW] for i in range(0, len(left), tones.WINDOW))
        heard = "".join("x" if tones.loudness(window) > tones.LOUD else "-" for window in windows)
        assert re.search("x-{4,}x", heard), heard  # the pause is there, as long as it was
        assert tones.seconds_with(left, CALLER_HZ) > 0
        assert tones.loudness(right) == 0


async def test_what_cannot_be_recorded(tmp_path):
    async with world(tmp_path) as w:
        leg = await w.call(w.phone("4917055"))
        for verb, reason in (
            (RecordStart("r1", Secret(b"short")), "NO_KEY"),
            (RecordStart("../r1", Secret(KEY)), "BAD_NAME"),
        ):
            assert (await w.settled(w.begin(leg, verb))).reason == reason
        await w.do(leg, RecordStart("r1", Secret(KEY)))
        assert (await w.settled(w.begin(leg, RecordStart("r2", Secret(KEY))))).reason == "ALREADY_RECORDING"


async def test_a_spool_that_cannot_be_written_fails_the_command_and_not_the_call(tmp_path):
    async with world(tmp_path) as w:
        caller = w.phone("4917055")
        leg = await w.call(caller)
        (tmp_path / "spool").rmdir()
        settled = await w.settled(w.begin(leg, RecordStart("r1", Secret(KEY))))
        assert (settled.outcome, settled.reason) == (Outcome.FAILED, "SPOOL_FAILED")
        assert (await w.sink.until(RecordingFailed)).body.recording == "r1"
        await caller.hears_audio(0.2)


async def test_blobs_that_are_away_delay_a_recording_and_lose_nothing(tmp_path):
    async with world(tmp_path, blobs=AwayAtFirst()) as w:
        leg = await w.call(w.phone("4917055", tone_hz=CALLER_HZ))
        await w.do(leg, RecordStart("r1", Secret(KEY)))
        await w.do(leg, HangUp())
        await w.sink.until(LegEnded)
        assert (RowKind.RECORDING, name_of(TENANT, "r1")) in w.sink.rows
        stored = (await w.sink.until(RecordingStored)).body
        assert w.blobs.attempts == 2
        assert hashlib.sha256(w.blobs.get(stored.blob)).hexdigest() == stored.sha256


async def test_a_killed_node_leaves_only_ciphertext_and_its_next_life_finishes_the_recording(tmp_path):
    journal = tmp_path / "journal"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", victim.__name__, str(tmp_path), str(journal), KEY.hex(), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    caller, agent = Phone("4917055", port, tone_hz=CALLER_HZ), Phone("ann", port, tone_hz=AGENT_HZ)
    try:
        assert await agent.register("ann-secret")
        agent.auto_answer = True
        caller.dial(NUMBER)
        await caller.hears(AGENT_HZ, 1.0)
        await agent.hears(CALLER_HZ, 1.0)
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        assert_nothing_plain(tmp_path / "spool")

        sink = ListSink()
        sink.rows.update(victim.read_rows(journal))
        legs = [leg for kind, leg in sink.rows if kind is RowKind.LEG]
        assert len(legs) == 2
        async with world(tmp_path, sink=sink, rows=sink.as_rows()) as w:
            for leg in legs:
                assert (await sink.until(LegEnded, leg=leg)).body == LegEnded(Cause.MEDIA_LOST, By.NODE)
            stored = (await sink.until(RecordingStored)).body
            await caller.until(sip.CallEnded)
            await agent.until(sip.CallEnded)
            assert stored.truncated
            left, right = channels(w.blobs.get(stored.blob), stored.blob)
            assert tones.seconds_with(left, CALLER_HZ) >= 0.5
            assert tones.seconds_with(right, AGENT_HZ) >= 0.5
            await nothing_spooled(tmp_path)

            # The agent's registration was kept: the new node can ring the phone.
            await w.ring("c2.1", "ann")
            await sink.until(LegAnswered, leg="c2.1")
    finally:
        caller.close()
        agent.close()


async def test_a_spool_without_a_row_is_swept_and_a_row_without_a_spool_is_told(tmp_path):
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "orphan.sealed").write_bytes(b"sealed")
    row = Row(RowKind.RECORDING, name_of(TENANT, "r9"), {"tenant": TENANT, "leg": "c9", "recording": "r9"})
    async with world(tmp_path, rows=[row]) as w:
        told = await w.sink.until(RecordingFailed)
        assert (told.leg, told.body) == ("c9", RecordingFailed("r9", "SPOOL_LOST"))
        assert not list((tmp_path / "spool").iterdir())


async def test_one_that_an_earlier_life_stored_and_could_not_tell_is_told(tmp_path):
    """Its file is gone; the blob is there."""
    blobs, name = BlobTable(), name_of(TENANT, "r9")
    header = recording.Header(bytes(recording.SALT_BYTES))
    content = header.pack() + recording.Sealer(header, KEY, name).seal(bytes(recording.CHUNK_BYTES))
    blobs.put(name, content)
    row = Row(RowKind.RECORDING, name, {"tenant": TENANT, "leg": "c9", "recording": "r9"})
    async with world(tmp_path, rows=[row], blobs=blobs) as w:
        stored = (await w.sink.until(RecordingStored, RecordingFailed)).body
        digest = hashlib.sha256(content).hexdigest()
        assert stored == RecordingStored("r9", name, recording.CHUNK_FRAMES, len(content), digest, True)
        assert w.sink.rows == {}
