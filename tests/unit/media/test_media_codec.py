"""What the codec refuses, and that it says so without the value."""

from __future__ import annotations

from typing import get_args

import pytest

from tandem.core.ports import media
from tandem.core.ports.media import Collect, Command, DigitsCollected, Event, Originate, Play
from tandem.core.seal import Sealed, Secret, secret
from tandem.internal.link.v1 import link_pb2, media_pb2
from tandem.media.link.address import METHOD
from tandem.runtime import media_codec as codec

DIGITS = DigitsCollected("pin", Secret(b"4711"), media.Collected.COMPLETE)


def test_a_secret_is_not_written() -> None:
    with pytest.raises(codec.PlainSecret):
        codec.encode_event_body(DIGITS)
    with pytest.raises(codec.PlainSecret):
        codec.encode_verb(Originate("anna", 15_000, "o1", secret("+49301234567")))
    with pytest.raises(codec.PlainSecret):
        codec.encode_verb(media.TakeOver(secret("{}")))
    with pytest.raises(codec.PlainSecret):
        codec.encode_event_body(media.LegHandedOut(secret("{}")))


def test_sensitive_stays_sensitive() -> None:
    sensitive = DigitsCollected("pin", Secret(b"4711", sensitive=True), media.Collected.COMPLETE)
    assert codec.decode_event_body(codec.encode_event_body(sensitive, secrets=True)) == sensitive


@pytest.mark.parametrize(
    "verb",
    [
        Play(("p",) * (media.MAX_PROMPTS + 1)),
        Play(("p" * (codec.MAX_TEXT + 1),)),
        Collect("menu", (), media.MAX_DIGITS + 1, 5_000),
        media.Bridge("x" * (media.MAX_LEG + 1)),
        Originate("anna", 1, "o1", Secret(bytes(65_537))),
        media.TakeOver(Secret(bytes(media.MAX_DIALOG_BYTES + 1))),
    ],
)
def test_too_long_is_refused_on_the_way_out(verb: media.Verb) -> None:
    with pytest.raises(codec.OverLimit):
        codec.encode_verb(verb, secrets=True)


def test_too_long_is_refused_on_the_way_in() -> None:
    with pytest.raises(codec.OverLimit):
        codec.decode_verb(media_pb2.Verb(bridge=media_pb2.Bridge(other="x" * 121)))
    with pytest.raises(codec.OverLimit):
        codec.decode_to_node(bytes(codec.MAX_MESSAGE_BYTES + 1))


def test_what_this_release_does_not_know_is_refused() -> None:
    with pytest.raises(codec.Unknown):
        codec.decode_verb(media_pb2.Verb())
    with pytest.raises(codec.Unknown):
        codec.decode_verb(media_pb2.Verb(hang_up=media_pb2.HangUp(cause=media_pb2.CAUSE_UNSPECIFIED)))
    with pytest.raises(codec.Unknown):
        codec.decode_to_node(link_pb2.ConnectRequest(frames=[link_pb2.ToNode(channel=1)]).SerializeToString())
    with pytest.raises(codec.Unknown):
        codec.decode_verb(media_pb2.Verb(originate=media_pb2.Originate(device="anna")))


@pytest.mark.parametrize("number", [-1, 2**64, "1"])
def test_a_field_of_the_wrong_kind_is_refused_without_its_value(number: int) -> None:
    with pytest.raises(codec.Malformed) as refused:
        codec.to_bytes(Event("t1", number, 0, "c1", DIGITS))
    assert "4711" not in str(refused.value)


def test_a_verb_is_no_event() -> None:
    with pytest.raises(codec.Unknown):
        codec.encode_verb(DIGITS)  # type: ignore[arg-type]


def test_an_event_of_a_menu_takes_less_than_200_bytes() -> None:
    event = Event("tenant-0123456789", 123_456, 9_876_543_210, "c" * 26, DIGITS)
    assert len(codec.encode_from_node([(1, event)])) < 200


def test_the_largest_directory_fits_into_a_message() -> None:
    number = media.DirectoryNumber("+4930123456789", "t" * 26, 3)
    device = media.DirectoryDevice("u" * 40, "t" * 26, 3, "r" * 60, "0" * 32, "0" * 64)
    directory = media.Directory(1, (number,) * codec.MAX_ENTRIES, (device,) * codec.MAX_ENTRIES)
    assert len(codec.encode_to_node([(1, directory)])) < codec.MAX_MESSAGE_BYTES


def test_the_protos_know_every_type_and_nothing_else() -> None:
    for union, oneof in (
        (media.Verb, media_pb2.Verb.DESCRIPTOR.oneofs_by_name["kind"]),
        (media.MediaEvent, media_pb2.MediaEvent.DESCRIPTOR.oneofs_by_name["kind"]),
        (codec.ToNodeFrame, link_pb2.ToNode.DESCRIPTOR.oneofs_by_name["frame"]),
        (codec.FromNodeFrame, link_pb2.FromNode.DESCRIPTOR.oneofs_by_name["frame"]),
    ):
        assert {kind.__name__ for kind in get_args(union)} == {field.message_type.name for field in oneof.fields}


def test_the_links_method_is_the_protos() -> None:
    service = link_pb2.DESCRIPTOR.services_by_name["LinkService"]
    assert f"/{service.full_name}/{service.methods[0].name}" == METHOD


def test_a_command_keeps_its_key() -> None:
    command = Command("t1", "contact/c1/3/0", "c1", Play(("welcome",)))
    assert codec.from_bytes(Command, codec.to_bytes(command)) == command


def test_a_number_is_a_private_value_that_need_not_be_there() -> None:
    call = Originate("", 15_000, "o1", secret("+4930100"), "north", secret("+493055501"))
    assert codec.decode_verb(codec.encode_verb(call, secrets=True)) == call
    with pytest.raises(codec.PlainSecret):
        codec.encode_verb(call)
    with pytest.raises(codec.OverLimit):
        codec.encode_verb(Originate("", 1, "o1", secret("1"), "north", Secret(bytes(65_537))), secrets=True)


def test_an_order_to_a_device_is_written_as_before_there_were_numbers() -> None:
    """Old records fold, and new ones of the same order are the same bytes."""
    caller = Sealed("k", b"n", b"a", b"d")
    written = codec.encode_verb(Originate("anna", 15_000, "o1", caller))
    assert [field.name for field, _ in written.originate.ListFields()] == [
        "device",
        "ring_timeout_ms",
        "offer",
        "caller",
    ]
    read = codec.decode_verb(written)
    assert read == Originate("anna", 15_000, "o1", caller)
    assert isinstance(read, Originate)
    assert (read.gateway, read.number) == ("", None)
