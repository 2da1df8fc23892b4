"""What a table refuses when it is made, and what a part may not hold."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import pytest
from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from tandem.core.commit import Part
from tandem.core.seal import Erased, Private, Sealed, Secret, Withheld
from tandem.internal.session.v1 import session_pb2
from tandem.routing import events as routing
from tandem.runtime.codec import (
    BadBinding,
    Codec,
    UnknownType,
    private_from_proto,
    private_to_proto,
    sealed_or_withheld,
)
from tandem.session import events as session


@dataclass(frozen=True, slots=True)
class Number:
    value: int


@dataclass(frozen=True, slots=True)
class Text:
    value: str


@dataclass(frozen=True, slots=True)
class Hidden:
    value: Private


@dataclass(frozen=True, slots=True)
class Wider:
    value: str
    more: str


class Word(StrEnum):
    A = "A"


@dataclass(frozen=True, slots=True)
class Worded:
    value: Word


def test_a_class_and_a_message_with_other_fields_are_refused() -> None:
    with pytest.raises(BadBinding, match="differ in more"):
        Codec(("x.wider", Wider, StringValue))


def test_an_enum_needs_an_enum() -> None:
    with pytest.raises(BadBinding, match="is no enum"):
        Codec(("x.worded", Worded, StringValue))


@pytest.mark.parametrize("second", [("x.text", Number, Int64Value), ("x.other", Text, StringValue)])
def test_a_name_and_a_class_stand_once_in_a_table(second: tuple[str, type, type]) -> None:
    with pytest.raises(BadBinding, match="stands twice"):
        Codec(("x.text", Text, StringValue), second)


def test_a_name_stands_once_in_joined_tables() -> None:
    table = Codec(("x.text", Text, StringValue))
    with pytest.raises(BadBinding, match="two tables"):
        table.joined(Codec(("x.text", Number, Int64Value)))
    assert table.joined(Codec(("x.number", Number, Int64Value))).names == ("x.text", "x.number")


def test_a_private_value_stands_beside_the_clear_bytes_under_its_number() -> None:
    table = Codec(("x.hidden", Hidden, StringValue))
    sealed = Sealed("k", b"n", b"a", b"data")
    closed, part = table.close(Hidden(Secret(b"plain")), lambda type_, value: sealed)
    assert closed == Hidden(sealed)
    assert part == Part("x.hidden", b"", ((1, sealed),))
    assert table.decode(part) == closed


def test_a_private_value_that_is_missing_reads_as_erased() -> None:
    assert Codec(("x.hidden", Hidden, StringValue)).decode(Part("x.hidden", b"")) == Hidden(Erased())


def test_a_value_of_no_table_and_an_unknown_name_are_errors() -> None:
    table = Codec(("x.text", Text, StringValue))
    with pytest.raises(KeyError):
        table.encode(Number(1))
    for read in (table.decode, table.message):
        with pytest.raises(UnknownType, match=r"x\.number"):
            read(Part("x.number", b""))


def test_an_enum_value_of_a_newer_release_is_refused_as_unreadable() -> None:
    name = "media.take_digits"
    message = session_pb2.TakeDigits(leg="c1", why=99)  # type: ignore[arg-type]
    with pytest.raises(DecodeError):
        session.COMMANDS.decode(Part(name, message.SerializeToString()))
    with pytest.raises(DecodeError):  # and one that was never set
        session.COMMANDS.decode(Part(name, b""))


@pytest.mark.parametrize(
    "value", [Sealed("k", b"n", b"a", b"d"), Secret(b"p"), Secret(b"p", sensitive=True), Withheld(), Erased()]
)
def test_private_values_to_proto_and_back(value: Private) -> None:
    assert private_from_proto(private_to_proto(value)) == value


def test_what_may_stand_in_a_log() -> None:
    assert sealed_or_withheld(Erased()) == Withheld()
    with pytest.raises(TypeError, match="may not be written"):
        sealed_or_withheld(Secret(b"plain"))


def test_messages_of_one_service_are_commands_of_the_other_by_name() -> None:
    """Grouped and split are one code path: each message is encoded here and decoded there."""
    for sender, receiver in ((session.SERVICE, routing.SERVICE), (routing.SERVICE, session.SERVICE)):
        theirs = dict(receiver.commands.classes())
        sent = [name for name, _ in sender.messages.classes() if not name.startswith(("recording.", "gate.", "late."))]
        assert [name for name in sent if name not in theirs] == []
        for name in sent:
            ours, other = sender.messages.message(Part(name, b"")), receiver.commands.message(Part(name, b""))
            assert ours.DESCRIPTOR.full_name == other.DESCRIPTOR.full_name
