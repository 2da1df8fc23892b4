"""What the recording service needs, and what it gives."""

from __future__ import annotations

from tandem.core.ports.blobs import Blobs
from tandem.core.ports.store import Store
from tandem.recording.inbox import SERVICE
from tandem.recording.servicer import API, RecordingServicer
from tandem.recording.views import TABLES, VIEW, Recordings, follow, partition
from tandem.runtime.host import Host

__all__ = ["API", "SERVICE", "TABLES", "VIEW", "build", "follow", "partition"]


def build(host: Host, store: Store, blobs: Blobs) -> RecordingServicer:
    """The servicer of a process."""
    return RecordingServicer(host, Recordings(store), blobs)
