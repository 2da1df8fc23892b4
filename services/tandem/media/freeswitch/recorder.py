"""Recordings: FreeSWITCH writes them as they are heard, into memory; whole ones are sealed and stored.

FreeSWITCH goes on recording while the agent is away, and holds no keys: the recording's own key is in its
row, sealed like all of the journal with the node key, which is in memory too. So a disk never has
what could be heard.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from tandem.core.ports.media import (
    Command,
    RecordingFailed,
    RecordingStored,
    RecordPause,
    RecordResume,
    RecordStart,
    RecordStop,
)
from tandem.core.recording import RATE, name_of
from tandem.core.seal import Secret
from tandem.media.backend import RowKind
from tandem.media.freeswitch.board import Board, OpenRecording, Seal, media_ms
from tandem.media.freeswitch.leg import Leg
from tandem.wire import esl

KEY_BYTES = 32
SUFFIX = ".ul"
"""Frames of mu-law and nothing else (mod_sndfile): what a sealed recording holds."""
_NAME = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,119}")
_AS_WE_STORE = f"RECORD_STEREO=true;record_sample_rate={RATE};enable_file_write_buffering=false"
"""The phone left, what it hears right; each 20 ms is written at once, so that a dead switch loses no more."""


class Recorder:
    """Keeps a row for each recording until it is stored."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._names: dict[str, str] = {}
        """By file."""

    # ------------------------------------------------------------------ verbs

    def start(self, leg: Leg, command: Command, verb: RecordStart, now: float) -> bool:
        """Record the leg from now on. The one that it already makes is a success."""
        board, name = self._board, name_of(leg.tenant, verb.recording)
        refusal = self._refusal(leg, verb, name)
        if refusal:
            board.settle(leg.tenant, leg.id, command.key, now, refusal)
            return True
        assert isinstance(verb.data_key, Secret)
        if leg.recording != name:
            leg.recording = name
            self._keep(name, OpenRecording(leg.tenant, leg.id, verb.recording, verb.data_key.value))

        def begun(reply: esl.Reply | esl.ApiReply, now: float) -> None:
            if reply.ok:
                board.settle(leg.tenant, leg.id, command.key, now)
                return
            board.settle(leg.tenant, leg.id, command.key, now, "NOT_RECORDED")
            if leg.recording == name:
                leg.recording = ""
                self.failed(name, "NOT_RECORDED", now)

        # Begun once more, it goes on as it was.
        board.api(f"uuid_setvar_multi {leg.channel} {_AS_WE_STORE}")
        board.api(f"uuid_record {leg.channel} start {self._file(name)}", begun)
        return True

    def _refusal(self, leg: Leg, verb: RecordStart, name: str) -> str:
        board = self._board
        if leg.recording not in ("", name):
            return "ALREADY_RECORDING"
        if not _NAME.fullmatch(verb.recording) or not _NAME.fullmatch(leg.tenant):
            return "BAD_NAME"
        if not isinstance(verb.data_key, Secret) or len(verb.data_key.value) != KEY_BYTES:
            return "NO_KEY"
        if not leg.recording and name in board.recordings:
            return "ALREADY_RECORDED"
        if len(board.recordings) >= board.config.recordings_max:
            return "SPOOL_FULL"
        return ""

    def stop(self, leg: Leg, command: Command, verb: RecordStop, now: float) -> bool:
        """End that recording, if the leg still makes it."""
        board, name = self._board, name_of(leg.tenant, verb.recording)
        if leg.recording != name:
            board.settle(leg.tenant, leg.id, command.key, now)
            return True

        def ended(reply: esl.Reply | esl.ApiReply, now: float) -> None:
            board.settle(leg.tenant, leg.id, command.key, now)
            # Its event says that the file is whole. It may have come in a gap.
            board.timers.set("tape", name, now + board.config.goodbye_s)

        board.api(f"uuid_record {leg.channel} stop {self._file(name)}", ended)
        return True

    def pause(self, leg: Leg, command: Command, verb: RecordPause | RecordResume, now: float) -> bool:
        """Silence in place of what is said, or no more."""
        board, name = self._board, name_of(leg.tenant, verb.recording)
        if leg.recording != name:
            board.settle(leg.tenant, leg.id, command.key, now, "NOT_RECORDING")
            return True

        def masked(reply: esl.Reply | esl.ApiReply, now: float) -> None:
            board.settle(leg.tenant, leg.id, command.key, now, "" if reply.ok else "NOT_RECORDING")

        action = "mask" if isinstance(verb, RecordPause) else "unmask"
        board.api(f"uuid_record {leg.channel} {action} {self._file(name)}", masked)
        return True

    # ------------------------------------------------------------------ from the switch

    def stopped(self, event: esl.Event, now: float) -> None:
        """FreeSWITCH has closed a recording's file."""
        name = self._names.get(event.get("Record-File-Path") or "")
        if name is not None:
            self.over(name)

    def over(self, name: str) -> None:
        """Nothing more will be written: seal it and store it."""
        board, recording = self._board, self._board.recordings.get(name)
        board.timers.cancel("tape", name)
        if recording is None or recording.sealing:
            return
        leg = board.legs.get(recording.leg)
        if leg is not None and leg.recording == name:
            leg.recording = ""
        recording.sealing = True
        board.seals.append(Seal(name, self._file(name), recording.key, recording.truncated))

    # ------------------------------------------------------------------ from the spool

    def stored(self, name: str, stored: RecordingStored, now: float) -> None:
        """The blob is there."""
        self._forget(name, stored, now)

    def failed(self, name: str, reason: str, now: float) -> None:
        """It could not be kept."""
        recording = self._board.recordings.get(name)
        if recording is not None:
            self._forget(name, RecordingFailed(recording.recording, reason), now)

    def restore(self, name: str, row: Mapping[str, Any]) -> None:
        """A recording of an earlier life of the agent. FreeSWITCH may still be at it."""
        recording = OpenRecording(row["tenant"], row["leg"], row["recording"], bytes.fromhex(row["key"]))
        self._note(name, recording)
        leg = self._board.legs.get(recording.leg)
        if leg is not None and not leg.recording:
            leg.recording = name
        else:
            self.over(name)

    # ------------------------------------------------------------------ inner

    def _file(self, name: str) -> str:
        return f"{self._board.config.recordings_dir}/{file_of(name)}"

    def _note(self, name: str, recording: OpenRecording) -> None:
        self._board.recordings[name] = recording
        self._names[self._file(name)] = name

    def _keep(self, name: str, recording: OpenRecording) -> None:
        self._note(name, recording)
        row = {
            "tenant": recording.tenant,
            "leg": recording.leg,
            "recording": recording.recording,
            "key": recording.key.hex(),
        }
        self._board.sink.remember(RowKind.RECORDING, name, row)

    def _forget(self, name: str, last: RecordingStored | RecordingFailed, now: float) -> None:
        recording = self._board.recordings.pop(name, None)
        if recording is not None:
            del self._names[self._file(name)]
            self._board.sink.emit(recording.tenant, recording.leg, last, media_ms(now))
            self._board.sink.remember(RowKind.RECORDING, name, None)


def file_of(name: str) -> str:
    """Name of the file that FreeSWITCH writes."""
    return hashlib.sha256(name.encode()).hexdigest()[:40] + SUFFIX
