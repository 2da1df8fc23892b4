"""A recording's short life, its names and its rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tandem.adapters.memory import MemoryStore, RowTables
from tandem.core.commit import Commit, Envelope
from tandem.core.decider import Context
from tandem.core.seal import Sealed, Secret, Withheld
from tandem.internal.recording.v1 import recording_pb2
from tandem.recording import events, views
from tandem.recording.domain import KIND, Done, KeepRecording, KeyKept, New, RecordingKept
from tandem.recording.inbox import COMMANDS
from tandem.session.events import MESSAGES

KEY = Sealed("contact-key", b"n" * 12, b"aad", b"data")
COMMAND = KeepRecording("r1", "c1", "ann", "sales", "recordings/red/r1", 8000, 17_000, "0" * 64, KEY, 1000, True)


def lived(command: Any) -> tuple[Any, list[Any]]:
    """(state, events) after a command to a new recording."""
    state = KIND.start()
    context = Context("red", "recording/r1", 1, "u", None, lambda label: Secret(b""))
    happened = list(KIND.decide(state, command, context))
    for event in happened:
        state = KIND.evolve(state, event)
        assert KIND.react(state, event) == ()
    return state, happened


def commit(n: int, tenant: str, *happened: Any) -> Commit:
    """A commit with these events."""
    parts = [events.EVENTS.close(event, lambda *_: Withheld())[1] for event in happened]
    rows = [Envelope(f"e{i}", tenant, "recording/r", i, 0, "", "", "", part) for i, part in enumerate(parts)]
    return Commit(1, n, 0, "", 0, "1", events=tuple(rows))


def test_a_recording_leaves_the_live_state_as_soon_as_it_is_known() -> None:
    state, happened = lived(COMMAND)
    assert [type(event) for event in happened] == [RecordingKept, KeyKept]
    assert state == Done()
    assert KIND.over(state)
    assert not KIND.over(New())


def test_the_message_of_session_is_our_command() -> None:
    _, part = COMMANDS.close(COMMAND, lambda *_: Withheld())
    assert part.type in MESSAGES.names
    assert COMMANDS.decode(part) == COMMAND
    assert MESSAGES.message(part) == recording_pb2.RecordingStored.FromString(part.clear)


def test_the_key_stands_in_no_public_event() -> None:
    _, happened = lived(COMMAND)
    public = events.EVENTS.close(happened[0], lambda *_: Withheld())[1]
    assert KEY.data not in public.clear
    assert public.private == ()


async def test_rows_are_projected_once_and_read_by_tenant() -> None:
    store = MemoryStore(RowTables())
    recordings = views.Recordings(store)
    kept = RecordingKept("r1", "c1", "ann", "sales", "b", 1, 1, "", 1000, False)

    async def tail() -> Any:
        for n, tenant in ((1, "red"), (2, "blue"), (2, "blue")):
            yield "", commit(n, tenant, replace(kept, started_ms=n), KeyKept("r1", KEY))

    await views.follow(tail(), store, 0)
    assert await store.position(views.VIEW, "recording/0") == 2
    assert await recordings.get("red", "r1") == replace(kept, started_ms=1)
    assert await recordings.key("blue", "r1") == KeyKept("r1", KEY)
    assert await recordings.get("green", "r1") is None
    assert [listed.recording.started_ms for listed in await recordings.list("blue", "", None, 10)] == [2]
    assert await recordings.list("blue", "c2", None, 10) == []


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(1, 4))
async def test_pages_together_are_the_newest_first(starts: list[int], size: int) -> None:
    store = MemoryStore(RowTables())
    for n, started_ms in enumerate(starts):
        kept = RecordingKept(f"r{n:02}", f"c{n % 2}", "", "", "b", 1, 1, "", started_ms, False)
        await store.project(views.VIEW, "recording/0", n + 1, views.writes(commit(n + 1, "red", kept)))
    for contact in ("", "c0"):
        seen: list[views.Listed] = []
        while found := await views.Recordings(store).list("red", contact, seen[-1].place if seen else None, size):
            seen += found
        of = [listed.recording for listed in seen]
        assert of == sorted(of, key=lambda kept: (kept.started_ms, kept.recording), reverse=True)
        assert len(of) == len([n for n in range(len(starts)) if not contact or n % 2 == 0])
