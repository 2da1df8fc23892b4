"""What FreeSWITCH is told to call, and whom it shows as the caller."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.core.ports.media import Command, DeviceRegistered, LegEarlyMedia, LegEnded, LegRinging, Originate
from tandem.core.seal import Erased, Private, Secret, seal, secret
from tandem.media.freeswitch.gateways import Gateway
from tandem.media.freeswitch.ids import channel_of
from tandem.media.link.owner_end import opened_verb
from tandem.wire import esl
from tests.unit.media.freeswitch.replay import TENANT
from tests.unit.media.freeswitch.test_verbs import LEG, Switch

NORTH = Gateway("north", "carrier.test", caller_id="+49301", tenants=(TENANT,), destinations=("+",))
CALL = Originate("", 15_000, "offers/1", secret("mallory"), "north", secret("+493012345"))
LINE = re.compile(r"bgapi originate \{(.*)\}(\S+) &park\(\)")


def switch_with(gateway: Gateway) -> Switch:
    switch = Switch()
    switch.node._carriers.wanted = {gateway.name: gateway}
    return switch


def told(gateway: Gateway, verb: Originate) -> tuple[dict[str, str], str]:
    """Variables and dial string of the one order that the switch was given."""
    switch = switch_with(gateway)
    switch.perform(verb, "call", f"{LEG}.n")
    [line] = [line for line in switch.sent() if line.startswith("bgapi originate")]
    found = LINE.match(line.partition("\n")[0])
    assert found is not None, line
    return dict(pair.split("=", 1) for pair in found[1].split(",")), found[2]


def test_a_carrier_is_told_the_number_and_who_calls() -> None:
    variables, dialled = told(replace(NORTH, international="00"), CALL)
    channel = channel_of(TENANT, "call", CALL)
    assert dialled == "sofia/gateway/north/00493012345"
    assert variables == {
        "origination_uuid": channel,
        "origination_caller_id_number": "+49301",
        "origination_caller_id_name": "+49301",
        "originate_timeout": "38",
        "park_after_bridge": "true",
        "hangup_after_bridge": "false",
        "force_transfer_context": "referred",
        "deny_refer_requests": "true",
        "tandem_leg": f"{LEG}.n",
        "tandem_tenant": TENANT,
        "tandem_shard": "3",
        "hold_music": "/p/music.wav",
        "ignore_early_media": "false",
        "sip_cid_type": "none",
        "api_on_media": f"'sched_hangup +38 {channel} NO_ANSWER'",
        "api_on_answer": f"'sched_del {channel}'",
    }
    assert told(replace(NORTH, caller_in_from=False), CALL)[0]["sip_cid_type"] == "pid"


@pytest.mark.parametrize(
    ("caller", "shown"),
    [(secret("4930100"), "4930100"), (secret("4930200"), "+49301"), (secret("a}{b,c"), "+49301"), (Erased(), "+49301")],
)
def test_nobody_is_shown_but_a_number_of_the_tenants_or_the_gateways(caller: Private, shown: str) -> None:
    switch = switch_with(NORTH)
    directory = switch.node._board.directory
    assert directory is not None
    entry = directory.numbers["tandem-0"]
    numbers = {"4930100": entry, "4930200": replace(entry, tenant="other")}
    switch.node.directory(replace(directory, numbers=numbers), switch.now)
    switch.answer()
    switch.sent()
    switch.perform(replace(CALL, caller=caller), "call", f"{LEG}.n")
    assert f"origination_caller_id_number={shown}," in switch.sent()[0]


def test_who_has_no_caller_to_show_calls_nobody() -> None:
    switch = switch_with(replace(NORTH, caller_id=""))
    switch.perform(CALL, "call", f"{LEG}.n")
    assert switch.outcomes() == ["call FAILED CALLER_NOT_ALLOWED"]
    assert switch.sent() == []
    [(leg, end)] = [(leg, body) for leg, body in switch.tape.told if isinstance(body, LegEnded)]
    assert (leg, end.cause) == (f"{LEG}.n", "REFUSED")


TEXTS = st.text(max_size=9) | st.sampled_from(["\n", "}", "{", ",", "'", " ", ";", "^^", "@"])


@given(st.builds("{}{}".format, st.just("+493012345"), TEXTS | st.just("")), TEXTS, st.builds("c1.{}".format, TEXTS))
def test_no_order_says_anything_else_to_the_switch(number: str, caller: str, leg: str) -> None:
    switch = switch_with(NORTH)
    switch.perform(replace(CALL, number=secret(number), caller=secret(caller)), "call", leg)
    for line in switch.sent():
        assert re.fullmatch(
            r"bgapi originate \{[^{}]*\}sofia/gateway/north/\+[0-9]{7,15} &park\(\)\nJob-UUID: \w+", line
        )


def test_a_gateway_that_the_switch_says_is_down_ends_it_at_once() -> None:
    switch = switch_with(NORTH)
    switch.perform(CALL, "call", f"{LEG}.n")
    switch.node._board.jobs.popitem()[1]("-ERR GATEWAY_DOWN", switch.now)
    assert switch.outcomes() == ["call FAILED GATEWAY_DOWN"]
    assert switch.node.legs() == ()


def test_a_call_of_which_no_row_tells_is_found_by_its_order() -> None:
    """The agent died between taking the order and writing what it did."""
    switch, channel = switch_with(NORTH), channel_of(TENANT, "call", CALL)
    switch.node.lost(switch.now)
    switch.node.settle(Command(TENANT, "call", f"{LEG}.n", CALL), switch.now)
    early = {
        "Unique-ID": channel, "Call-Direction": "outbound", "Channel-State": "CS_EXECUTE", "Answer-State": "early",
        "variable_tandem_leg": f"{LEG}.n", "variable_tandem_tenant": TENANT, "variable_sip_gateway_name": "north",
    }  # fmt: skip
    switch.answers[f"uuid_dump {channel}"] = json.dumps(early)
    switch.frame(esl.AuthWanted())
    switch.wake()
    assert [type(body) for _, body in switch.tape.told if not isinstance(body, DeviceRegistered)] == [
        LegRinging, LegEarlyMedia,
    ]  # fmt: skip
    assert not [line for line in switch.sent() if "originate" in line]
    switch.event("CHANNEL_ANSWER", channel)
    assert switch.outcomes() == ["call DONE"]


def test_the_owners_end_opens_the_number() -> None:
    key = bytes(32)
    sealed = seal(Secret(b"+493012345"), "k", key, bytes(12), b"aad")
    opened = opened_verb(replace(CALL, number=sealed), {"k": key}.get)
    assert opened.number == secret("+493012345")
    assert isinstance(opened_verb(replace(CALL, number=sealed), lambda _: None).number, Erased)
    assert opened_verb(replace(CALL, number=None), lambda _: None).number is None
