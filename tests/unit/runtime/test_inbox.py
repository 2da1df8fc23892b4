"""Messages of another group, read from its log."""

from __future__ import annotations

import pytest

from tandem.core.commit import ENGINE, Claim, Commit, Message, Part
from tandem.core.ports.log import Partition
from tandem.runtime.inbox import Inbox, message_number

SENDER = Partition("session", 3)


def _commit(epoch: int, n: int, *messages: Message) -> Commit:
    return Commit(epoch, n, 1, "boot", 1, ENGINE, messages=messages)


def _message(group: str, name: str) -> Message:
    return Message(group, "t1", "desk", "contact/c1", Part(name, b"x"), Part("gone", b""))


def test_messages_for_the_group_become_numbered_offers() -> None:
    inbox = Inbox(SENDER, "routing")
    assert inbox.take(Claim(1, "a", "s")) == []
    (offer,) = inbox.take(_commit(1, 1, _message("recording", "other"), _message("routing", "ours")))
    assert (offer.source, offer.number, offer.tenant, offer.stream) == ("session/3/t1", (1 << 16) | 2, "t1", "desk")
    assert offer.part == Part("ours", b"x")
    assert (offer.sender, offer.gone) == ("contact/c1", Part("gone", b""))


def test_a_void_commit_says_nothing_and_the_rest_goes_on() -> None:
    inbox = Inbox(SENDER, "routing")
    inbox.take(Claim(1, "a", "s"))
    inbox.take(Claim(2, "b", "s"))
    assert inbox.take(_commit(1, 1, _message("routing", "void"))) == []
    assert [offer.part.type for offer in inbox.take(_commit(2, 1, _message("routing", "counts"))) if offer.part] == [
        "counts"
    ]


def test_numbers_grow_with_commit_and_index() -> None:
    numbers = [message_number(n, index) for n in (1, 2, 3) for index in (0, 1, 200)]
    assert numbers == sorted(numbers) and numbers[0] > 0
    with pytest.raises(OverflowError):
        message_number(1, 1 << 16)
