"""Recordings: begun by a verb, grown by ticks, stored by the spool in its own time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tandem.core.ports.media import (
    RecordingFailed,
    RecordingStored,
    RecordPause,
    RecordResume,
    RecordStart,
    RecordStop,
)
from tandem.core.recording import SALT_BYTES, Header, Sealer, name_of
from tandem.core.seal import Secret
from tandem.media.backend import RowKind
from tandem.media.builtin.board import Board, OpenRecording, media_ms
from tandem.media.builtin.leg import Leg, Recording
from tandem.media.builtin.tape import Tape

KEY_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,119}")


class Recorder:
    """Keeps a row for each recording until it is stored."""

    def __init__(self, board: Board) -> None:
        self._board = board

    # ------------------------------------------------------------------ verbs

    def start(self, leg: Leg, key: str, verb: RecordStart, now: float) -> None:
        """Record the leg from now on. The one that it already makes is a success."""
        refusal = self._refusal(leg, verb)
        if refusal is not None:
            self._board.settle(leg.tenant, leg.id, key, now, refusal)
            return
        name = name_of(leg.tenant, verb.recording)
        if leg.recording is not None and leg.recording.name == name:
            self._board.settle(leg.tenant, leg.id, key, now)
            return
        assert isinstance(verb.data_key, Secret)
        header = Header(self._board.entropy.secret(SALT_BYTES))
        tape = Tape(Sealer(header, verb.data_key.value, name))
        leg.recording = Recording(verb.recording, name, tape, key)
        self._keep(name, OpenRecording(leg.tenant, leg.id, verb.recording))
        self._board.spool.begin(name, header.pack())

    def _refusal(self, leg: Leg, verb: RecordStart) -> str | None:
        board, name = self._board, name_of(leg.tenant, verb.recording)
        if leg.recording is not None and leg.recording.name != name:
            return "ALREADY_RECORDING"
        if not _NAME.fullmatch(verb.recording) or not _NAME.fullmatch(leg.tenant):
            return "BAD_NAME"
        if not isinstance(verb.data_key, Secret) or len(verb.data_key.value) != KEY_BYTES:
            return "NO_KEY"
        if leg.recording is None and name in board.recordings:
            return "ALREADY_RECORDED"
        if len(board.recordings) >= board.config.spool_max:
            return "SPOOL_FULL"
        return None

    def stop(self, leg: Leg, key: str, verb: RecordStop, now: float) -> None:
        """End that recording, if the leg still makes it."""
        if leg.recording is not None and leg.recording.id == verb.recording:
            self._board.stop_recording(leg, now)
        self._board.settle(leg.tenant, leg.id, key, now)

    def pause(self, leg: Leg, key: str, verb: RecordPause | RecordResume, now: float) -> None:
        """Silence in place of what is said, or no more."""
        recording = leg.recording if leg.recording is not None and leg.recording.id == verb.recording else None
        if recording is not None:
            recording.paused = isinstance(verb, RecordPause)
        self._board.settle(leg.tenant, leg.id, key, now, "" if recording is not None else "NOT_RECORDING")

    # ------------------------------------------------------------------ from the spool

    def begun(self, name: str, now: float) -> None:
        """The file is there."""
        leg = self._leg_recording(name)
        if leg is not None and leg.recording is not None:
            key, leg.recording.start_key = leg.recording.start_key, None
            self._board.settle(leg.tenant, leg.id, key, now)

    def stored(self, name: str, stored: RecordingStored, now: float) -> None:
        """The blob is there."""
        self._forget(name, stored, now)

    def cut(self, name: str) -> None:
        """The disk took no more of it: store what it has, and let the talk go on unrecorded."""
        leg = self._leg_recording(name)
        if leg is not None:
            leg.recording = None
            self._board.spool.finish(name, truncated=True)

    def failed(self, name: str, reason: str, now: float) -> None:
        """It could not be kept."""
        recording, leg = self._board.recordings.get(name), self._leg_recording(name)
        if leg is not None and leg.recording is not None:
            self._board.settle(leg.tenant, leg.id, leg.recording.start_key, now, reason)
            leg.recording = None
        if recording is not None:
            self._forget(name, RecordingFailed(recording.recording, reason), now)

    def restore(self, name: str, row: Mapping[str, Any]) -> None:
        """An earlier life left this one behind: store what there is."""
        self._board.recordings[name] = OpenRecording(row["tenant"], row["leg"], row["recording"])
        self._board.spool.finish(name, truncated=True)

    # ------------------------------------------------------------------ inner

    def _keep(self, name: str, recording: OpenRecording) -> None:
        self._board.recordings[name] = recording
        row = {"tenant": recording.tenant, "leg": recording.leg, "recording": recording.recording}
        self._board.sink.remember(RowKind.RECORDING, name, row)

    def _forget(self, name: str, last: RecordingStored | RecordingFailed, now: float) -> None:
        recording = self._board.recordings.pop(name, None)
        if recording is not None:
            self._board.sink.emit(recording.tenant, recording.leg, last, media_ms(now))
            self._board.sink.remember(RowKind.RECORDING, name, None)

    def _leg_recording(self, name: str) -> Leg | None:
        recording = self._board.recordings.get(name)
        leg = self._board.legs.get(recording.leg) if recording is not None else None
        return leg if leg is not None and leg.recording is not None and leg.recording.name == name else None
