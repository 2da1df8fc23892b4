"""Two endpoints over a bad channel: whatever is lost, doubled or late, they come to rest and agree."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tandem.wire.sip.events import (
    Address,
    CallAnswered,
    CallArrived,
    CallConfirmed,
    CallEnded,
    CallProgress,
    CancelSent,
    EndCause,
    Event,
    InviteSettled,
    OfferAnswered,
    OfferReceived,
    OfferRefused,
)
from tandem.wire.sip.message import Response, parse
from tests.unit.wire.sip_world import ALICE, BOB, Channel, World, call, pair

SEEDS = 300
BAD = Channel(loss=0.3, duplicate=0.2, delay_max=0.4)
DREADFUL = Channel(loss=0.7, duplicate=0.1, delay_max=1.5)
Ends = tuple[EndCause, int]

# What each side may say at the end of one call, told by what the other says. A side that was not
# reached at all (its every message lost) has its own rows: TIMED_OUT, NO_ACK and DIALOG_GONE.
AGREE = {
    (EndCause.LOCAL_HANGUP, EndCause.REMOTE_BYE),
    (EndCause.LOCAL_HANGUP, EndCause.CANCELLED),
    (EndCause.LOCAL_HANGUP, EndCause.LOCAL_HANGUP),
    (EndCause.LOCAL_HANGUP, EndCause.REJECTED),
    (EndCause.LOCAL_HANGUP, EndCause.NO_ACK),
    (EndCause.LOCAL_HANGUP, EndCause.DIALOG_GONE),
    (EndCause.LOCAL_HANGUP, None),
    (EndCause.REMOTE_BYE, EndCause.LOCAL_HANGUP),
    (EndCause.REMOTE_BYE, EndCause.NO_ACK),
    (EndCause.REMOTE_BYE, EndCause.DIALOG_GONE),
    (EndCause.REJECTED, EndCause.REJECTED),
    (EndCause.REJECTED, EndCause.LOCAL_HANGUP),
    (EndCause.TIMED_OUT, None),
    (EndCause.TIMED_OUT, EndCause.LOCAL_HANGUP),
    (EndCause.TIMED_OUT, EndCause.REJECTED),
    (EndCause.TIMED_OUT, EndCause.NO_ACK),
    (EndCause.DIALOG_GONE, EndCause.REMOTE_BYE),
    (EndCause.DIALOG_GONE, EndCause.LOCAL_HANGUP),
    (EndCause.DIALOG_GONE, EndCause.NO_ACK),
}


class Story:
    """What both applications do, by a seed."""

    def __init__(self, seed: int, channel: Channel) -> None:
        self.chance = random.Random(f"story {seed}")
        self.world = pair(seed, channel)
        self.world.react = self.react
        self.answered: list[str] = []
        self.offers = 0
        self.calls = 3
        for number in range(self.calls):
            self.world.at(number * 3.0, self.begin)

    def begin(self) -> None:
        handle = call(self.world)
        # Some hang up at once, some while it rings, some later; all in the end.
        self.later(self.chance.choice((0.0, 2.0, 20.0, 60.0, 90.0)), ALICE, "hangup", handle)

    def later(self, after: float, address: Address, verb: str, handle: str, *arguments: object) -> None:
        def act() -> None:
            one = self.world.endpoints[address]
            getattr(one, verb)(handle, *arguments, self.world.now)

        self.world.at(self.world.now + after * self.chance.random(), act)

    def react(self, address: Address, event: Event) -> None:
        match event:
            case CallArrived(handle):
                self.later(1.0, address, "ring", handle)
                match self.chance.choice(("answer", "answer", "answer", "reject", "hangup")):
                    case "answer":
                        self.answered.append(handle)
                        self.later(8.0, address, "answer", handle, b"answer to " + (event.offer or b""))
                    case "reject":
                        self.later(8.0, address, "reject", handle, 486)
                    case _:
                        self.later(8.0, address, "hangup", handle)
                self.later(90.0, address, "hangup", handle)
            case CallAnswered(handle) | CallConfirmed(handle):
                if self.chance.random() < 0.6:
                    self.offers += 1
                    self.later(10.0, address, "offer", handle, f"offer {self.offers}".encode())
            case OfferReceived(handle, offer):
                if self.chance.random() < 0.8:
                    self.later(1.0, address, "accept_offer", handle, b"answer to " + (offer or b""))
                else:
                    self.later(1.0, address, "refuse_offer", handle, 488)
            case _:
                pass


def play(seed: int, channel: Channel = BAD) -> Story:
    story = Story(seed, channel)
    story.world.run()
    return story


def partners(world: World) -> list[tuple[str, str | None]]:
    """Alice's handles with Bob's, by Call-ID: the tags of the INVITE and of Bob's responses."""
    theirs: dict[str, str] = {}
    for event in world.all(BOB, CallArrived):
        assert isinstance(event, CallArrived)
        assert event.request.from_.tag is not None
        assert event.request.from_.tag not in theirs, "one INVITE, two calls"
        theirs[event.request.from_.tag] = event.call
    return [(handle, theirs.get(handle)) for handle in handles(world)]


def handles(world: World) -> list[str]:
    seen: list[str] = []
    for event in world.events[ALICE]:
        handle = getattr(event, "call", None)
        if handle is not None and handle not in seen:
            seen.append(handle)
    return seen


def end_of(world: World, address: Address, handle: str | None) -> EndCause | None:
    ends = [e for e in world.all(address, CallEnded) if isinstance(e, CallEnded) and e.call == handle]
    assert len(ends) == (handle is not None), "exactly one end for each call"
    return ends[0].cause if ends else None


def check_order(world: World, address: Address) -> None:
    """No event after the end but what becomes of an INVITE that was given up, no second answer, nothing out of turn."""
    ended: list[str] = []
    counts: Counter[tuple[str, str]] = Counter()
    for event in world.events[address]:
        handle = getattr(event, "call", "")
        afterwards = isinstance(event, CancelSent | InviteSettled)
        assert (handle in ended) is afterwards, f"{event} before or after the end"
        counts[handle, type(event).__name__] += 1
        if isinstance(event, CallEnded):
            ended.append(handle)
        if afterwards:
            assert not counts[handle, "CallAnswered"]
        if isinstance(event, CallProgress):
            assert not counts[handle, "CallAnswered"]
        if isinstance(event, OfferReceived | OfferAnswered | OfferRefused):
            assert counts[handle, "CallAnswered"] or counts[handle, "CallArrived"]
    once = ("CallAnswered", "CallArrived", "CallEnded", "CancelSent", "InviteSettled")
    assert all(count == 1 for (_, kind), count in counts.items() if kind in once)


def check_answers(world: World) -> None:
    """Each side heard the answer to what it offered, and to nothing else."""
    for event in world.all(ALICE, CallAnswered):
        assert isinstance(event, CallAnswered)
        assert event.answer == b"answer to v=0 offer"
    for address in (ALICE, BOB):
        for event in world.all(address, OfferAnswered):
            assert isinstance(event, OfferAnswered)
            assert (event.answer or b"").startswith(b"answer to offer ")


def check(story: Story) -> None:
    world = story.world
    assert world.is_at_rest()
    assert len(handles(world)) == story.calls
    for ours, theirs in partners(world):
        ends = end_of(world, ALICE, ours), end_of(world, BOB, theirs)
        assert ends in AGREE
        answered = has(world, ALICE, CallAnswered, ours)
        assert answered or not has(world, BOB, CallConfirmed, theirs) or ends[0] is EndCause.LOCAL_HANGUP
        assert not answered or theirs in story.answered
    check_order(world, ALICE)
    check_order(world, BOB)
    check_answers(world)


def has(world: World, address: Address, kind: type, handle: str | None) -> bool:
    return any(getattr(event, "call", None) == handle for event in world.all(address, kind))


@pytest.mark.parametrize("channel", [BAD, DREADFUL], ids=["bad", "dreadful"])
@pytest.mark.parametrize("block", range(10))
def test_they_come_to_rest_and_agree(block: int, channel: Channel) -> None:
    for seed in range(block * SEEDS // 10, (block + 1) * SEEDS // 10):
        try:
            check(play(seed, channel))
        except AssertionError as error:
            raise AssertionError(f"seed {seed} over {channel}") from error


def test_the_seeds_reach_what_they_are_for() -> None:
    reached: Counter[str] = Counter()
    for seed in range(SEEDS):
        world = play(seed, BAD if seed % 2 else DREADFUL).world
        for address in (ALICE, BOB):
            reached.update(type(event).__name__ for event in world.events[address])
            reached.update(e.cause.value for e in world.all(address, CallEnded) if isinstance(e, CallEnded))
        responses = [parse(data) for *_, data in world.sent]
        reached.update(f"{r.status} {r.cseq.method}" for r in responses if isinstance(r, Response))
    wanted = (
        "CallAnswered",
        "CallConfirmed",
        "OfferAnswered",
        "OfferRefused",
        "cancelled",
        "rejected",
        "remote_bye",
        "local_hangup",
        "timed_out",
        "dialog_gone",
        "no_ack",
        "487 INVITE",
        "491 INVITE",
        "200 CANCEL",
        "200 BYE",
        "481 BYE",
    )
    assert [name for name in wanted if not reached[name]] == []


def test_a_perfect_channel_gives_perfect_agreement() -> None:
    for seed in range(40):
        world = play(seed, Channel()).world
        for ours, theirs in partners(world):
            ends = end_of(world, ALICE, ours), end_of(world, BOB, theirs)
            assert ends in {
                (EndCause.LOCAL_HANGUP, EndCause.REMOTE_BYE),
                (EndCause.LOCAL_HANGUP, EndCause.CANCELLED),
                (EndCause.REMOTE_BYE, EndCause.LOCAL_HANGUP),
                (EndCause.REJECTED, EndCause.REJECTED),
                (EndCause.REJECTED, EndCause.LOCAL_HANGUP),
                (EndCause.LOCAL_HANGUP, None),
            }, (seed, ends)


def test_a_seed_repeats_itself() -> None:
    assert play(7).world.sent == play(7).world.sent
