"""A media node without sound: phones that follow a script on virtual time, behind the real agent.

`ScriptedMedia` is a `media.backend.Backend`. It holds the calls, so what becomes of them is
decided by which object survives: drop it with the agent and it is the built-in node's death; keep
it and give it to the new agent by `reattach`, and it is FreeSWITCH, whose calls live on.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from tandem.core.ports.media import (
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
    HandOut,
    HangUp,
    LegAnswered,
    LegArrived,
    LegBridged,
    LegEnded,
    LegHeld,
    LegReferred,
    LegResumed,
    LegRinging,
    LegUnbridged,
    LetGo,
    MediaEvent,
    Originate,
    Outcome,
    Play,
    RecordingFailed,
    RecordingStored,
    RecordPause,
    RecordResume,
    RecordStart,
    RecordStop,
    Stop,
    Supervise,
    TakeOver,
)
from tandem.core.seal import Secret, secret
from tandem.media.agent_io import DRAINING
from tandem.media.backend import LiveLeg, MergedDirectory, Row, RowKind, Sink


class Does(StrEnum):
    """What a phone does when it is rung."""

    ANSWER = "ANSWER"
    DECLINE = "DECLINE"
    BUSY = "BUSY"
    RING_ON = "RING_ON"  # until the ring limit
    VANISH = "VANISH"  # says nothing, not even that it rings


@dataclass(frozen=True, slots=True)
class Phone:
    """A device's script: what it does, and how long after it was rung."""

    does: Does = Does.ANSWER
    after_ms: int = 1_000


FALLBACK_MS = 20_000
"""How long a caller rings while the shard has no owner."""


class Party(Protocol):
    """The people at the phones. They live on when the node dies, and remember."""

    def rung(self, device: str, leg: str, offer: str, limit_ms: int) -> Phone:
        """An INVITE has come; what will the phone do?"""
        ...

    def answered(self, leg: str) -> None:
        """The call is up."""
        ...

    def joined(self, leg: str, other: str) -> None:
        """The two hear each other."""
        ...

    def ended(self, leg: str, cause: Cause, by: By) -> None:
        """A BYE, a CANCEL or a final refusal; also the phone's own."""
        ...


@dataclass(slots=True)
class _Leg:
    tenant: str
    shard: int
    up: bool = False
    inbound: bool = False
    waits: int = 0
    rung_ms: int = 0
    originate: str = ""
    peer: str = ""
    playing: str = ""
    collect: tuple[str, Collect] | None = None
    digits: str = ""
    recordings: dict[str, bool] = field(default_factory=dict)  # whether it is paused


class ScriptedMedia:
    """The calls of one node. `sink` is its agent; nothing happens but in calls of its methods."""

    PROMPT_MS = 1_000
    """Length of every prompt."""

    def __init__(self, sink: Sink, now_ms: int = 0, *, capacity: int = 50, party: Party | None = None) -> None:
        self.now_ms = now_ms
        self.phones: dict[str, Phone] = {}
        self.spool_full = False
        self.draining = False
        self._party = party
        self.owners: dict[int, bool] = {}
        self.performed: list[Command] = []
        self._sink: Sink | None = sink
        self._lived_on = False
        self._capacity = capacity
        self._missed: list[Callable[[], None]] = []
        self._directory: MergedDirectory | None = None
        self._registered: dict[str, str] = {}
        self._legs: dict[str, _Leg] = {}
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    # ----------------------------------------------------------------------- time

    def due_ms(self) -> int | None:
        """When something happens next by itself."""
        return self._timers[0][0] if self._timers else None

    def advance(self, now_ms: int) -> None:
        """Let everything happen that is due until then."""
        while self._timers and self._timers[0][0] <= now_ms:
            self.now_ms, _, action = heapq.heappop(self._timers)
            action()
        self.now_ms = max(self.now_ms, now_ms)

    # ----------------------------------------------------------------------- what people do

    def call(self, number: str, leg: str, caller: str = "+49301234567") -> bool:
        """Somebody dials; False for a number that nobody has, or a node that is full or drained."""
        entry = None if self._directory is None else self._directory.numbers.get(number)
        if entry is None:
            return False
        if self.draining or len(self._legs) >= self._capacity:
            self._emit(entry.tenant, "", CallRefused(number, DRAINING if self.draining else "CAPACITY"))
            return False
        call = _Leg(entry.tenant, entry.shard, inbound=True)
        self._begin(leg, call, LegArrived(number, secret(caller)))
        if self.owners.get(entry.shard) is False:
            self._await_owner(leg, call)
        return True

    def press(self, leg: str, digits: str) -> None:
        """Digits on a phone; without a `Collect` they go nowhere."""
        for digit in digits:
            call = self._legs.get(leg)
            if call is None or call.collect is None:
                return
            _, verb = call.collect
            ends = digit in verb.terminators
            call.digits += "" if ends else digit
            if ends or len(call.digits) == verb.max_digits:
                self._collected(leg, Collected.COMPLETE)

    def collects(self, leg: str) -> bool:
        """Whether a menu waits for a digit on the leg."""
        call = self._legs.get(leg)
        return call is not None and call.collect is not None

    def hang_up(self, leg: str) -> None:
        """The phone at the other end hangs up."""
        call = self._legs.get(leg)
        if call is not None:
            self._end(leg, Cause.NORMAL if call.up else Cause.CANCELED, By.FAR)

    def refer(self, leg: str, target: str) -> None:
        """The phone hands the other party of its talk over, and hangs up."""
        call = self._legs.get(leg)
        peer = None if call is None else self._legs.get(call.peer)
        if call is not None and peer is not None:
            other = call.peer
            self._part(leg)
            self._emit(peer.tenant, other, LegReferred(leg, secret(target)))
            self._end(leg, Cause.NORMAL, By.FAR)

    def lose(self, leg: str) -> None:
        """The phone's network is gone: the node gives the leg up for want of RTP."""
        call = self._legs.get(leg)
        if call is not None and call.up:
            self._end(leg, Cause.NO_MEDIA, By.NODE)

    def hold(self, leg: str, *, held: bool) -> None:
        """The phone holds or resumes."""
        call = self._legs.get(leg)
        if call is not None and call.up:
            self._emit(call.tenant, leg, LegHeld() if held else LegResumed())

    def register(self, device: str, *, registered: bool = True) -> None:
        """A phone registers, or its registration ends. Told once."""
        entry = None if self._directory is None else self._directory.devices.get(device)
        if entry is None or (device in self._registered) == registered:
            return
        if registered:
            self._registered[device] = entry.tenant
            self._remember(RowKind.REGISTRATION, device, {"tenant": entry.tenant})
            self._emit(entry.tenant, "", DeviceRegistered(device))
        else:
            self._unregister(device)

    # ----------------------------------------------------------------------- the agent's death

    def detach(self) -> None:
        """The agent died and the calls live on; what happens now waits for the next one."""
        self._sink = None
        self._lived_on = True

    def reattach(self, sink: Sink) -> None:
        """A new agent: its `restore` follows."""
        self._sink = sink

    # ----------------------------------------------------------------------- Backend

    def directory(self, directory: MergedDirectory) -> None:
        """See `media.backend.Backend`."""
        self._directory = directory
        for device in [device for device in self._registered if device not in directory.devices]:
            self._unregister(device)

    def restore(self, rows: Iterable[Row], died_ms: int) -> None:
        """See `media.backend.Backend`. What happened while it was detached is told now."""
        if not self._lived_on:
            self._take_up(rows, died_ms)
        else:
            self._note_anew({(row.kind, row.id) for row in rows})
        self._lived_on = False
        missed, self._missed = self._missed, []
        for tell in missed:
            tell()

    def _note_anew(self, known: Collection[tuple[RowKind, str]]) -> None:
        """The journal was lost, the calls were not."""
        for leg, call in self._legs.items():
            if (RowKind.LEG, leg) not in known:
                self._remember(RowKind.LEG, leg, {"tenant": call.tenant})
                call.recordings.clear()
        for device, tenant in self._registered.items():
            if (RowKind.REGISTRATION, device) not in known:
                self._remember(RowKind.REGISTRATION, device, {"tenant": tenant})
                self._emit(tenant, "", DeviceRegistered(device))

    def _take_up(self, rows: Iterable[Row], died_ms: int) -> None:
        """An earlier life of the node left these: its legs are lost."""
        assert self._sink is not None, "it was made with one"
        for row in sorted(rows, key=lambda row: row.kind is not RowKind.LEG):
            tenant = str(row.value["tenant"])
            match row.kind:
                case RowKind.LEG:
                    if self._party is not None:
                        self._party.ended(row.id, Cause.MEDIA_LOST, By.NODE)
                    self._sink.emit(tenant, row.id, LegEnded(Cause.MEDIA_LOST, By.NODE), died_ms)
                    self._remember(RowKind.LEG, row.id, None)
                case RowKind.REGISTRATION:
                    self._registered[row.id] = tenant
                case RowKind.RECORDING:
                    self._stored(tenant, str(row.value["leg"]), row.id, truncated=True)

    def perform(self, command: Command) -> None:
        """See `media.backend.Backend`."""
        self.performed.append(command)
        verb = command.verb
        call = self._legs.get(command.leg)
        if isinstance(verb, Originate):
            self._originate(command, verb)
        elif isinstance(verb, HangUp):
            if call is not None:
                self._end(command.leg, verb.cause, By.TANDEM)
            self._settle(command.tenant, command.leg, command.key)
        elif isinstance(verb, HandOut | TakeOver | LetGo):
            self._settle(command.tenant, command.leg, command.key, "NOT_ON_THIS_BACKEND")
        elif call is None:
            reason = "" if isinstance(verb, RecordStop) else "LEG_GONE"
            self._settle(command.tenant, command.leg, command.key, reason)
        elif not call.up and not isinstance(verb, Answer | Stop):
            self._settle(command.tenant, command.leg, command.key, "NOT_ANSWERED")
        else:
            self._perform_on(call, command)

    def settle(self, command: Command) -> None:
        """See `media.backend.Backend`; pitfalls E2."""
        call = self._legs.get(command.leg)
        match command.verb:
            case Originate() if call is None:
                self._emit(command.tenant, command.leg, CommandSettled(command.key, Outcome.UNKNOWN, "NODE_RESTARTED"))
            case Originate() if call is not None and call.up:
                self._settle(command.tenant, command.leg, command.key)
            case Originate():
                pass  # It rings, and settles when that ends.
            case Bridge(other) if call is not None and call.peer == other:
                self._settle(command.tenant, command.leg, command.key)
            case Play() | Collect() if call is not None and command.key in (call.playing, (call.collect or ("",))[0]):
                pass  # It goes on, and settles when it ends.
            case _:
                self.perform(command)

    def owner_present(self, shard: int, present: bool) -> None:
        """See `media.backend.Backend`."""
        self.owners[shard] = present
        for leg, call in self._legs.items():
            if call.shard == shard and call.inbound and not call.up:
                call.waits += 1
                if not present:
                    self._await_owner(leg, call)

    def journal_away(self, away: bool) -> None:
        """See `media.backend.Backend`. A simulated disk is never full."""

    def _await_owner(self, leg: str, call: _Leg) -> None:
        turn = call.waits
        self._after(FALLBACK_MS, lambda: self._fall_back(leg, turn))

    def _fall_back(self, leg: str, turn: int) -> None:
        call = self._legs.get(leg)
        if call is not None and call.waits == turn and not call.up:
            self._end(leg, Cause.FALLBACK, By.NODE)

    def legs(self) -> tuple[LiveLeg, ...]:
        """See `media.backend.Backend`."""
        return tuple(
            LiveLeg(call.tenant, call.shard, leg, call.inbound and not call.peer, call.inbound and bool(call.peer))
            for leg, call in self._legs.items()
        )

    def drain(self, on: bool) -> None:
        """See `media.backend.Backend`."""
        self.draining = on

    def strangers(self) -> int:
        """See `media.backend.Backend`."""
        return 0

    def let_go(self, legs: Iterable[LiveLeg]) -> None:
        """See `media.backend.Backend`."""
        for live in legs:
            if live.leg in self._legs:
                self._end(live.leg, Cause.MEDIA_LOST, By.NODE)

    # ----------------------------------------------------------------------- verbs

    def _perform_on(self, call: _Leg, command: Command) -> None:
        leg, key = command.leg, command.key
        match command.verb:
            case Answer():
                if not call.up:
                    call.up = True
                    self._tell_party(lambda party: party.answered(leg))
                    self._emit(call.tenant, leg, LegAnswered())
                self._settle(call.tenant, leg, key)
            case Play(prompts, loop):
                self._silence(leg)
                self._part(leg)
                if loop or not prompts:
                    self._settle(call.tenant, leg, key)
                else:
                    call.playing = key
                    self._after(self.PROMPT_MS * len(prompts), lambda: self._played(leg, key))
            case Collect() as verb:
                self._silence(leg)
                self._part(leg)
                call.collect, call.digits = (key, verb), ""
                limit_ms = self.PROMPT_MS * len(verb.prompts) + verb.timeout_ms
                self._after(limit_ms, lambda: self._collect_over(leg, key))
            case Stop():
                self._silence(leg)
                self._settle(call.tenant, leg, key)
            case Bridge(other):
                self._bridge(call, command, other)
            case RecordStart(recording):
                call.recordings.setdefault(recording, False)
                self._remember(RowKind.RECORDING, recording, {"tenant": call.tenant, "leg": leg})
                self._settle(call.tenant, leg, key)
            case RecordStop(recording):
                self._stop_recording(call, leg, recording)
                self._settle(call.tenant, leg, key)
            case RecordPause(recording) | RecordResume(recording):
                self._settle(call.tenant, leg, key, self._turn(call, recording, isinstance(command.verb, RecordPause)))
            case Supervise() | Confer():
                self._settle(call.tenant, leg, key, "NOT_ON_THIS_BACKEND")

    def _originate(self, command: Command, verb: Originate) -> None:
        tenant, leg = command.tenant, command.leg
        entry = None if self._directory is None else self._directory.devices.get(verb.device)
        shard = 0 if entry is None else entry.shard
        call = _Leg(tenant, shard, rung_ms=self.now_ms, originate=command.key)
        if leg in self._legs:
            self._settle(tenant, leg, command.key, "LEG_EXISTS")
        elif verb.gateway:
            self._emit(tenant, leg, LegEnded(Cause.REFUSED, By.NODE, 0, "no gateways here"))
            self._settle(tenant, leg, command.key, "NOT_ON_THIS_BACKEND")
        elif verb.device not in self._registered:
            self._legs[leg] = call
            self._end(leg, Cause.UNREACHABLE, By.NODE)
        else:
            phone = self._rung(leg, verb)
            self._begin(leg, call, None if phone.does is Does.VANISH else LegRinging())
            silent = Cause.UNREACHABLE if phone.does is Does.VANISH else Cause.NO_ANSWER
            self._after(verb.ring_timeout_ms, lambda: self._rang_out(leg, command.key, silent))
            self._after(phone.after_ms, lambda: self._follow(leg, command.key, phone))

    def _rung(self, leg: str, verb: Originate) -> Phone:
        if self._party is None:
            return self.phones.get(verb.device, Phone())
        return self._party.rung(verb.device, leg, verb.offer, verb.ring_timeout_ms)

    def _tell_party(self, tell: Callable[[Party], None]) -> None:
        if self._party is not None:
            tell(self._party)

    def _follow(self, leg: str, key: str, phone: Phone) -> None:
        call = self._legs.get(leg)
        if call is None or call.originate != key:
            return
        match phone.does:
            case Does.ANSWER:
                call.up, call.originate = True, ""
                self._tell_party(lambda party: party.answered(leg))
                self._emit(call.tenant, leg, LegAnswered())
                self._settle(call.tenant, leg, key)
            case Does.DECLINE:
                self._end(leg, Cause.DECLINED, By.FAR)
            case Does.BUSY:
                self._end(leg, Cause.BUSY, By.FAR)

    def _rang_out(self, leg: str, key: str, cause: Cause) -> None:
        call = self._legs.get(leg)
        if call is not None and call.originate == key:
            self._end(leg, cause, By.NODE)

    def _bridge(self, call: _Leg, command: Command, other: str) -> None:
        peer = self._legs.get(other)
        if peer is None or not peer.up or peer.tenant != call.tenant:
            self._settle(call.tenant, command.leg, command.key, "NOT_ANSWERED" if peer else "LEG_GONE")
            return
        for one in (command.leg, other):
            self._silence(one)
            self._part(one)
        call.peer, peer.peer = other, command.leg
        self._tell_party(lambda party: party.joined(command.leg, other))
        self._emit(call.tenant, command.leg, LegBridged(other))
        self._settle(call.tenant, command.leg, command.key)

    # ----------------------------------------------------------------------- ends of things

    def _played(self, leg: str, key: str) -> None:
        call = self._legs.get(leg)
        if call is not None and call.playing == key:
            self._silence(leg)

    def _collect_over(self, leg: str, key: str) -> None:
        call = self._legs.get(leg)
        if call is not None and call.collect is not None and call.collect[0] == key:
            self._collected(leg, Collected.TIMEOUT)

    def _collected(self, leg: str, why: Collected) -> None:
        call = self._legs[leg]
        assert call.collect is not None, "only called while it collects"
        (key, verb), call.collect = call.collect, None
        digits = Secret(call.digits.encode(), sensitive=verb.sensitive)
        self._emit(call.tenant, leg, DigitsCollected(verb.step, digits, why))
        self._settle(call.tenant, leg, key)

    def _silence(self, leg: str) -> None:
        """What plays or collects makes room for something else, and settles done."""
        call = self._legs[leg]
        key, call.playing = call.playing, ""
        if key:
            self._settle(call.tenant, leg, key)
        if call.collect is not None:
            self._collected(leg, Collected.REPLACED)

    def _part(self, leg: str) -> None:
        call = self._legs.get(leg)
        peer = None if call is None else self._legs.get(call.peer)
        if call is not None and peer is not None:
            other, call.peer, peer.peer = call.peer, "", ""
            self._emit(peer.tenant, other, LegUnbridged(leg))

    def _end(self, leg: str, cause: Cause, by: By) -> None:
        call = self._legs[leg]
        rang_ms = self.now_ms - call.rung_ms if call.originate else 0
        self._tell_party(lambda party: party.ended(leg, cause, by))
        self._emit(call.tenant, leg, LegEnded(cause, by, rang_ms))
        self._part(leg)
        del self._legs[leg]
        for recording in list(call.recordings):
            self._stop_recording(call, leg, recording)
        for key, reason in ((call.originate, cause.value), (call.playing, "LEG_GONE")):
            if key:
                self._settle(call.tenant, leg, key, reason)
        if call.collect is not None:
            self._settle(call.tenant, leg, call.collect[0], "LEG_GONE")
        self._remember(RowKind.LEG, leg, None)

    @staticmethod
    def _turn(call: _Leg, recording: str, paused: bool) -> str:
        """Why not, or nothing."""
        if recording not in call.recordings:
            return "NOT_RECORDING"
        call.recordings[recording] = paused
        return ""

    def is_paused(self, leg: str, recording: str) -> bool | None:
        """Whether a recording has silence now, None if the leg does not make it."""
        call = self._legs.get(leg)
        return None if call is None else call.recordings.get(recording)

    def _stop_recording(self, call: _Leg, leg: str, recording: str) -> None:
        if recording in call.recordings:
            del call.recordings[recording]
            self._stored(call.tenant, leg, recording, truncated=False)

    def _stored(self, tenant: str, leg: str, recording: str, *, truncated: bool) -> None:
        if self.spool_full:
            self._emit(tenant, leg, RecordingFailed(recording, "NO_ROOM"))
        else:
            blob = f"recordings/{tenant}/{recording}"
            self._emit(tenant, leg, RecordingStored(recording, blob, 8_000, 16_000, "0" * 64, truncated))
        self._remember(RowKind.RECORDING, recording, None)

    def _unregister(self, device: str) -> None:
        self._emit(self._registered.pop(device), "", DeviceUnregistered(device))
        self._remember(RowKind.REGISTRATION, device, None)

    # ----------------------------------------------------------------------- telling

    def _begin(self, leg: str, call: _Leg, first: MediaEvent | None) -> None:
        self._legs[leg] = call
        self._remember(RowKind.LEG, leg, {"tenant": call.tenant})
        if first is not None:
            self._emit(call.tenant, leg, first)

    def _settle(self, tenant: str, leg: str, key: str, reason: str = "") -> None:
        outcome = Outcome.FAILED if reason else Outcome.DONE
        self._emit(tenant, leg, CommandSettled(key, outcome, reason))

    def _emit(self, tenant: str, leg: str, body: MediaEvent) -> None:
        if self._sink is None:
            self._missed.append(lambda: self._emit(tenant, leg, body))
        else:
            self._sink.emit(tenant, leg, body, self.now_ms)

    def _remember(self, kind: RowKind, id_: str, value: Mapping[str, Any] | None) -> None:
        if self._sink is None:
            self._missed.append(lambda: self._remember(kind, id_, value))
        else:
            self._sink.remember(kind, id_, value)

    def _after(self, delay_ms: int, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._timers, (self.now_ms + delay_ms, self._count, action))
