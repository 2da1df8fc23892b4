"""What other services tell recording, as its own commands."""

from __future__ import annotations

from tandem.internal.recording.v1 import recording_pb2 as own
from tandem.recording.domain import KIND, KeepRecording
from tandem.recording.events import EVENTS
from tandem.runtime.codec import Codec
from tandem.runtime.service import Service

COMMANDS = Codec(("recording.stored", KeepRecording, own.RecordingStored))

SERVICE = Service("recording", kinds=(KIND,), events=EVENTS, commands=COMMANDS)
