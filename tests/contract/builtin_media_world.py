"""The contract's world over the built-in node: real agent, journal, SIP and RTP, on virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Any

from tandem.core.points import Points
from tandem.core.ports.media import Command, Hello, MediaEvent, ToNode
from tandem.media.agent import MediaAgent
from tandem.media.agent_io import AgentSettings
from tandem.media.backend import LiveLeg, MergedDirectory, Row, RowKind
from tandem.media.journal.file import MemoryStore, open_journal
from tandem.media.turn import Turns
from tandem.wire.sip.events import CallArrived
from tandem.wire.wav import Audio
from tests.contract.media_contract import PASSWORD, PROMPT, MediaWorld, Owner
from tests.unit.media.builtin.bench import PROMPTS, Bench, Handset, clip

NODE_KEY = bytes(range(32))
STEP_S = 0.1
PATIENCE_S = 60
ANSWERS_AFTER_S = 1.0


class AgentBench(Bench):
    """A bench whose sink is an agent, and which is the agent's backend."""

    agent: MediaAgent
    prompts: Mapping[str, Audio] = {**PROMPTS, PROMPT: clip(0.4, 0x50)}

    def begin(self, owner: bool) -> None:
        """The agent begins it."""

    def emit(self, tenant: str, leg: str, body: MediaEvent, media_time_ms: int) -> None:
        self.agent.emit(tenant, leg, body, media_time_ms)

    def remember(self, kind: RowKind, id: str, value: Mapping[str, Any] | None) -> None:
        self.agent.remember(kind, id, value)

    def directory(self, directory: MergedDirectory) -> None:
        self.node.directory(directory, self.now)

    def restore(self, rows: Iterable[Row], died_ms: int) -> None:
        self.node.restore(rows, died_ms, self.now)

    def perform(self, command: Command) -> None:
        self.node.perform(command, self.now)

    def settle(self, command: Command) -> None:
        self.node.settle(command, self.now)

    def owner_present(self, shard: int, present: bool) -> None:
        self.node.owner_present(shard, present, self.now)

    def journal_away(self, away: bool) -> None:
        self.node.journal_away(away, self.now)

    def legs(self) -> tuple[LiveLeg, ...]:
        return self.node.legs()


class BuiltinWorld(MediaWorld):
    calls_survive = False
    refers = False

    def __init__(self) -> None:
        self._bench = AgentBench(rtp_timeout_s=3600.0)
        self._store = MemoryStore()
        self._salt = count()
        self._owners: dict[str, Owner] = {}
        self._inbox: list[tuple[str, ToNode]] = []
        self._callers: dict[str, Handset] = {}
        self._devices: dict[str, tuple[Handset, bool]] = {}
        self._start()

    def _start(self) -> None:
        journal, state, _ = open_journal(
            self._store, NODE_KEY, lambda size: next(self._salt).to_bytes(size, "big"), f"i{next(self._salt)}"
        )
        self._agent = self._bench.agent = MediaAgent(AgentSettings("m1", "boot-1"), state)
        self._bench.node = self._bench.new_node()
        self._turns = Turns(self._agent, state, journal, self._bench, Points())
        self._agent.start(self._now_ms)
        self._deliver()

    @property
    def _now_ms(self) -> int:
        return int(self._bench.now * 1000)

    def _run(self) -> None:
        """Hand in what owners sent, carry it out, and deliver."""
        inbox, self._inbox = self._inbox, []
        for link, frame in inbox:
            if self._owners[link].closed is None:
                self._agent.receive(link, frame, self._now_ms)
        self._deliver()
        self._bench.work_spool()
        self._answer()
        self._deliver()

    def _answer(self) -> None:
        """Who answers does so after a second."""
        for phone, answers in self._devices.values():
            if answers and phone.told(CallArrived) and phone.audio is None and phone.rang_s() >= ANSWERS_AFTER_S:
                phone.answer()

    def _deliver(self) -> None:
        out = self._turns.run(self._now_ms)
        assert out.faults == []
        self._bench.settle_wire()
        for link, frame in out.sends:
            self._owners[link].frames.append(frame)
        for link, reason in out.closes:
            self._owners[link].closed = self._owners[link].closed or reason

    def _step(self) -> None:
        self._bench.advance(STEP_S)
        self._run()

    # ------------------------------------------------------------------ MediaWorld

    async def connect(self, hello: Hello) -> Owner:
        link = f"link{len(self._owners)}"
        self._owners[link] = Owner(link, lambda frame: self._inbox.append((link, frame)))
        self._inbox.append((link, hello))
        self._run()
        return self._owners[link]

    async def until(self, done: Callable[[], object]) -> None:
        limit = self._bench.now + PATIENCE_S
        while not done():
            assert self._bench.now < limit, "it did not come in a minute of media time"
            self._step()

    async def rest(self) -> None:
        for _ in range(20):
            self._step()

    async def dial(self, number: str) -> None:
        before = [live.leg for live in self._bench.legs()]
        caller = self._bench.phone("+4917055")
        caller.dial(number)
        for live in self._bench.legs():
            if live.leg not in before:
                self._callers[live.leg] = caller
        self._deliver()

    async def press(self, leg: str, digits: str) -> None:
        for digit in digits:
            self._callers[leg].press(digit)
            self._step()

    async def hang_up(self, leg: str) -> None:
        self._callers[leg].hang_up()
        self._run()

    async def register(self, device: str, *, answers: bool = True) -> None:
        phone = self._bench.phone(device)
        self._devices[device] = (phone, answers)
        phone.register(PASSWORD)
        self._run()

    def rings(self, device: str) -> int:
        return sum(isinstance(event, CallArrived) for event in self._devices[device][0].events)

    async def restart(self) -> None:
        self._run()
        for owner in self._owners.values():
            owner.closed = owner.closed or "the agent died"
        self._inbox.clear()
        self._start()
