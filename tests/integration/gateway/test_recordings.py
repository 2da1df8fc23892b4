"""Recordings over HTTP and gRPC: the right bytes to the right tenant, in any range, or none."""

from __future__ import annotations

import io
import wave
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio

from tandem.api.recording.v1 import recording_service_pb2 as pb
from tandem.api.type.v1 import content_pb2
from tandem.core.recording import CHUNK_BYTES, WAV_HEADER_BYTES, wav_size
from tandem.runtime import positions
from tandem.runtime.grpc_server import GrpcServer
from tests.integration.gateway.conftest import good, reason, violations
from tests.support.mini_cell import MiniCell, mini_cell

AUDIO = bytes(index * 7 % 251 for index in range(CHUNK_BYTES * 40 + 600))
SIZE = wav_size(len(AUDIO) // 2)
PATH = "/v1/tenants/red/recordings/long"


@pytest_asyncio.fixture
async def heard() -> AsyncIterator[MiniCell]:
    """A cell with a recording of eight seconds and a bit."""
    async with mini_cell() as cell:
        await cell.keep_recording("red", "long", AUDIO, 2000)
        yield cell
        assert cell.reported == []


async def test_the_whole_file_is_a_wav(heard: MiniCell) -> None:
    async with heard.client("red", "SUPERVISOR") as client:
        answer = await client.get(f"{PATH}:download")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/wav")
    assert int(answer.headers["content-length"]) == len(answer.content) == SIZE
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.content[WAV_HEADER_BYTES:] == AUDIO
    # Mu-law: players know it, this module does not, but it says what it found.
    with pytest.raises(wave.Error, match="unknown format: 7"), wave.open(io.BytesIO(answer.content)):
        pass


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-", 0, SIZE - 1),
        ("bytes=0-0", 0, 0),
        ("bytes=10-57", 10, 57),
        ("bytes=50-60", 50, 60),
        (f"bytes=58-{SIZE}", 58, SIZE - 1),
        (f"bytes=3000-{3000 + CHUNK_BYTES * 20}", 3000, 3000 + CHUNK_BYTES * 20),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
        ("bytes=-1", SIZE - 1, SIZE - 1),
        ("bytes=-500", SIZE - 500, SIZE - 1),
        ("bytes=-99999999", 0, SIZE - 1),
    ],
)
async def test_a_range_is_that_part_of_the_file(heard: MiniCell, asked: str, first: int, last: int) -> None:
    async with heard.client("red") as client:
        whole = (await client.get(f"{PATH}:download")).content
        part = await client.get(f"{PATH}:download", headers={"range": asked})
    assert part.status_code == 206
    assert part.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"
    assert int(part.headers["content-length"]) == last - first + 1
    assert part.content == whole[first : last + 1]


@pytest.mark.parametrize("asked", ["bytes=9-3", "bytes=0-1,5-6", "lines=1-2", "bytes=-", "bytes=a-b", "0-5"])
async def test_a_range_that_is_none_gets_the_whole_file(heard: MiniCell, asked: str) -> None:
    async with heard.client("red") as client:
        answer = await client.get(f"{PATH}:download", headers={"range": asked})
    assert (answer.status_code, len(answer.content)) == (200, SIZE)


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", "bytes=999999999-", "bytes=-0"])
async def test_a_range_outside_is_refused_with_the_size(heard: MiniCell, asked: str) -> None:
    async with heard.client("red") as client:
        answer = await client.get(f"{PATH}:download", headers={"range": asked})
    assert (answer.status_code, reason(answer)) == (416, "BAD_RANGE")
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


async def test_without_the_contact_s_key_nothing_is_heard(heard: MiniCell) -> None:
    heard.keys.destroy(("k/long",))
    async with heard.client("red") as client:
        answer = await client.get(f"{PATH}:download")
        assert (answer.status_code, reason(answer)) == (410, "ERASED")
        shown = good(await client.get(PATH))
        assert (shown["sizeBytes"], shown["erased"]) == (str(SIZE), True)


async def test_lists_are_by_time_and_by_contact_and_by_tenant(heard: MiniCell) -> None:
    for index in range(3):
        await heard.keep_recording("red", f"r{index}", b"\xff\xff", 5000 + index)
    await heard.keep_recording("blue", "other", b"\xff\xff", 9000)
    async with heard.client("red") as client:
        rows: list[Any] = []
        token = ""
        for _ in range(2):
            page = good(await client.get(f"/v1/tenants/red/recordings?pageSize=2&pageToken={token}"))
            rows += page["recordings"]
            token = page["nextPageToken"]
        assert token == ""
        assert [row["name"].rsplit("/", 1)[1] for row in rows] == ["r2", "r1", "r0", "long"]
        assert rows[3]["duration"] == "8.037500s"
        assert rows[3]["startTime"] == "1970-01-01T00:00:02Z"
        by_contact = good(await client.get("/v1/tenants/red/recordings?contact=tenants/red/contacts/c1&pageSize=3"))
        assert len(by_contact["recordings"]) == 3
        foreign = good(await client.get("/v1/tenants/red/recordings?contact=tenants/blue/contacts/c1"))
        assert foreign["recordings"] == []


async def test_a_reader_waits_for_the_position_that_it_presents(heard: MiniCell) -> None:
    shard = heard.credentials.shard_of("red")
    assert shard is not None
    position = await heard.keep_recording("red", "late", b"\xff\xff")
    async with heard.client("red") as client:
        headers = {"tandem-min-position": position}
        assert (await client.get("/v1/tenants/red/recordings/late", headers=headers)).status_code == 200
        far = positions.encode(positions.Position("recording", shard, 10_000))
        behind = await client.get("/v1/tenants/red/recordings/late", headers={"tandem-min-position": far})
        assert (behind.status_code, reason(behind)) == (409, "VIEW_BEHIND")
        nonsense = await client.get("/v1/tenants/red/recordings/late", headers={"tandem-min-position": "x"})
        assert list(violations(nonsense)) == ["tandem-min-position"]


async def test_a_damaged_file_is_no_answer_and_no_traceback() -> None:
    async with mini_cell() as cell:
        await cell.keep_recording("red", "long", AUDIO)
        await cell.blobs.delete("recordings/red/long")
        async with cell.client("red") as client:
            answer = await client.get(f"{PATH}:download")
        assert (answer.status_code, reason(answer)) == (500, "INTERNAL")
        ((text, error),) = cell.reported
        id_ = answer.json()["error"]["details"][0]["metadata"]["id"]
        assert id_ in text
        assert type(error).__name__ not in answer.text
        assert "long" not in answer.text


async def test_grpc_sends_the_same_bytes(heard: MiniCell) -> None:
    server = GrpcServer(heard.api)
    port = await server.start("127.0.0.1:0")
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            ask = channel.unary_stream(
                "/tandem.api.recording.v1.RecordingService/DownloadRecording",
                request_serializer=pb.DownloadRecordingRequest.SerializeToString,
                response_deserializer=content_pb2.ContentChunk.FromString,
            )
            metadata = (("authorization", f"Bearer {heard.secrets['red', 'ADMIN']}"),)
            request = pb.DownloadRecordingRequest(name="tenants/red/recordings/long", read_offset=-1000, read_limit=600)
            pieces = [piece async for piece in ask(request, metadata=metadata)]
    finally:
        await server.stop(0)
    assert (pieces[0].content_type, pieces[0].size_bytes, pieces[0].offset) == ("audio/wav", SIZE, SIZE - 1000)
    assert b"".join(piece.data for piece in pieces) == AUDIO[-1000:-400]
