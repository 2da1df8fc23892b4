"""Every class of every table goes to bytes and back, and nothing private goes with it in plain."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from tandem.core.commit import Part
from tandem.core.seal import Erased, Sealed, Secret, Withheld
from tandem.internal.session.v1 import session_pb2
from tandem.routing import events as routing
from tandem.runtime.codec import Codec, UnknownType
from tandem.runtime.service import RUNTIME_COMMANDS
from tandem.session import events as session
from tandem.session.domain.words import MediaOrder
from tests.support.budget import examples
from tests.support.values import PLAIN, values

TABLES: dict[str, Codec] = {
    f"{service.name}.{table}": getattr(service, table)
    for service in (session.SERVICE, routing.SERVICE)
    for table in ("events", "commands", "messages", "effects", "replies")
} | {"runtime.commands": RUNTIME_COMMANDS}
ROWS = [(table, name, cls) for table, codec in TABLES.items() for name, cls in codec.classes()]
CLOSED = Sealed("k", b"n" * 12, b"aad", b"ciphertext")


def close(type_: str, value: Any) -> Sealed | Withheld:
    return Withheld() if isinstance(value, Erased) or value.sensitive else CLOSED


def _descriptor(codec: Codec, name: str) -> Any:
    return codec.message(Part(name, b"")).DESCRIPTOR


@pytest.mark.parametrize(("table", "name", "cls"), ROWS, ids=[f"{table}:{name}" for table, name, _ in ROWS])
def test_round_trip(table: str, name: str, cls: type) -> None:
    codec = TABLES[table]

    @given(st.data())
    @examples(12)
    def trip(data: st.DataObject) -> None:
        value = data.draw(values(cls, _descriptor(codec, name)))
        closed, part = codec.close(value, close)
        assert part.type == codec.name(value) == name
        assert codec.decode(part) == closed
        assert PLAIN not in part.clear
        assert all(isinstance(inner, Sealed | Withheld) for _, inner in part.private)
        again = dataclasses.replace(closed)
        assert codec.close(again, close)[1] == part  # equal values give equal bytes
        for field in dataclasses.fields(value):
            was, now = getattr(value, field.name), getattr(closed, field.name)
            if isinstance(was, Secret | Erased):
                assert now == close(name, was)
            else:
                assert now == was

    trip()


@given(st.sampled_from(ROWS), st.binary(max_size=60))
@examples(300)
def test_garbage_is_refused_in_one_way(row: tuple[str, str, type], body: bytes) -> None:
    table, name, cls = row
    try:
        value = TABLES[table].decode(Part(name, body))
    except DecodeError:
        return
    assert isinstance(value, cls)


@given(st.text(max_size=20))
def test_an_unknown_name_is_refused(name: str) -> None:
    if name not in session.EVENTS.names:
        with pytest.raises(UnknownType):
            session.EVENTS.decode(Part(name, b""))


@given(values(MediaOrder, session_pb2.MediaOrder.DESCRIPTOR))
@examples(30)
def test_a_nested_secret_is_never_written(order: MediaOrder) -> None:
    fields = [field.name for field in dataclasses.fields(order.verb)]
    for name in ("caller", "data_key"):
        if name in fields:
            bad = dataclasses.replace(order, verb=dataclasses.replace(order.verb, **{name: Secret(PLAIN)}))
            with pytest.raises(TypeError):
                session.EFFECTS.close(bad, close)


@given(values(MediaOrder, session_pb2.MediaOrder.DESCRIPTOR))
@examples(30)
def test_a_secret_is_not_shown(order: MediaOrder) -> None:
    assert repr(PLAIN) not in repr(Secret(PLAIN))
    assert "ciphertext" not in repr(CLOSED)
