"""A caller who waits is moved between two FreeSWITCH nodes: real agents, journals and backends, scripted switches that
behave as the live ones did (tests/e2e/kamailio/test_moving.py)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import pytest

from tandem.core.ports.media import (
    Bridge,
    By,
    Cause,
    Collect,
    CommandSettled,
    HandOut,
    HangUp,
    LegAnswered,
    LegEnded,
    LegHandedOut,
    Legs,
    LegTakenOver,
    LegUnbridged,
    LetGo,
    ListLegs,
    Outcome,
    Play,
    RecordStart,
    TakeOver,
    Verb,
    contact_of,
)
from tandem.core.seal import Private, Secret, secret
from tandem.media.freeswitch.ids import channel_of_caller, channel_of_moved
from tests.contract.freeswitch_media_world import FreeswitchWorld
from tests.contract.media_contract import DEVICES, PROMPT, T1, Owner

TURNS = range(10)
"""An agent is killed after so many of its turns; a take-over has nine."""


@dataclass
class Node:
    """One of two, and its owner, who is told everything again by the next life of the agent."""

    world: FreeswitchWorld
    owner: Owner
    keys: count[int]
    epoch: int = 1

    @classmethod
    async def made(cls, turns: int = 0, *, cut: bool = False, behind_door: bool = True) -> Node:
        world = FreeswitchWorld(turns, behind_door=behind_door, cut=cut)
        return cls(world, await world.greeted(), count())

    async def order(self, leg: str, verb: Verb, *, dies: bool = False) -> CommandSettled:
        """Command it, until it has settled; the agent dies in the middle of it if so wished."""
        key = f"key/{next(self.keys)}"
        if dies:
            await self.world.restart_before_events(lambda: self._command(leg, verb, key))
            if self.owner.closed is not None:
                self.epoch += 1
                self.owner = await self.world.owner(self.epoch)
        self._command(leg, verb, key)
        return await self.world.done(self.owner, key)

    def _command(self, leg: str, verb: Verb, key: str) -> None:
        self.owner.command(leg, verb, key)

    async def does(self, leg: str, verb: Verb, *, dies: bool = False) -> None:
        settled = await self.order(leg, verb, dies=dies)
        assert settled.outcome is Outcome.DONE, settled

    async def fails(self, leg: str, verb: Verb) -> str:
        settled = await self.order(leg, verb)
        assert settled.outcome is Outcome.FAILED, settled
        return settled.reason

    async def legs(self) -> list[str]:
        """As an owner is told that asks."""
        self.owner.put(ListLegs())
        before = len([frame for frame in self.owner.frames if isinstance(frame, Legs)])
        await self.world.until(lambda: len([f for f in self.owner.frames if isinstance(f, Legs)]) > before)
        return [leg for frame in self.owner.frames if isinstance(frame, Legs) for _, leg in frame.legs][-1:]

    async def handed_out(self, leg: str, *, dies: bool = False) -> Private:
        await self.does(leg, HandOut(), dies=dies)
        return self.owner.of(LegHandedOut, leg)[-1].dialog

    @property
    def channels(self) -> list[str]:
        return list(self.world.switch.channels)


async def pair(turns: int = 0, *, cut: bool = False) -> tuple[Node, Node, str]:
    """Two nodes, and a caller who hears music on the first of them."""
    here, there = await Node.made(turns, cut=cut), await Node.made(turns, cut=cut)
    there.world.switch.name_from(1000)
    leg = await here.world.answered(here.owner)
    await here.does(leg, Play((PROMPT,), loop=True))
    return here, there, leg


def moved(leg: str, times: int = 1) -> str:
    """What a caller's leg is called on the node that takes it over."""
    return f"{contact_of(leg)}.move{times}"


def phone(leg: str) -> str:
    """The phone of a caller, by the name of its call."""
    return channel_of_caller(contact_of(leg)) or ""


async def the_next_one_moves(here: Node, there: Node) -> None:
    """And hangs up there."""
    leg = await here.world.answered(here.owner)
    await there.does(moved(leg), TakeOver(await here.handed_out(leg)))
    await here.does(leg, LetGo())
    await there.world.hang_up(moved(leg))
    await there.world.rest()


async def is_there(here: Node, there: Node, leg: str) -> None:
    """The caller is on the second node and on no other; nobody told the phone that anything had ended."""
    assert (here.channels, there.channels) == ([], [channel_of_moved(T1, leg)])
    assert (await here.legs(), await there.legs()) == ([], [leg])
    assert here.world.switch.byes == there.world.switch.byes == []
    await there.does(leg, HangUp())
    assert there.world.switch.byes == [phone(leg)], "and of the end that is one it hears"


async def test_a_caller_is_moved_and_their_phone_hears_of_no_end() -> None:
    here, there, leg = await pair()
    dialog = await here.handed_out(leg)
    assert here.world.switch.channels[phone(leg)].running is not None, "the music goes on"
    await there.does(moved(leg), TakeOver(dialog))
    told = [type(event.body) for event in there.owner.events() if event.leg == moved(leg)]
    assert told == [LegTakenOver, CommandSettled]
    await here.does(leg, LetGo())
    assert here.owner.of(LegEnded, leg) == [LegEnded(Cause.MOVED, By.TANDEM, 0, "NORMAL_CLEARING")]
    await there.does(moved(leg), Play((PROMPT,)))
    await is_there(here, there, moved(leg))


async def test_handing_out_gives_nothing_up_and_may_be_repeated() -> None:
    here, _, leg = await pair()
    for _ in range(2):
        assert isinstance(await here.handed_out(leg), Secret)
    await here.does(leg, Play((PROMPT,)))
    assert await here.legs() == [leg]
    await here.does(leg, HangUp())
    assert here.world.switch.byes == [phone(leg)]


async def test_a_caller_moves_there_and_back() -> None:
    here, there, leg = await pair()
    await there.does(moved(leg), TakeOver(await here.handed_out(leg)))
    await here.does(leg, LetGo())
    await here.does(moved(leg, 2), TakeOver(await there.handed_out(moved(leg))))
    await there.does(moved(leg), LetGo())
    await is_there(there, here, moved(leg, 2))


async def test_only_a_caller_who_waits_is_handed_out() -> None:
    node = await Node.made()
    owner, world = node.owner, node.world
    ringing = await world.arrive(owner)
    assert await node.fails(ringing, HandOut()) == "NOT_WAITING"
    for device in DEVICES:
        await world.register(device)
    leg = await world.answered(owner)
    owner.command(leg, Collect("menu", (), 1, 30_000))
    assert await node.fails(leg, HandOut()) == "NOT_WAITING"
    await node.does(leg, Play(()))
    await node.does(leg, RecordStart("r1", Secret(bytes(32))))
    assert await node.fails(leg, HandOut()) == "NOT_WAITING"
    other = await world.answered(owner)
    await world.done(owner, await world.ring(owner, f"{other}.a", DEVICES[0]))
    await node.does(other, Bridge(f"{other}.a"))
    assert await node.fails(other, HandOut()) == "NOT_WAITING"
    assert await node.fails(f"{other}.a", HandOut()) == "NOT_WAITING"
    assert await node.fails("nobody", HandOut()) == "LEG_GONE"
    assert owner.of(LegHandedOut) == []


@pytest.mark.parametrize(
    "variables",
    [
        {"sip_via_protocol": "wss"},
        {"sip_via_protocol": "tcp"},
        {"rtp_has_crypto": "AES_CM_128_HMAC_SHA1_80"},
        {"sip_invite_record_route": ""},
        {"tandem_long": "x" * 65_536},
    ],
)
async def test_whose_call_cannot_go_on_elsewhere_is_not_handed_out(variables: dict[str, str]) -> None:
    here, _, leg = await pair()
    here.world.switch.channels[phone(leg)].variables |= variables
    assert await here.fails(leg, HandOut()) == "CANNOT_MOVE"


async def test_a_phone_that_has_not_acknowledged_its_answer_is_asked_again_later() -> None:
    here, _, leg = await pair()
    channel = here.world.switch.channels[phone(leg)]
    channel.variables["sip_full_to"] = "<sip:4930100@192.0.2.1>"
    assert await here.fails(leg, HandOut()) == "NOT_WAITING"


async def test_without_a_door_nobody_moves() -> None:
    here, _, leg = await pair()
    dialog = await here.handed_out(leg)
    alone = await Node.made(behind_door=False)
    assert await alone.fails(await alone.world.answered(alone.owner), HandOut()) == "NO_DOOR"
    assert await alone.fails(moved(leg), TakeOver(dialog)) == "NO_DOOR"


@pytest.mark.parametrize(
    ("says", "reason"), [("481", "CALL_GONE"), ("500", "NO_ANSWER"), ("silent", "NO_ANSWER"), ("port", "NO_PORT")]
)
async def test_a_phone_that_does_not_come_stays_where_it_is(says: str, reason: str) -> None:
    here, there, leg = await pair()
    dialog = await here.handed_out(leg)
    there.world.switch.reinvites[phone(leg)] = says
    began_ms = there.world.now_ms
    assert await there.fails(moved(leg), TakeOver(dialog)) == reason
    assert there.world.now_ms - began_ms < 9_000
    assert (there.channels, await there.legs(), there.world.switch.byes) == ([], [], [])
    assert [type(event.body) for event in there.owner.events() if event.leg == moved(leg)] == [CommandSettled]
    assert await here.legs() == [leg]


async def test_a_phone_that_asks_for_something_itself_is_asked_again() -> None:
    here, there, leg = await pair()
    there.world.switch.reinvites[phone(leg)] = "491"
    began_ms = there.world.now_ms
    await there.does(moved(leg), TakeOver(await here.handed_out(leg)))
    assert there.world.now_ms - began_ms > 2_000
    await here.does(leg, LetGo())
    await is_there(here, there, moved(leg))


async def test_where_a_port_is_not_free_another_one_is_taken() -> None:
    here, there, leg = await pair()
    there.world.switch.reinvites[channel_of_caller(leg) or ""] = "one port"
    began_ms = there.world.now_ms
    await there.does(moved(leg), TakeOver(await here.handed_out(leg)))
    assert there.world.now_ms - began_ms < 1_000


async def test_a_channel_is_nobodys_leg_before_it_is_parked() -> None:
    """What is sent to it before that would run first, and end when it is parked."""
    here, there, leg = await pair()
    there.world.switch.reinvites[phone(leg)] = "at once"
    key = there.owner.command(moved(leg), TakeOver(await here.handed_out(leg)))
    await there.world.until(lambda: there.owner.of(LegTakenOver, moved(leg)))
    assert there.world.switch.channels[channel_of_moved(T1, moved(leg))].parks_at is None
    assert there.owner.outcomes(key)[0].outcome is Outcome.DONE


async def test_a_node_that_is_full_takes_nobody_over() -> None:
    here, there, leg = await pair()
    there.world.switch.max_callers = 1
    await there.world.answered(there.owner)
    assert await there.fails(moved(leg), TakeOver(await here.handed_out(leg))) == "CAPACITY"


async def test_a_node_that_is_drained_takes_nobody_over() -> None:
    here, there, leg = await pair()
    await here.world.drain()
    dialog = await here.handed_out(leg)
    await there.world.drain()
    assert await there.fails(moved(leg), TakeOver(dialog)) == "DRAINING"


async def test_a_database_that_cannot_be_written_is_told() -> None:
    here, there, leg = await pair()
    there.world.backend.unwritable = "read-only"
    assert await there.fails(moved(leg), TakeOver(await here.handed_out(leg))) == "CANNOT_WRITE"
    assert "CANNOT_WRITE" in there.world.backend.notices


@pytest.mark.parametrize("dialog", ["", "{}", "[]", '{"format":2}', "\x00" * 9, '{"format":2,"leg":7}'])
async def test_what_no_node_wrote_is_refused(dialog: str) -> None:
    _, there, leg = await pair()
    assert await there.fails(moved(leg), TakeOver(secret(dialog))) == "BAD_DIALOG"


async def test_a_leg_is_taken_over_as_a_new_one_of_its_contact() -> None:
    here, there, leg = await pair()
    dialog = await here.handed_out(leg)
    for other in ("0" * 31 + "f", "0" * 31 + "f.move1", leg, f"x{leg}.move1"):
        assert await there.fails(other, TakeOver(dialog)) == "BAD_DIALOG", other
    await there.does(moved(leg), TakeOver(dialog))
    dialog = await there.handed_out(moved(leg))
    third = await Node.made()
    assert await third.fails(moved(leg), TakeOver(dialog)) == "BAD_DIALOG", "one leg would be on two nodes"
    await third.does(moved(leg, 2), TakeOver(dialog))
    assert await third.legs() == [moved(leg, 2)]


async def test_who_was_taken_over_is_not_taken_over_again() -> None:
    here, there, leg = await pair()
    dialog = await here.handed_out(leg)
    await there.does(moved(leg), TakeOver(dialog))
    await there.does(moved(leg), TakeOver(dialog))
    assert there.owner.of(LegTakenOver, moved(leg)) == [LegTakenOver()]
    await here.does(leg, LetGo())
    await is_there(here, there, moved(leg))


async def test_a_leg_of_another_kind_is_not_what_was_to_be_taken_over() -> None:
    here, there, leg = await pair()
    dialog = await here.handed_out(leg)
    await there.world.register(DEVICES[0])
    await there.world.done(there.owner, await there.world.ring(there.owner, f"{leg}.a", DEVICES[0]))
    assert await there.fails(f"{leg}.a", TakeOver(dialog)) == "LEG_EXISTS"


async def test_who_is_being_taken_over_is_not_asked_twice_at_once() -> None:
    here, there, leg = await pair()
    dialog = await here.handed_out(leg)
    key = there.owner.command(moved(leg), TakeOver(dialog))
    assert await there.fails(moved(leg), TakeOver(dialog)) == "LEG_EXISTS"
    assert (await there.world.done(there.owner, key)).outcome is Outcome.DONE


@pytest.mark.parametrize("again", ["never", "before it is known", "after"])
async def test_who_was_taken_over_is_found_without_a_journal(again: str) -> None:
    """By what the channel itself says; and the order that is given again has been carried out."""
    here, there, leg = await pair()
    dialog = await here.handed_out(leg)
    await there.does(moved(leg), TakeOver(dialog))
    await here.does(leg, LetGo())
    await there.world.restart_without_journal()
    there.owner = await there.world.greeted(2)
    if again == "before it is known":
        there.owner.command(moved(leg), TakeOver(dialog), "again")
        await there.world.rest()
    await there.world.connect_switch()
    if again == "before it is known":
        assert (await there.world.done(there.owner, "again")).outcome is Outcome.DONE
    elif again == "after":
        await there.does(moved(leg), TakeOver(dialog))
    await there.does(moved(leg), Play((PROMPT,)))
    assert there.owner.of(LegAnswered, moved(leg)) == []
    await is_there(here, there, moved(leg))


async def test_who_was_taken_over_talks_and_is_parked_as_any_caller() -> None:
    here, there, leg = await pair()
    await there.does(moved(leg), TakeOver(await here.handed_out(leg)))
    await here.does(leg, LetGo())
    await there.world.drain()
    await there.world.register(DEVICES[0])
    await there.world.done(there.owner, await there.world.ring(there.owner, f"{leg}.a", DEVICES[0]))
    await there.does(moved(leg), Bridge(f"{leg}.a"))
    await there.world.hang_up(f"{leg}.a")
    await there.world.until(lambda: there.owner.of(LegUnbridged, moved(leg)))
    await is_there(here, there, moved(leg))


async def test_callers_come_side_by_side_and_their_rows_one_by_one() -> None:
    here, there, first = await pair()
    legs = [first, await here.world.answered(here.owner), await here.world.answered(here.owner)]
    keys = []
    for leg in legs:
        dialog = await here.handed_out(leg)
        keys.append(there.owner.command(moved(leg), TakeOver(dialog)))
    for key in keys:
        assert (await there.world.done(there.owner, key)).outcome is Outcome.DONE
    assert sorted(there.channels) == sorted(channel_of_moved(T1, moved(leg)) for leg in legs)


async def test_what_is_ordered_meanwhile_follows() -> None:
    here, there, leg = await pair()
    dialog = await here.handed_out(leg)
    key = there.owner.command(moved(leg), TakeOver(dialog))
    end = there.owner.command(moved(leg), HangUp())
    assert (await there.world.done(there.owner, end)).outcome is Outcome.DONE
    assert there.owner.outcomes(key)[0].outcome is Outcome.DONE
    assert there.owner.of(LegEnded, moved(leg))[0].cause is Cause.NORMAL
    assert there.world.switch.byes == [phone(leg)], "it was no call of the first node any more"


async def test_what_is_ordered_meanwhile_ends_with_a_leg_that_never_came() -> None:
    here, there, leg = await pair()
    there.world.switch.reinvites[phone(leg)] = "481"
    there.owner.command(moved(leg), TakeOver(await here.handed_out(leg)))
    assert (await there.order(moved(leg), HangUp())).outcome is Outcome.DONE
    assert there.owner.of(LegEnded, moved(leg)) == []


async def test_letting_go_what_is_gone_is_done() -> None:
    here, _, leg = await pair()
    await here.does("c9", LetGo())
    await here.world.hang_up(leg)
    await here.does(leg, LetGo())
    assert [end.cause for end in here.owner.of(LegEnded, leg)] == [Cause.NORMAL]


async def test_a_switch_that_dies_in_a_take_over_leaves_it_in_doubt() -> None:
    here, there, leg = await pair()
    there.world.switch.reinvites[phone(leg)] = "silent"
    key = there.owner.command(moved(leg), TakeOver(await here.handed_out(leg)))
    await there.world.rest()
    await there.world.restart_switch()
    settled = await there.world.done(there.owner, key)
    assert (settled.outcome, settled.reason) == (Outcome.UNKNOWN, "SWITCH_GONE")
    assert there.owner.of(LegEnded, moved(leg)) == []


@pytest.mark.parametrize("cut", [False, True], ids=["dies", "connection lost"])
@pytest.mark.parametrize("turns", TURNS)
@pytest.mark.parametrize("step", [HandOut, TakeOver, LetGo])
async def test_a_move_outlives_an_agent_that_is_killed_in_it(step: type[Verb], turns: int, cut: bool) -> None:
    here, there, leg = await pair(turns, cut=cut)
    dialog = await here.handed_out(leg, dies=step is HandOut)
    began_ms = there.world.now_ms
    settled = await there.order(moved(leg), TakeOver(dialog), dies=step is TakeOver)
    if settled.outcome is Outcome.FAILED:
        assert there.world.now_ms - began_ms < 3_000, "nobody waits for a phone that was not asked"
        assert (there.channels, await there.legs()) == ([], [])
        await there.does(moved(leg), TakeOver(await here.handed_out(leg)))
    told = [type(event.body) for event in there.owner.events() if event.leg == moved(leg)]
    assert told.count(LegTakenOver) == 1
    assert LegAnswered not in told
    await here.does(leg, LetGo(), dies=step is LetGo)
    await the_next_one_moves(here, there)
    ends = here.owner.of(LegEnded, leg)
    assert [(end.cause, end.by) for end in ends] == [(Cause.MOVED, By.TANDEM)]
    await is_there(here, there, moved(leg))


@pytest.mark.parametrize("cut", [False, True], ids=["dies", "connection lost"])
@pytest.mark.parametrize("turns", TURNS)
async def test_an_end_that_follows_outlives_the_agent_too(turns: int, cut: bool) -> None:
    here, there, leg = await pair(turns, cut=cut)
    dialog = await here.handed_out(leg)
    owner = there.owner

    def both() -> None:
        owner.command(moved(leg), TakeOver(dialog), "take")
        owner.command(moved(leg), HangUp(), "end")

    await there.world.restart_before_events(both)
    if owner.closed is not None:
        there.owner = await there.world.owner(2)
    assert (await there.world.done(there.owner, "end")).outcome is Outcome.DONE
    taken = (await there.world.done(there.owner, "take")).outcome is Outcome.DONE
    await there.world.rest()
    assert (there.channels, await there.legs()) == ([], [])
    assert there.world.switch.byes == [phone(leg)] * taken


async def test_an_end_that_was_ordered_is_told_the_phone_also_by_the_agents_next_life() -> None:
    """The agent that took the leg over died before it had the switch forget whose end is nobody's."""
    here, there, leg = await pair()
    await there.does(moved(leg), TakeOver(await here.handed_out(leg)))
    await here.does(leg, LetGo())
    there.world.switch.channels[channel_of_moved(T1, moved(leg))].variables["sip_bye_h_X-Tandem-Moved"] = "true"
    await there.world.restart()
    there.owner = await there.world.owner(2)
    await there.world.rest()
    await is_there(here, there, moved(leg))
