"""What every media node keeps, seen as an owner sees it: through the agent (spine 7).

A clause is a function of a `MediaWorld`: a node with its agent, journal and backend, phones, and a
way to kill and start the agent. Each world runs every clause in `CLAUSES` that it can show; a
planted bad agent must fail the clause named for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TypeVar

from tandem.core.ports.media import (
    Ack,
    Answer,
    Bridge,
    By,
    CallRefused,
    Cause,
    Collect,
    Collected,
    Command,
    CommandSettled,
    Confer,
    DeviceRegistered,
    DeviceUnregistered,
    DigitsCollected,
    Directory,
    DirectoryDevice,
    DirectoryNumber,
    Event,
    FromNode,
    HangUp,
    Hello,
    KeptEnd,
    LegAnswered,
    LegArrived,
    LegBridged,
    LegEarlyMedia,
    LegEnded,
    LegReferred,
    LegRinging,
    Legs,
    LegUnbridged,
    ListLegs,
    MediaEvent,
    Originate,
    Outcome,
    Play,
    RecordingStored,
    RecordPause,
    RecordResume,
    RecordStart,
    RecordStop,
    StaleEpoch,
    Stop,
    Supervise,
    Supervision,
    ToNode,
    Verb,
    Welcome,
)
from tandem.core.seal import Erased, Secret, secret
from tandem.wire.sip.digest import hash_password

T1, T2 = "t1", "t2"
NUMBERS = {T1: "+4930100", T2: "+4930200"}
DEVICES, PASSWORD = ("anna", "ben"), "secret"
PROMPT = "welcome"
GATEWAY = "carrier"
"""Where a world that `dials` lets `T1`, and nobody else, call two numbers at once that begin with +49, and not with
+49900."""
CALLED = "+493055501"
DIRECTORY = Directory(
    1,
    tuple(DirectoryNumber(number, tenant, 0) for tenant, number in NUMBERS.items()),
    tuple(
        DirectoryDevice(device, T1, 0, "t1.test", hashed.md5, hashed.sha256)
        for device, hashed in ((device, hash_password(device, "t1.test", PASSWORD)) for device in DEVICES)
    ),
)

E = TypeVar("E")


@dataclass
class Owner:
    """An owner of shard 0, as the node sees it: what it sent and what it was told."""

    link: str
    put: Callable[[ToNode], None]
    frames: list[FromNode] = field(default_factory=list)
    closed: str | None = None
    _keys: count[int] = field(default_factory=count)

    def events(self, tenant: str = T1) -> list[Event]:
        return [frame for frame in self.frames if isinstance(frame, Event) and frame.tenant == tenant]

    def of(self, kind: type[E], leg: str | None = None, tenant: str = T1) -> list[E]:
        """Bodies of that type, on that leg."""
        events = [event for event in self.events(tenant) if leg is None or event.leg == leg]
        return [event.body for event in events if isinstance(event.body, kind)]

    def first(self, kind: type[E]) -> E | None:
        return next((frame for frame in self.frames if isinstance(frame, kind)), None)

    def legs(self, tenant: str = T1) -> list[str]:
        """Legs that arrived, in order."""
        return [event.leg for event in self.events(tenant) if isinstance(event.body, LegArrived)]

    def command(self, leg: str, verb: Verb, key: str = "", tenant: str = T1) -> str:
        key = key or f"{self.link}/{next(self._keys)}"
        self.put(Command(tenant, key, leg, verb))
        return key

    def outcomes(self, key: str, tenant: str = T1) -> list[CommandSettled]:
        return [settled for settled in self.of(CommandSettled, tenant=tenant) if settled.key == key]

    def ack(self, tenant: str = T1) -> None:
        self.put(Ack(tenant, self.events(tenant)[-1].number))


class MediaWorld(ABC):
    """A node, its agent and its phones. `calls_survive`: the agent's death leaves the calls up."""

    calls_survive: bool
    refers = True
    """Whether phones can hand a call over by themselves: a node may refuse REFER."""
    supervises = False
    """Whether it carries out `Supervise`; otherwise it refuses it by name."""
    answers_options = False
    """Whether a door could ask it, by OPTIONS, if it takes calls."""
    sees_refused = True
    """Whether callers whom a drain refuses come as far as the node that tells of them."""
    rings_everywhere = False
    """Whether a device that registered at several places rings in all of them."""
    dials = False
    """Whether it calls numbers through gateways; otherwise it refuses them by name."""
    mixes = False
    """Whether it carries out `Confer`; otherwise it refuses it by name."""
    finds_again = False
    """Whether the agent's next life finds out all that its last one was told and did not write. The simulated node is
    never killed there."""
    sees_journal = False
    """Whether the world can stop the agent between writing and sending."""

    @abstractmethod
    async def connect(self, hello: Hello) -> Owner:
        """A new link, and its Hello."""

    @abstractmethod
    async def until(self, done: Callable[[], object]) -> None:
        """Let time pass until then. Fails the clause if it does not come."""

    @abstractmethod
    async def rest(self) -> None:
        """Let everything happen that is under way: a second or two of media time."""

    @abstractmethod
    async def dial(self, number: str) -> None:
        """Somebody calls from outside."""

    @abstractmethod
    async def drain(self, on: bool = True, within_s: int | None = None) -> None:
        """An operator empties the node, or fills it again."""

    def options(self) -> int:
        """What OPTIONS gets. Only where `answers_options`."""
        raise NotImplementedError

    @abstractmethod
    async def press(self, leg: str, digits: str) -> None:
        """The caller of that leg presses digits."""

    @abstractmethod
    async def hang_up(self, leg: str) -> None:
        """The phone of that leg hangs up."""

    async def refer(self, leg: str, target: str) -> None:
        """The phone of that leg hands the other party of its talk over, and hangs up. Only where `refers`."""
        raise NotImplementedError

    @abstractmethod
    async def register(self, device: str, *, answers: bool = True) -> None:
        """A phone registers; it will ring, and be answered after a second if so wished."""

    async def register_at(self, device: str, place: str, does: str) -> None:
        """A phone of a device registers at one place of several: it `answers` after a second, `rings` on, or ends with
        one of FreeSWITCH's causes. Only where `rings_everywhere`."""
        raise NotImplementedError

    async def unregister_at(self, device: str, place: str) -> None:
        """That phone's connection is gone. Only where `rings_everywhere`."""
        raise NotImplementedError

    def told_elsewhere(self) -> list[str]:
        """Phones, as `device@place`, that were told that another one answered. Only where `rings_everywhere`."""
        raise NotImplementedError

    @abstractmethod
    def rings(self, device: str) -> int:
        """How often the phone was rung."""

    async def outside(self, number: str, does: str) -> None:
        """What comes of a call to that number: it `answers` after a second, `rings` on, `speaks` for some seconds and
        then answers, or one of FreeSWITCH's causes. Only where `dials`."""
        raise NotImplementedError

    async def carrier_is(self, *, up: bool) -> None:
        """Whether the gateway's carrier is to be had. Only where `dials`."""
        raise NotImplementedError

    def calls(self, number: str) -> int:
        """How often that number was called. Only where `dials`."""
        raise NotImplementedError

    @abstractmethod
    async def restart(self) -> None:
        """Kill the agent and start it again on the same journal."""

    async def restart_after(self, happens: Callable[[], Awaitable[None]]) -> None:
        """Kill the agent, let that happen, and start the agent again. Only where `calls_survive`."""
        raise NotImplementedError

    async def restart_before_events(self, begin: Callable[[], None]) -> None:
        """Kill the agent after it carried out what `begin` sends and before it wrote what came
        of that; then start it again. Only where `calls_survive`."""
        raise NotImplementedError

    async def killed_before_writing(self, begin: Callable[[], None]) -> tuple[list[Event], list[Event]]:
        """Kill the agent at its next write, which `begin` causes. What events had been sent, and
        what the journal holds. Only where `sees_journal`."""
        raise NotImplementedError

    # ------------------------------------------------------------------ words of the clauses

    async def owner(
        self, epoch: int = 1, marks: tuple[tuple[str, int], ...] = (), incarnation: str = "", shard: int = 0
    ) -> Owner:
        owner = await self.connect(Hello("live", shard, epoch, incarnation, marks))
        await self.until(lambda: owner.first(KeptEnd) or owner.first(StaleEpoch))
        return owner

    async def greeted(self, epoch: int = 1) -> Owner:
        """An owner whose directory the node has."""
        owner = await self.owner(epoch)
        owner.put(DIRECTORY)
        await self.rest()
        return owner

    async def arrive(self, owner: Owner, tenant: str = T1) -> str:
        """A new call rings; its leg."""
        before = len(owner.legs(tenant))
        await self.dial(NUMBERS[tenant])
        await self.until(lambda: len(owner.legs(tenant)) > before)
        return owner.legs(tenant)[-1]

    async def refused(self, owner: Owner) -> None:
        """A new call is refused because the node is drained."""
        before = len(owner.legs()), len(owner.of(CallRefused))
        await self.dial(NUMBERS[T1])
        await self.rest()
        told = owner.of(CallRefused)[before[1] :]
        assert told == [CallRefused(NUMBERS[T1], "DRAINING")] * self.sees_refused
        assert len(owner.legs()) == before[0]
        assert not self.answers_options or self.options() == 503

    async def answered(self, owner: Owner, tenant: str = T1) -> str:
        leg = await self.arrive(owner, tenant)
        await self.done(owner, owner.command(leg, Answer(), tenant=tenant), tenant)
        return leg

    async def done(self, owner: Owner, key: str, tenant: str = T1) -> CommandSettled:
        await self.until(lambda: owner.outcomes(key, tenant))
        return owner.outcomes(key, tenant)[0]

    async def ring(self, owner: Owner, leg: str, device: str, key: str = "") -> str:
        """Originate to a device; the command's key."""
        return owner.command(leg, Originate(device, 15_000, "o1", secret("+49301234567")), key)

    async def call(self, owner: Owner, leg: str, number: str = CALLED, key: str = "", limit_ms: int = 15_000) -> str:
        """Originate to a number; the command's key."""
        verb = Originate("", limit_ms, "o1", secret(NUMBERS[T1]), GATEWAY, secret(number))
        return owner.command(leg, verb, key)


Clause = Callable[[MediaWorld], Awaitable[None]]
CLAUSES: dict[str, Clause] = {}


def clause(check: Clause) -> Clause:
    CLAUSES[check.__name__] = check
    return check


def numbers(events: list[Event]) -> list[int]:
    return [event.number for event in events]


def incarnation(owner: Owner) -> str:
    welcome = owner.first(Welcome)
    assert welcome is not None
    return welcome.incarnation


def _command(owner: Owner, leg: str, verb: Verb, key: str = "") -> None:
    owner.command(leg, verb, key)


# ---------------------------------------------------------------------------------- numbers


@clause
async def numbers_run_from_1_per_tenant_without_gaps(world: MediaWorld) -> None:
    owner = await world.greeted()
    for tenant in (T1, T2, T1):
        leg = await world.answered(owner, tenant)
        await world.hang_up(leg)
    await world.until(lambda: len(owner.of(LegEnded)) == 2 and owner.of(LegEnded, tenant=T2))
    for tenant in (T1, T2):
        assert numbers(owner.events(tenant)) == list(range(1, len(owner.events(tenant)) + 1))


@clause
async def media_time_never_runs_back(world: MediaWorld) -> None:
    owner = await world.greeted()
    leg = await world.answered(owner)
    await world.done(owner, owner.command(leg, Play((PROMPT,))))
    await world.hang_up(leg)
    await world.until(lambda: owner.of(LegEnded))
    times = [event.media_time_ms for event in owner.events()]
    assert times == sorted(times)


@clause
async def numbers_go_on_after_a_restart(world: MediaWorld) -> None:
    owner = await world.greeted()
    leg = await world.arrive(owner)
    told = owner.events()
    before = incarnation(owner)
    await world.restart()
    later = await world.owner(1, ((T1, told[-1].number),), before)
    await world.hang_up(leg)
    await world.until(lambda: later.of(LegEnded, leg))
    assert incarnation(later) == before
    assert numbers(later.events())[0] == told[-1].number + 1


# ---------------------------------------------------------------------------------- keeping


@clause
async def what_nobody_acknowledged_is_told_again(world: MediaWorld) -> None:
    first = await world.greeted()
    leg = await world.arrive(first)
    told = first.events()
    await world.restart()
    second = await world.owner(2)
    assert second.events()[: len(told)] == told, "the same events under the same numbers"
    assert any(event.leg == leg for event in second.events())


@clause
async def kept_end_comes_after_all_that_was_kept(world: MediaWorld) -> None:
    first = await world.greeted()
    await world.arrive(first)
    second = await world.owner(2)
    frames = second.frames
    assert isinstance(frames[0], Welcome)
    assert isinstance(frames[-1], KeptEnd)
    assert numbers(second.events()) == numbers(first.events())


@clause
async def what_was_acknowledged_is_not_told_again(world: MediaWorld) -> None:
    first = await world.greeted()
    await world.arrive(first)
    first.ack()
    await world.rest()
    second = await world.owner(2)
    assert second.events() == []


@clause
async def hello_marks_say_where_to_begin(world: MediaWorld) -> None:
    first = await world.greeted()
    leg = await world.answered(first)
    await world.hang_up(leg)
    await world.until(lambda: first.of(LegEnded))
    await world.rest()
    second = await world.owner(2, ((T1, 2),), incarnation(first))
    assert numbers(second.events()) == numbers(first.events())[2:]


@clause
async def marks_of_another_incarnation_count_for_nothing(world: MediaWorld) -> None:
    first = await world.greeted()
    await world.arrive(first)
    second = await world.owner(2, ((T1, 1),), "another")
    assert numbers(second.events()) == numbers(first.events())


@clause
async def events_are_written_before_they_are_sent(world: MediaWorld) -> None:
    if not world.sees_journal:
        return
    owner = await world.greeted()
    leg = await world.arrive(owner)
    sent, written = await world.killed_before_writing(lambda: _command(owner, leg, Answer()))
    assert [event for event in sent if event not in written] == []


# ---------------------------------------------------------------------------------- epochs


@clause
async def an_older_epoch_is_refused(world: MediaWorld) -> None:
    await world.owner(6)
    old = await world.owner(5)
    assert old.first(StaleEpoch) == StaleEpoch(6)
    assert old.first(Welcome) is None
    await world.until(lambda: old.closed is not None)


@clause
async def the_highest_epoch_outlives_the_agent(world: MediaWorld) -> None:
    """T1: the forgotten epoch."""
    await world.owner(6)
    await world.restart()
    old = await world.owner(5)
    assert old.first(StaleEpoch) == StaleEpoch(6)


@clause
async def a_newer_owner_takes_the_older_ones_place(world: MediaWorld) -> None:
    old = await world.greeted(5)
    leg = await world.answered(old)
    new = await world.owner(6)
    await world.until(lambda: old.closed is not None)
    assert old.first(StaleEpoch) == StaleEpoch(6)
    old.command(leg, HangUp())
    await world.rest()
    assert new.of(LegEnded, leg) == [], "the old owner's command counted"
    assert await world.done(new, new.command(leg, HangUp()))


@clause
async def shards_have_epochs_of_their_own(world: MediaWorld) -> None:
    await world.owner(6, shard=0)
    other = await world.owner(2, shard=1)
    assert other.first(Welcome) is not None


# ---------------------------------------------------------------------------------- keys


@clause
async def a_key_is_carried_out_once(world: MediaWorld) -> None:
    owner = await world.greeted()
    await world.register("anna", answers=False)
    await world.until(lambda: owner.of(DeviceRegistered))
    key = await world.ring(owner, "c1.a", "anna", "k1")
    await world.until(lambda: owner.of(LegRinging, "c1.a"))
    await world.ring(owner, "c1.a", "anna", key)
    await world.rest()
    assert world.rings("anna") == 1
    assert owner.outcomes(key) == [], "it still rings"


@clause
async def a_settled_key_is_answered_with_its_first_outcome(world: MediaWorld) -> None:
    owner = await world.greeted()
    leg = await world.arrive(owner)
    key = owner.command(leg, Play((PROMPT,)))
    first = await world.done(owner, key)
    await world.done(owner, owner.command(leg, Answer()))
    owner.ack()
    await world.rest()
    owner.command(leg, Play((PROMPT,)), key)
    await world.until(lambda: len(owner.outcomes(key)) == 2)
    assert owner.outcomes(key)[1] == first
    assert first.outcome is Outcome.FAILED, "it was not answered yet"
    assert len(set(numbers(owner.events()))) == len(owner.events()), "under a number of its own"


@clause
async def a_key_is_remembered_across_a_restart(world: MediaWorld) -> None:
    """E2: the second ring."""
    owner = await world.greeted()
    await world.register("anna", answers=False)
    await world.until(lambda: owner.of(DeviceRegistered))
    key = await world.ring(owner, "c1.a", "anna")
    await world.until(lambda: owner.of(LegRinging, "c1.a"))
    await world.restart()
    later = await world.owner(2)
    await world.ring(later, "c1.a", "anna", key)
    await world.rest()
    assert world.rings("anna") == 1, "the phone was rung twice (E2)"


@clause
async def an_originate_in_doubt_is_unknown(world: MediaWorld) -> None:
    """E2: never again in doubt."""
    if world.calls_survive:
        return
    owner = await world.greeted()
    await world.register("anna", answers=False)
    await world.until(lambda: owner.of(DeviceRegistered))
    key = await world.ring(owner, "c1.a", "anna")
    await world.until(lambda: owner.of(LegRinging, "c1.a"))
    await world.restart()
    later = await world.owner(2)
    settled = await world.done(later, key)
    assert settled.outcome is Outcome.UNKNOWN
    assert world.rings("anna") == 1


@clause
async def a_bridge_in_doubt_is_not_made_twice(world: MediaWorld) -> None:
    """E2: bridging a bridged leg gives an UNBRIDGE first."""
    if not world.calls_survive:
        return
    owner = await world.greeted()
    one, other = await world.answered(owner), await world.answered(owner)
    await world.restart_before_events(lambda: _command(owner, one, Bridge(other), "bridge"))
    later = await world.owner(2)
    settled = await world.done(later, "bridge")
    assert settled.outcome is Outcome.DONE
    assert later.of(LegUnbridged) == [], "a blind repeat looks like an end"


@clause
async def every_command_ends_once(world: MediaWorld) -> None:
    owner = await world.greeted()
    leg = await world.arrive(owner)
    verbs: tuple[Verb, ...] = (
        Answer(),
        Play((PROMPT,), loop=True),
        Play((PROMPT,)),
        Collect("menu", (PROMPT,), 1, 60_000),
        Stop(),
        RecordStart("r1", Secret(bytes(32))),
        Bridge("nobody"),
        HangUp(),
        HangUp(),
        Play((PROMPT,)),
    )
    keys = [owner.command(leg, verb) for verb in verbs]
    await world.until(lambda: all(owner.outcomes(key) for key in keys))
    await world.rest()
    assert [len(owner.outcomes(key)) for key in keys] == [1] * len(keys)


@clause
async def a_hang_up_of_a_leg_that_is_gone_is_done(world: MediaWorld) -> None:
    owner = await world.greeted()
    leg = await world.arrive(owner)
    await world.hang_up(leg)
    await world.until(lambda: owner.of(LegEnded, leg))
    settled = await world.done(owner, owner.command(leg, HangUp()))
    assert settled.outcome is Outcome.DONE


# ---------------------------------------------------------------------------------- calls


@clause
async def commands_of_a_leg_run_in_order(world: MediaWorld) -> None:
    owner = await world.greeted()
    leg = await world.arrive(owner)
    for verb in (Answer(), Collect("menu", (PROMPT,), 1, 30_000), HangUp()):
        owner.command(leg, verb)
    await world.until(lambda: owner.of(LegEnded, leg))
    story: list[MediaEvent] = [event.body for event in owner.events() if event.leg == leg]
    kinds = [type(body) for body in story if not isinstance(body, CommandSettled | DigitsCollected)]
    assert kinds == [LegArrived, LegAnswered, LegEnded]


@clause
async def digits_are_collected(world: MediaWorld) -> None:
    owner = await world.greeted()
    leg = await world.answered(owner)
    key = owner.command(leg, Collect("menu", (PROMPT,), 2, 30_000, sensitive=True))
    await world.rest()
    await world.press(leg, "42")
    await world.done(owner, key)
    assert owner.of(DigitsCollected, leg) == [
        DigitsCollected("menu", Secret(b"42", sensitive=True), Collected.COMPLETE)
    ]


@clause
async def two_legs_are_bridged_and_part(world: MediaWorld) -> None:
    owner = await world.greeted()
    await world.register("anna")
    await world.until(lambda: owner.of(DeviceRegistered))
    caller = await world.answered(owner)
    await world.done(owner, await world.ring(owner, f"{caller}.a", "anna"))
    await world.done(owner, owner.command(caller, Bridge(f"{caller}.a")))
    assert owner.of(LegBridged) == [LegBridged(f"{caller}.a")]
    await world.hang_up(caller)
    await world.until(lambda: owner.of(LegUnbridged, f"{caller}.a"))
    assert owner.of(LegEnded, f"{caller}.a") == [], "the agent's leg stays up"


@clause
async def who_was_handed_over_by_a_phone_is_up_and_waits_for_the_owner(world: MediaWorld) -> None:
    if not world.refers:
        return
    owner = await world.greeted()
    one, other, third = [await world.answered(owner) for _ in range(3)]
    await world.done(owner, owner.command(one, Bridge(other)))
    await world.refer(one, "+49301110")
    await world.until(lambda: owner.of(LegEnded, one))
    about = [event.body for event in owner.events() if event.leg == other]
    assert about[-2:] == [LegUnbridged(one), LegReferred(one, secret("+49301110"))]
    # It can be given to somebody, is told once, and is not taken away again.
    await world.done(owner, owner.command(other, Bridge(third)))
    for _ in range(15):
        await world.rest()
    await world.hang_up(third)
    await world.until(lambda: owner.of(LegUnbridged, other)[1:])
    await world.rest()
    assert len(owner.of(LegReferred)) == 1
    assert owner.of(LegEnded, other) == []


@clause
async def who_was_handed_over_while_the_agent_was_away_is_found(world: MediaWorld) -> None:
    if not (world.refers and world.calls_survive):
        return
    owner = await world.greeted()
    one, other = await world.answered(owner), await world.answered(owner)
    await world.done(owner, owner.command(one, Bridge(other)))
    await world.restart_after(lambda: world.refer(one, "+49301110"))
    later = await world.owner(2)
    await world.until(lambda: later.of(LegReferred, other) and later.of(LegEnded, one))
    for _ in range(15):
        await world.rest()
    assert later.of(LegReferred) == [LegReferred(one, secret("+49301110"))]
    assert later.of(LegEnded, other) == []


@clause
async def a_leg_ends_once(world: MediaWorld) -> None:
    owner = await world.greeted()
    leg = await world.answered(owner)
    owner.command(leg, HangUp())
    await world.hang_up(leg)
    await world.until(lambda: owner.of(LegEnded, leg))
    await world.rest()
    assert len(owner.of(LegEnded, leg)) == 1


@clause
async def legs_are_listed(world: MediaWorld) -> None:
    owner = await world.greeted()
    legs = [await world.answered(owner), await world.arrive(owner)]
    owner.put(ListLegs())
    await world.until(lambda: owner.first(Legs))
    assert owner.first(Legs) == Legs(tuple((T1, leg) for leg in legs))


@clause
async def legs_die_or_live_with_the_node(world: MediaWorld) -> None:
    owner = await world.greeted()
    leg = await world.answered(owner)
    await world.restart()
    later = await world.owner(2)
    if world.calls_survive:
        later.put(ListLegs())
        await world.until(lambda: later.first(Legs))
        assert later.first(Legs) == Legs(((T1, leg),))
        return
    await world.until(lambda: later.of(LegEnded, leg))
    assert later.of(LegEnded, leg)[0].cause is Cause.MEDIA_LOST
    assert len(later.of(LegEnded, leg)) == 1


@clause
async def a_recording_is_stored_once(world: MediaWorld) -> None:
    owner = await world.greeted()
    leg = await world.answered(owner)
    await world.done(owner, owner.command(leg, RecordStart("r1", Secret(bytes(32)))))
    await world.rest()
    await world.hang_up(leg)
    await world.until(lambda: owner.of(RecordingStored))
    await world.rest()
    assert [stored.recording for stored in owner.of(RecordingStored)] == ["r1"]


@clause
async def a_recording_is_paused_and_goes_on(world: MediaWorld) -> None:
    owner = await world.greeted()
    leg = await world.answered(owner)
    early = await world.done(owner, owner.command(leg, RecordPause("r1")))
    assert (early.outcome, early.reason) == (Outcome.FAILED, "NOT_RECORDING"), "nobody may think it safe to speak"
    await world.done(owner, owner.command(leg, RecordStart("r1", Secret(bytes(32)))))
    for verb in (RecordPause("r1"), RecordPause("r1"), RecordResume("r1"), RecordResume("r1"), RecordPause("r1")):
        assert (await world.done(owner, owner.command(leg, verb))).outcome is Outcome.DONE
    other = await world.done(owner, owner.command(leg, RecordPause("r2")))
    assert (other.outcome, other.reason) == (Outcome.FAILED, "NOT_RECORDING")
    await world.rest()
    await world.done(owner, owner.command(leg, RecordStop("r1")))
    await world.until(lambda: owner.of(RecordingStored))
    late = await world.done(owner, owner.command(leg, RecordResume("r1")))
    assert late.reason == "NOT_RECORDING"


@clause
async def a_supervisor_listens_until_told_otherwise_or_the_agent_leaves(world: MediaWorld) -> None:
    owner = await world.greeted()
    caller, agent, supervisor = [await world.answered(owner) for _ in range(3)]
    await world.done(owner, owner.command(caller, Bridge(agent)))
    if not world.supervises:
        refused = await world.done(owner, owner.command(supervisor, Supervise(agent, Supervision.MONITOR)))
        assert (refused.outcome, refused.reason) == (Outcome.FAILED, "NOT_ON_THIS_BACKEND")
        return
    owner.command(supervisor, Play((PROMPT,), loop=True))
    for mode in Supervision:
        begun = await world.done(owner, owner.command(supervisor, Supervise(agent, mode)))
        assert begun.outcome is Outcome.DONE
    assert (await world.done(owner, owner.command(supervisor, Stop()))).outcome is Outcome.DONE
    assert owner.of(LegUnbridged) == [], "by an owner's wish"
    await world.done(owner, owner.command(supervisor, Supervise(agent, Supervision.BARGE)))
    played = await world.done(owner, owner.command(supervisor, Play((PROMPT,))))
    assert played.outcome is Outcome.DONE
    await world.done(owner, owner.command(supervisor, Supervise(agent, Supervision.WHISPER)))
    await world.hang_up(agent)
    await world.until(lambda: owner.of(LegUnbridged, supervisor))
    assert owner.of(LegUnbridged, supervisor) == [LegUnbridged(agent)]
    gone = await world.done(owner, owner.command(supervisor, Supervise(agent, Supervision.MONITOR)))
    assert (gone.outcome, gone.reason) == (Outcome.FAILED, "OTHER_GONE")
    assert (await world.done(owner, owner.command(supervisor, Bridge(caller)))).outcome is Outcome.DONE


@clause
async def a_supervisor_is_told_of_an_agent_who_left_unseen(world: MediaWorld) -> None:
    if not (world.supervises and world.calls_survive):
        return
    owner = await world.greeted()
    caller, agent, supervisor = [await world.answered(owner) for _ in range(3)]
    await world.done(owner, owner.command(caller, Bridge(agent)))
    await world.done(owner, owner.command(supervisor, Supervise(agent, Supervision.MONITOR)))
    await world.restart_after(lambda: world.hang_up(agent))
    later = await world.owner(2)
    await world.until(lambda: later.of(LegEnded, agent))
    assert later.of(LegUnbridged, supervisor) == later.of(LegUnbridged, caller) == [LegUnbridged(agent)]


@clause
async def a_conference_has_a_room_in_each_tenant(world: MediaWorld) -> None:
    owner = await world.greeted()
    leg = await world.arrive(owner)
    early = await world.done(owner, owner.command(leg, Confer("x")))
    assert (early.outcome, early.reason) == (Outcome.FAILED, "NOT_ANSWERED")
    await world.done(owner, owner.command(leg, Answer()))
    if not world.mixes:
        refused = await world.done(owner, owner.command(leg, Confer("x")))
        assert (refused.outcome, refused.reason) == (Outcome.FAILED, "NOT_ON_THIS_BACKEND")
        return
    foreign, other = await world.answered(owner, T2), await world.answered(owner)
    for one, tenant in ((leg, T1), (foreign, T2), (other, T1), (leg, T1)):
        assert (await world.done(owner, owner.command(one, Confer("x"), tenant=tenant), tenant)).outcome is Outcome.DONE
    await world.hang_up(other)
    await world.until(lambda: owner.of(LegUnbridged, leg))
    await world.rest()
    assert owner.of(LegUnbridged, leg) == [LegUnbridged(other)], "alone, for who is left is another tenant's"
    assert owner.of(LegUnbridged, tenant=T2) == []


@clause
async def a_supervisor_joins_the_caller(world: MediaWorld) -> None:
    if not world.supervises:
        return
    owner = await world.greeted()
    caller, agent, supervisor = [await world.answered(owner) for _ in range(3)]
    await world.done(owner, owner.command(caller, Bridge(agent)))
    await world.done(owner, owner.command(supervisor, Supervise(agent, Supervision.WHISPER)))
    await world.restart()
    later = await world.owner(2)
    joined = await world.done(later, later.command(supervisor, Bridge(caller)))
    assert joined.outcome is Outcome.DONE
    assert later.of(LegUnbridged, agent) == [LegUnbridged(caller)]


@clause
async def who_is_in_a_conference_is_supervised_as_in_a_talk(world: MediaWorld) -> None:
    if not (world.supervises and world.mixes):
        return
    owner = await world.greeted()
    caller, agent, supervisor = [await world.answered(owner) for _ in range(3)]
    await world.done(owner, owner.command(supervisor, Supervise(agent, Supervision.MONITOR)))
    for leg in (caller, agent):
        assert (await world.done(owner, owner.command(leg, Confer("x")))).outcome is Outcome.DONE
    for mode in Supervision:
        done = await world.done(owner, owner.command(supervisor, Supervise(agent, mode)))
        assert done.outcome is Outcome.DONE
    await world.rest()
    assert owner.of(LegUnbridged) == [], "nobody has left"
    await world.hang_up(agent)
    await world.until(lambda: owner.of(LegUnbridged, supervisor) and owner.of(LegUnbridged, caller))
    assert owner.of(LegUnbridged) == [LegUnbridged(agent)] * 2


@clause
async def a_drained_node_refuses_callers_and_serves_those_it_has(world: MediaWorld) -> None:
    owner = await world.greeted()
    await world.register("anna")
    await world.until(lambda: owner.of(DeviceRegistered))
    caller = await world.answered(owner)
    await world.drain()
    await world.refused(owner)
    # The phone is rung for who is here, and not for a caller of another node.
    elsewhere = await world.done(owner, await world.ring(owner, "c9.a", "anna"))
    assert (elsewhere.outcome, elsewhere.reason) == (Outcome.FAILED, "DRAINING")
    await world.done(owner, await world.ring(owner, f"{caller}.a", "anna"))
    await world.done(owner, owner.command(caller, Bridge(f"{caller}.a")))
    for _ in range(15):
        await world.rest()
    assert owner.of(LegEnded) == [], "no drain ends a call by itself"
    assert world.rings("anna") == 1


@clause
async def a_drain_outlives_the_agent_until_it_is_undone(world: MediaWorld) -> None:
    await world.greeted()
    await world.drain()
    await world.restart()
    owner = await world.owner(2)
    await world.refused(owner)
    await world.drain(False)
    assert not world.answers_options or world.options() == 200
    await world.arrive(owner)
    await world.restart()
    later = await world.owner(3)
    assert not world.answers_options or world.options() == 200
    await world.arrive(later)


@clause
async def who_waits_in_a_drained_node_is_let_go_in_time_and_talks_go_on(world: MediaWorld) -> None:
    owner = await world.greeted()
    one, other, waits, rings = [await world.answered(owner) for _ in range(3)] + [await world.arrive(owner)]
    owner.command(waits, Play((PROMPT,), loop=True))
    await world.done(owner, owner.command(one, Bridge(other)))
    await world.drain(within_s=10)
    for _ in range(3):
        await world.rest()
    assert owner.of(LegEnded) == [], "there is time left"
    await world.until(lambda: owner.of(LegEnded, waits) and owner.of(LegEnded, rings))
    for leg in (waits, rings):
        [end] = owner.of(LegEnded, leg)
        assert (end.cause, end.by) == (Cause.MEDIA_LOST, By.NODE), "as if the node had died: the place is kept"
    for _ in range(5):
        await world.rest()
    # Who comes back to their place later waits no less.
    assert owner.of(LegEnded, one) == owner.of(LegEnded, other) == []
    await world.hang_up(other)
    await world.until(lambda: owner.of(LegEnded, one))
    assert owner.of(LegEnded, one)[0].cause is Cause.MEDIA_LOST


@clause
async def a_number_of_nobody_makes_no_leg(world: MediaWorld) -> None:
    owner = await world.greeted()
    await world.dial("+4930999")
    await world.rest()
    assert owner.legs(T1) == owner.legs(T2) == []


# ---------------------------------------------------------------------------------- numbers outside


async def _refused(world: MediaWorld, owner: Owner, verb: Originate, tenant: str = T1) -> str:
    """Why nobody was called; the leg has ended with it."""
    leg = f"c{len(owner.of(LegEnded, tenant=tenant))}.x"
    settled = await world.done(owner, owner.command(leg, verb, tenant=tenant), tenant)
    [end] = owner.of(LegEnded, leg, tenant)
    assert (settled.outcome, end.cause, end.by) == (Outcome.FAILED, Cause.REFUSED, By.NODE)
    return settled.reason


OUTSIDE = Originate("", 15_000, "o1", secret(NUMBERS[T1]), GATEWAY, secret(CALLED))


@clause
async def a_number_is_called_through_a_gateway(world: MediaWorld) -> None:
    owner = await world.greeted()
    if not world.dials:
        assert await _refused(world, owner, OUTSIDE) == "NOT_ON_THIS_BACKEND"
        return
    leg = await world.answered(owner)
    done = await world.done(owner, await world.call(owner, f"{leg}.n"))
    assert done.outcome is Outcome.DONE
    assert (await world.done(owner, owner.command(leg, Bridge(f"{leg}.n")))).outcome is Outcome.DONE
    await world.hang_up(f"{leg}.n")
    await world.until(lambda: owner.of(LegUnbridged, leg))
    about = [type(event.body) for event in owner.events() if event.leg == f"{leg}.n"]
    assert about == [LegRinging, LegAnswered, CommandSettled, LegEnded]
    assert world.calls(CALLED) == 1


@clause
async def a_number_is_heard_before_it_answers(world: MediaWorld) -> None:
    if not world.dials:
        return
    owner = await world.greeted()
    leg = await world.answered(owner)
    await world.outside(CALLED, "speaks")
    key = await world.call(owner, f"{leg}.n")
    await world.until(lambda: owner.of(LegEarlyMedia, f"{leg}.n"))
    assert (await world.done(owner, owner.command(leg, Bridge(f"{leg}.n")))).outcome is Outcome.DONE
    assert owner.of(LegAnswered, f"{leg}.n") == []
    early = await world.done(owner, owner.command(f"{leg}.n", Play((PROMPT,))))
    assert early.reason == "NOT_ANSWERED"
    assert (await world.done(owner, key)).outcome is Outcome.DONE
    told = [type(e.body) for e in owner.events() if e.leg == f"{leg}.n" and not isinstance(e.body, CommandSettled)]
    assert told == [LegRinging, LegEarlyMedia, LegAnswered]
    assert owner.of(LegBridged) == [LegBridged(f"{leg}.n")]


@clause
async def why_a_number_was_not_reached_has_a_stable_reason(world: MediaWorld) -> None:
    if not world.dials:
        return
    owner = await world.greeted()
    ends = {
        "USER_BUSY": (Cause.BUSY, "BUSY"),
        "CALL_REJECTED": (Cause.DECLINED, "DECLINED"),
        "UNALLOCATED_NUMBER": (Cause.UNREACHABLE, "UNALLOCATED"),
        "NO_USER_RESPONSE": (Cause.NO_ANSWER, "NO_ANSWER"),
        "rings": (Cause.NO_ANSWER, "NO_ANSWER"),
    }
    for does, (cause, reason) in ends.items():
        await world.outside(CALLED, does)
        settled = await world.done(owner, await world.call(owner, f"{does}.n", limit_ms=2000))
        assert (settled.outcome, settled.reason) == (Outcome.FAILED, reason), does
        await world.rest()
        assert [end.cause for end in owner.of(LegEnded, f"{does}.n")] == [cause]
    await world.carrier_is(up=False)
    settled = await world.done(owner, await world.call(owner, "down.n"))
    assert (settled.outcome, settled.reason) == (Outcome.FAILED, "GATEWAY_DOWN")
    await world.rest()
    assert len(owner.of(LegEnded, "down.n")) == 1


@clause
async def nobody_is_called_whom_the_settings_do_not_let(world: MediaWorld) -> None:
    if not world.dials:
        return
    owner = await world.greeted()
    foreign = replace(OUTSIDE, caller=secret(NUMBERS[T2]))
    assert await _refused(world, owner, foreign, T2) == "NO_SUCH_GATEWAY"
    assert await _refused(world, owner, replace(OUTSIDE, gateway="other")) == "NO_SUCH_GATEWAY"
    for text in ("112", "493055501", "+49305550,sofia/gateway/x/1", "+4930555 1", "+0305550123", ""):
        assert await _refused(world, owner, replace(OUTSIDE, number=secret(text))) == "BAD_NUMBER", text
    assert await _refused(world, owner, replace(OUTSIDE, number=Erased())) == "BAD_NUMBER"
    assert await _refused(world, owner, replace(OUTSIDE, number=None)) == "BAD_NUMBER"
    for text in ("+4990012345", "+432123456"):
        assert await _refused(world, owner, replace(OUTSIDE, number=secret(text))) == "NUMBER_NOT_ALLOWED"
    await world.outside(CALLED, "rings")
    for leg in ("one.n", "two.n"):
        await world.call(owner, leg)
        await world.until(lambda: owner.of(LegRinging, leg))  # noqa: B023 - awaited here
    assert await _refused(world, owner, OUTSIDE) == "GATEWAY_FULL"
    assert world.calls(CALLED) == 2


@clause
async def a_number_is_never_called_twice_for_one_order(world: MediaWorld) -> None:
    """E2: never again in doubt. The agent dies while it rings, and before it wrote that it does."""
    if not world.dials:
        return
    owner = await world.greeted()
    await world.outside(CALLED, "speaks")
    key = await world.call(owner, "c1.n")
    await world.until(lambda: owner.of(LegEarlyMedia, "c1.n"))
    await world.restart()
    later = await world.owner(2)
    await world.call(later, "c1.n", key=key)
    assert (await world.done(later, key)).outcome is Outcome.DONE
    assert len(later.of(LegEarlyMedia, "c1.n")) == 1
    await world.restart_before_events(lambda: _command(later, "c2.n", OUTSIDE, "doubt"))
    last = await world.owner(3)
    assert (await world.done(last, "doubt")).outcome is Outcome.DONE
    assert len(last.of(LegEarlyMedia, "c2.n")) == 1
    assert world.calls(CALLED) == 2


# ---------------------------------------------------------------------------------- several places


@clause
async def a_device_rings_in_all_its_places_and_the_first_answer_wins(world: MediaWorld) -> None:
    if not world.rings_everywhere:
        return
    owner = await world.greeted()
    for place, does in (("desk", "rings"), ("browser", "answers"), ("home", "USER_BUSY")):
        await world.register_at("anna", place, does)
    leg = await world.answered(owner)
    agent = f"{leg}.a"
    assert (await world.done(owner, await world.ring(owner, agent, "anna"))).outcome is Outcome.DONE
    await world.rest()
    assert world.rings("anna") == 3
    assert world.told_elsewhere() == ["anna@desk"]
    about = [type(event.body) for event in owner.events() if event.leg == agent]
    assert about == [LegRinging, LegAnswered, CommandSettled], "one leg, whatever rings"
    assert (await world.done(owner, owner.command(leg, Bridge(agent)))).outcome is Outcome.DONE
    await world.hang_up(agent)
    await world.until(lambda: owner.of(LegEnded, agent))
    assert len(owner.of(LegEnded, agent)) == 1
    owner.put(ListLegs())
    await world.until(lambda: owner.first(Legs))
    assert owner.first(Legs) == Legs(((T1, leg),))


@clause
async def of_several_places_the_most_telling_end_is_the_devices(world: MediaWorld) -> None:
    if not world.rings_everywhere:
        return
    owner = await world.greeted()
    for number, (one, other, cause) in enumerate(
        (
            ("USER_BUSY", "USER_BUSY", Cause.BUSY),
            ("USER_BUSY", "rings", Cause.NO_ANSWER),
            ("rings", "CALL_REJECTED", Cause.DECLINED),
            ("rings", "rings", Cause.NO_ANSWER),
        )
    ):
        await world.register_at("anna", "desk", one)
        await world.register_at("anna", "browser", other)
        leg = f"c{number}.a"
        settled = await world.done(owner, owner.command(leg, Originate("anna", 3000, "o1", secret("+4930"))))
        assert (settled.outcome, settled.reason) == (Outcome.FAILED, cause.value), (one, other)
        await world.rest()
        assert [end.cause for end in owner.of(LegEnded, leg)] == [cause]
        assert len(owner.of(LegRinging, leg)) == 1


@clause
async def a_device_is_there_until_its_last_place_is_gone(world: MediaWorld) -> None:
    if not world.rings_everywhere:
        return
    owner = await world.greeted()
    await world.register_at("anna", "desk", "rings")
    await world.register_at("anna", "browser", "answers")
    await world.unregister_at("anna", "desk")
    await world.rest()
    assert owner.of(DeviceUnregistered) == []
    assert (await world.done(owner, await world.ring(owner, "c1.a", "anna"))).outcome is Outcome.DONE
    assert world.rings("anna") == 1
    await world.unregister_at("anna", "browser")
    await world.until(lambda: owner.of(DeviceUnregistered))
    assert len(owner.of(DeviceRegistered)) == len(owner.of(DeviceUnregistered)) == 1
    assert (await world.done(owner, await world.ring(owner, "c2.a", "anna"))).reason == "UNREACHABLE"


@clause
async def a_device_in_several_places_is_rung_once_whoever_dies(world: MediaWorld) -> None:
    if not world.rings_everywhere:
        return
    owner = await world.greeted()
    await world.register_at("anna", "desk", "rings")
    await world.register_at("anna", "browser", "answers")
    key = await world.ring(owner, "c1.a", "anna")
    await world.until(lambda: owner.of(LegRinging, "c1.a"))
    await world.restart_after(world.rest)
    later = await world.owner(2)
    await world.ring(later, "c1.a", "anna", key)
    assert (await world.done(later, key)).outcome is Outcome.DONE, "the browser answered while the agent was away"
    assert world.rings("anna") == 2
    assert world.told_elsewhere() == ["anna@desk"]
    await world.restart_before_events(lambda: _command(later, "c2.a", RING_ANNA, "doubt"))
    last = await world.owner(3)
    assert (await world.done(last, "doubt")).outcome is Outcome.DONE
    assert world.rings("anna") == 4
    await world.hang_up("c2.a")
    await world.until(lambda: last.of(LegEnded, "c2.a"))
    assert len(last.of(LegAnswered, "c2.a")) == len(last.of(LegEnded, "c2.a")) == 1


RING_ANNA = Originate("anna", 15_000, "o1", secret("+4930"))
