"""gRPC servicer: history from the view, audio from Blobs, opened chunk by chunk on its way out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.duration_pb2 import Duration

from tandem.api.recording.v1 import recording_pb2
from tandem.api.recording.v1 import recording_service_pb2 as pb
from tandem.api.type.v1 import content_pb2
from tandem.core.errors import BAD_RANGE, ERASED, NO_OWNER, UNKNOWN_NAME, VIEW_BEHIND, Rejected
from tandem.core.ports.blobs import BlobMissing, Blobs
from tandem.core.recording import (
    HEADER_BYTES,
    RATE,
    Opener,
    Span,
    at,
    span,
    wav_size,
)
from tandem.core.seal import Damaged, Erased, Sealed
from tandem.recording.domain import RecordingKept
from tandem.recording.views import GROUP, Recordings
from tandem.runtime import positions
from tandem.runtime.host import Host
from tandem.runtime.interceptors import MIN_POSITION, Call
from tandem.runtime.opening import open_all
from tandem.runtime.pages import page_of
from tandem.runtime.times import time_of

API: ServiceDescriptor = pb.DESCRIPTOR.services_by_name["RecordingService"]
"""What `Api.add` is told to serve."""
WAIT_S = 2.0
"""How long a reader waits for the view to reach its position (rule 13)."""
MAX_PAGE = 999
"""Rows of one answer: the store is asked for one more, to know whether there is a next page."""
CONTENT_TYPE = "audio/wav"
PIECE_CHUNKS = 16
"""Chunks in one piece of a download: 3.2 seconds, 51 kB."""


class RecordingServicer:
    """tandem.api.recording.v1.RecordingService."""

    def __init__(self, host: Host, recordings: Recordings, blobs: Blobs) -> None:
        self._host, self._recordings, self._blobs = host, recordings, blobs

    async def get_recording(self, request: pb.GetRecordingRequest, call: Call) -> recording_pb2.Recording:
        """One."""
        await self._caught_up(call)
        return (await self._shown([await self._known(request.name, call)], call))[0]

    async def list_recordings(self, request: pb.ListRecordingsRequest, call: Call) -> pb.ListRecordingsResponse:
        """The newest first."""
        page = page_of(request, call.tenant, MAX_PAGE, (int, str))
        await self._caught_up(call)
        contact = request.contact.removeprefix(f"tenants/{call.tenant}/contacts/")
        found = await self._recordings.list(call.tenant, contact, page.after, page.size + 1)
        shown, token = page.cut(found, lambda listed: listed.place)
        rows = await self._shown([listed.recording for listed in shown], call)
        return pb.ListRecordingsResponse(recordings=rows, next_page_token=token)

    async def download_recording(
        self, request: pb.DownloadRecordingRequest, call: Call
    ) -> AsyncIterator[content_pb2.ContentChunk]:
        """The bytes of the WAV that were asked for."""
        await self._caught_up(call)
        kept = await self._known(request.name, call)
        start, stop = _range(request, wav_size(kept.frames))
        opener = await self._opener(call.tenant, kept)
        return self._pieces(kept, opener, start, stop)

    # ---------------------------------------------------------------- history

    async def _caught_up(self, call: Call) -> None:
        if not call.min_position:
            return
        wanted = positions.decode(call.min_position, MIN_POSITION)
        if wanted.group == GROUP and not await self._recordings.reached(wanted.shard, wanted.n, WAIT_S):
            raise Rejected(VIEW_BEHIND, "history has not reached your position yet")

    async def _arrived(self, tenant: str) -> bool:
        """Until what contacts have told of recordings so far is in the view: a contact names
        its recording the moment it is stored, two logs before this one. False without an owner."""
        try:
            told = await self._host.query(tenant, "contact", lambda ledger: None)
            if not await self._host.taken(tenant, "recording", told.position, WAIT_S):
                return False
            taken = await self._host.query(tenant, "recording", lambda ledger: None)
        except Rejected as error:
            if error.reason is not NO_OWNER:
                raise
            return False
        position = positions.decode(taken.position)
        return await self._recordings.reached(position.shard, position.n, WAIT_S)

    async def _known(self, name: str, call: Call) -> RecordingKept:
        recording = name.rsplit("/", 1)[1]
        kept = await self._recordings.get(call.tenant, recording)
        if kept is None and await self._arrived(call.tenant):
            kept = await self._recordings.get(call.tenant, recording)
        if kept is None:
            raise Rejected(UNKNOWN_NAME, "there is no such resource")
        return kept

    async def _shown(self, kept: Sequence[RecordingKept], call: Call) -> list[recording_pb2.Recording]:
        """With what is erased of them, which the keys alone know."""
        rows = [await self._recordings.key(call.tenant, one.recording) for one in kept]
        sealed = [row.data_key if row else None for row in rows]
        ids = tuple(dict.fromkeys(key.key for key in sealed if isinstance(key, Sealed)))
        there = await self._host.keys(ids) if ids else {}
        return [
            _resource(call.tenant, one, erased=isinstance(key, Sealed) and key.key not in there)
            for one, key in zip(kept, sealed, strict=True)
        ]

    # ---------------------------------------------------------------- audio

    async def _opener(self, tenant: str, kept: RecordingKept) -> Opener:
        row = await self._recordings.key(tenant, kept.recording)
        if row is None:
            raise Rejected(VIEW_BEHIND, "history has not reached the key of this recording yet")
        (key,) = await open_all(self._host, (row.data_key,))
        if not isinstance(key, bytes):
            raise _erased()
        try:
            header = await self._read(kept.blob, 0, HEADER_BYTES)
        except BlobMissing:
            if isinstance(row.data_key, Sealed) and not await self._host.keys((row.data_key.key,)):
                raise _erased() from None  # since its key was read
            raise
        return Opener(header, key, kept.blob)

    async def _pieces(
        self, kept: RecordingKept, opener: Opener, start: int, stop: int
    ) -> AsyncIterator[content_pb2.ContentChunk]:
        plan = span(kept.frames, start, stop)
        first = content_pb2.ContentChunk(
            content_type=CONTENT_TYPE, size_bytes=wav_size(kept.frames), offset=start, data=plan.head
        )
        yield first
        skip, take = plan.skip, plan.take
        for begin in range(0, len(plan.chunks), PIECE_CHUNKS):
            audio = await self._audio(kept, opener, plan, begin)
            data = audio[skip : skip + take]
            skip, take = 0, take - len(data)
            yield content_pb2.ContentChunk(data=data)

    async def _audio(self, kept: RecordingKept, opener: Opener, plan: Span, begin: int) -> bytes:
        """The audio of up to `PIECE_CHUNKS` chunks, which stand one after another in the blob."""
        chunks = plan.chunks[begin : begin + PIECE_CHUNKS]
        places = [at(kept.frames, chunk) for chunk in chunks]
        first, (last, length) = places[0][0], places[-1]
        stored = await self._read(kept.blob, first, last + length - first)
        audio = bytearray()
        for chunk, (place, size) in zip(chunks, places, strict=True):
            opened = opener.open(chunk, stored[place - first : place - first + size])
            if isinstance(opened, Erased):
                raise _erased()
            audio += opened
        return bytes(audio)

    async def _read(self, blob: str, start: int, length: int) -> bytes:
        body = b"".join([part async for part in self._blobs.read(blob, start, length)])
        if len(body) != length:
            raise Damaged(f"blob {blob} ends at {start + len(body)}, not at {start + length} or later")
        return body


def _erased() -> Rejected:
    return Rejected(ERASED, "the key of this recording was destroyed")


def _range(request: pb.DownloadRecordingRequest, size: int) -> tuple[int, int]:
    """(first byte, byte after the last) that are asked for. Raises `Rejected`."""
    offset = request.read_offset if request.read_offset >= 0 else max(size + request.read_offset, 0)
    if request.read_limit < 0 or offset >= size:
        raise Rejected(BAD_RANGE, f"the file has {size} bytes", size=str(size))
    return offset, min(offset + request.read_limit, size) if request.read_limit else size


def _resource(tenant: str, kept: RecordingKept, *, erased: bool) -> recording_pb2.Recording:
    seconds, rest = divmod(kept.frames, RATE)
    return recording_pb2.Recording(
        name=f"tenants/{tenant}/recordings/{kept.recording}",
        contact=f"tenants/{tenant}/contacts/{kept.contact}",
        agent=f"tenants/{tenant}/agents/{kept.agent}" if kept.agent else "",
        queue=f"tenants/{tenant}/queues/{kept.queue}" if kept.queue else "",
        start_time=time_of(kept.started_ms),
        duration=Duration(seconds=seconds, nanos=rest * (1_000_000_000 // RATE)),
        size_bytes=wav_size(kept.frames),
        truncated=kept.truncated,
        erased=erased,
    )
