"""Phones can register while no agent lives: their accounts are looked up again as soon as they were forgotten."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tandem.media.backend import MergedDirectory
from tandem.media.freeswitch.keeping import FLUSHES_MAX
from tandem.wire import esl
from tests.unit.media.freeswitch.test_verbs import DIRECTORY, Switch

BOTH = {"show registrations": json.dumps({"row_count": 2, "rows": [{"reg_user": "agent1"}, {"reg_user": "agent2"}]})}
AGENT1, AGENT2 = (f"api user_data {user}@127.0.0.1 attr cacheable" for user in ("agent1", "agent2"))
FLUSH = "api xml_flush_cache"


def of_accounts(switch: Switch) -> list[str]:
    return [line for line in switch.sent() if line.startswith((FLUSH, "api user_data"))]


@pytest.fixture
def switch() -> Switch:
    made = Switch()
    made.answers |= BOTH
    return made


def test_an_agent_that_begins_anew_has_the_accounts_of_registered_phones_looked_up(switch: Switch) -> None:
    """What has changed since its last life nobody can tell; it may die again before they register."""
    switch.node.lost(switch.now)
    switch.frame(esl.AuthWanted())
    assert of_accounts(switch) == [FLUSH, AGENT1, AGENT2]


def test_an_account_that_changed_is_forgotten_and_looked_up_if_its_phone_is_registered() -> None:
    switch = Switch()  # agent1 is registered, agent2 is not
    changed = {user: replace(entry, ha1_md5="other") for user, entry in DIRECTORY.devices.items()}
    switch.node.directory(MergedDirectory(DIRECTORY.numbers, changed), switch.now)
    switch.answer()
    assert of_accounts(switch) == [*(f"{FLUSH} id {user} 127.0.0.1" for user in DIRECTORY.devices), AGENT1]


def test_of_many_that_changed_all_are_forgotten_and_those_registered_looked_up(switch: Switch) -> None:
    one = DIRECTORY.devices["agent1"]
    many = {f"new{n}": replace(one, user=f"new{n}") for n in range(FLUSHES_MAX + 1)}
    switch.node.directory(MergedDirectory(DIRECTORY.numbers, DIRECTORY.devices | many), switch.now)
    switch.answer()
    assert of_accounts(switch) == []  # nobody has looked for those that are new
    switch.node.directory(DIRECTORY, switch.now)
    switch.answer()
    assert of_accounts(switch) == [FLUSH, AGENT1, AGENT2]


def test_one_is_asked_for_at_a_time_and_one_that_left_meanwhile_not_at_all(switch: Switch) -> None:
    switch.node.lost(switch.now)
    switch.node.frame(esl.AuthWanted(), switch.now)
    waiting = _until_first_look_up(switch)
    assert waiting == [AGENT1]
    switch.node.directory(MergedDirectory(DIRECTORY.numbers, {"agent1": DIRECTORY.devices["agent1"]}), switch.now)
    switch.node.frame(esl.ApiReply("true"), switch.now)
    switch.answer()
    assert AGENT2 not in of_accounts(switch)


def _until_first_look_up(switch: Switch) -> list[str]:
    """Answer everything but the look-ups of accounts."""
    asked: list[str] = []
    while (data := switch.node.take().data) and not asked:
        for one in data:
            line = one.decode().partition("\n")[0]
            if line.startswith("api user_data"):
                asked.append(line)
                continue
            said = next(
                (said for begin, said in switch.answers.items() if line.removeprefix("api ").startswith(begin)), "+OK"
            )
            api = line.startswith("api ")
            switch.node.frame(esl.ApiReply(said) if api else esl.Reply(said, {}), switch.now)
    return asked
