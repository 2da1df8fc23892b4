"""What is handed out of a channel, and the row that is made of it: FreeSWITCH's own words are a live one's."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

import pytest

from tandem.core.seal import Secret
from tandem.media.freeswitch.dialog import Dialog, Named, handed_out, port_below, read, row_of
from tandem.wire.esl import JsonEvent

OURS, PHONES = "<sip:4930100@door.test>;tag=8eet1cFpSFrye", "<sip:cara@door.test>;tag=6810cdef"
SECONDS = 1_795_392_452
CLOCK = ((SECONDS + 2_208_988_800) >> 1) & 0x7FFFFFF
NAMED = Named("c0000000", "c1.move2", "t1/\u00e4")
LEFT_BEHIND = {
    "rtp_use_ssrc": "185438250",
    "sip_outgoing_contact_uri": "<sip:cara@192.0.2.7:5060>",
    "rtp_last_audio_local_crypto_key": "11 AES_CM_128_NULL_AUTH inline:4j5Y",
    "sip_h_X-Long": "anything",
    "signal_bond": "0f",
    "tandem_digits_ab": "4711",
    "sip_bye_h_X-Tandem-Moved": "true",
    "bad name": "no XML",
}


def channel(**variables: str) -> JsonEvent:
    given = {
        "sip_via_protocol": "udp", "sip_cseq": "18047", "sip_call_id": "ebcec3", "local_media_port": "20148",
        "local_media_ip": "192.0.2.7", "advertised_media_ip": "192.0.2.7", "rtp_2833_send_payload": "101",
        "sip_full_from": PHONES, "sip_full_to": OURS, "sip_from_uri": "4930100@door.test",
        "sip_invite_record_route": "<sip:192.0.2.1:5060;lr=on;ftag=6810cdef>",
        "switch_r_sdp": "v=0\r\nm=audio 45682 RTP/AVP 0\r\n",
    } | LEFT_BEHIND | variables  # fmt: skip
    fields = {
        "Unique-ID": "6b2c3942-5e2b-49a4-a655-e02b68d538a2",
        "Event-Date-Timestamp": f"{SECONDS}067762",
        "Caller-Channel-Created-Time": "1795392450047750",
        "Caller-Channel-Answered-Time": "1795392450047751",
        "Caller-Caller-ID-Name": "Cara & <co>\u2603",
        "Caller-Destination-Number": "4930100",
    }
    return JsonEvent(fields | {f"variable_{name}": value for name, value in given.items()})


def given(**variables: str) -> Dialog:
    dialog = handed_out(channel(**variables), "c1.move1", 3)
    assert isinstance(dialog, Secret)
    known = read(dialog)
    assert known is not None
    return known


def variables_of(row: str) -> dict[str, str]:
    own = re.search(r"<variables>(.*)</variables>", row)
    assert own is not None
    return {name: unquote(value) for name, value in re.findall(r"<([^>]+)>([^<]*)</\1>", own[1])}


def test_the_audio_of_who_is_taken_over_has_a_port_that_freeswitch_does_not_give_to_others() -> None:
    """It would take one above its own for a place past the end of its list, and write there."""
    ports = {port_below(16_384, f"c{number}.move1", tries) for number in range(2_000) for tries in (1, 2, 3)}
    assert ports == set(range(15_384, 16_384, 2))
    assert {port_below(1_030, f"c{number}.move1", 1) for number in range(100)} == {1_024, 1_026, 1_028}
    assert [port_below(first, "c1.move1", 1) for first in (0, 1_024)] == [0, 0], "the system's own are not taken"


def test_a_row_has_the_call_as_it_is_and_the_other_nodes_address() -> None:
    row = row_of(given(), NAMED, ("192.0.2.9", 15_384))
    own = variables_of(row)
    assert (own["local_media_ip"], own["advertised_media_ip"], own["local_media_port"]) == ("192.0.2.9",) * 2 + (
        "15384",
    )
    assert own["switch_r_sdp"] == "v=0\r\nm=audio 45682 RTP/AVP 0\r\n"
    assert own["sip_call_id"] == "ebcec3"
    assert own["sip_bye_h_X-Tandem-Moved"] == "true", "of its own, until it is taken over"
    assert set(own).isdisjoint(LEFT_BEHIND.keys() - {"sip_bye_h_X-Tandem-Moved"} | {"sip_cseq"})
    assert "<caller_id_name>Cara &amp; &lt;co&gt;</caller_id_name>" in row
    assert "<destination_number>4930100</destination_number>" in row


def test_a_call_has_names_of_its_own_from_then_on() -> None:
    first = {"uuid": "6b2c3942", "call_uuid": "6b2c3942", "tandem_leg": "c1.move1", "tandem_tenant": "t0"}
    dialog = given(**first)
    assert (dialog.leg, dialog.shard) == ("c1.move1", 3)
    assert set(dialog.variables).isdisjoint(first)
    assert "6b2c3942" not in repr(dict(dialog.variables))
    own = variables_of(row_of(dialog, NAMED, ("192.0.2.9", 15_384)))
    assert (own["uuid"], own["call_uuid"]) == ("c0000000", "c0000000")
    assert (own["tandem_leg"], own["tandem_tenant"], own["tandem_shard"]) == ("c1.move2", "t1/\u00e4", "3")


@pytest.mark.parametrize("turned", [False, True])
def test_the_door_says_who_is_who_whoever_sent_the_last_request(turned: bool) -> None:
    told = {"sip_full_from": OURS, "sip_full_to": PHONES} if turned else {}
    own = variables_of(row_of(given(**told), NAMED, ("192.0.2.9", 15_384)))
    assert (own["sip_handle_full_from"], own["sip_handle_full_to"]) == (OURS, PHONES)
    assert own["sip_from_uri"] == "cara@door.test"


@pytest.mark.parametrize(
    ("told", "least"),
    [({}, CLOCK), ({"sip_cseq": str(CLOCK + 7)}, CLOCK + 7), ({"sip_invite_cseq": str(CLOCK + 2000)}, CLOCK + 2000)],
)
def test_requests_count_on_above_all_that_went_before(told: dict[str, str], least: int) -> None:
    dialog = given(**told)
    assert dialog.cseq == least + 1000
    again = [
        int(variables_of(row_of(dialog, NAMED, ("192.0.2.9", 15_384), tries))["sip_invite_cseq"]) for tries in (1, 2)
    ]
    assert again == [dialog.cseq + 1, dialog.cseq + 2]


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"sip_full_to": "<sip:4930100@door.test>"}, "NOT_WAITING"),
        ({"sip_invite_record_route": "<sip:192.0.2.1;lr=on;ftag=another>"}, "CANNOT_MOVE"),
        ({"sip_invite_record_route": ""}, "CANNOT_MOVE"),
        ({"sip_full_to": PHONES}, "CANNOT_MOVE"),
        ({"sip_via_protocol": "tls"}, "CANNOT_MOVE"),
        ({"rtp_has_crypto": "AES_CM_128_HMAC_SHA1_80"}, "CANNOT_MOVE"),
        ({"rtp_secure_media_confirmed_audio": "true"}, "CANNOT_MOVE"),
    ],
)
def test_why_not(told: dict[str, str], why: str) -> None:
    assert handed_out(channel(**told), "c1", 0) == why


@pytest.mark.parametrize("change", [{"shard": "1"}, {"cseq": -1}, {"format": 1}, {"profile": {"a<b": "c"}}, {"leg": 1}])
def test_what_was_altered_is_not_read(change: dict[str, Any]) -> None:
    dialog = handed_out(channel(), "c1", 0)
    assert isinstance(dialog, Secret)
    written = json.loads(dialog.value)
    assert read(dialog) is not None
    assert read(Secret(json.dumps(written | change).encode())) is None
