"""The contract's world over the built-in node: real agent, journal, SIP and RTP, on virtual time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tandem.core.ports.media import MediaEvent
from tandem.media.agent import MediaAgent
from tandem.media.agent_io import AgentSettings
from tandem.media.backend import RowKind
from tandem.media.journal.file import MemoryStore
from tandem.wire.sip.events import CallArrived
from tandem.wire.wav import Audio
from tests.contract.agent_world import STEP_MS, AgentWorld, NodeBackend
from tests.contract.media_contract import PASSWORD, PROMPT
from tests.unit.media.builtin.bench import PROMPTS, Bench, Handset, clip

ANSWERS_AFTER_S = 1.0


class AgentBench(NodeBackend, Bench):
    """A bench whose sink is an agent, and which is the agent's backend."""

    agent: MediaAgent
    prompts: Mapping[str, Audio] = {**PROMPTS, PROMPT: clip(0.4, 0x50)}

    def begin(self, owner: bool) -> None:
        """The agent begins it."""

    def emit(self, tenant: str, leg: str, body: MediaEvent, media_time_ms: int) -> None:
        self.agent.emit(tenant, leg, body, media_time_ms)

    def remember(self, kind: RowKind, id: str, value: Mapping[str, Any] | None) -> None:
        self.agent.remember(kind, id, value)

    def _at(self) -> float:
        return self.now


class BuiltinWorld(AgentWorld):
    calls_survive = False
    refers = False
    answers_options = True

    def __init__(self) -> None:
        self._bench = AgentBench(rtp_timeout_s=3600.0)
        super().__init__(MemoryStore(), MediaAgent, AgentSettings("m1", "boot-1"))
        self._callers: dict[str, Handset] = {}
        self._devices: dict[str, tuple[Handset, bool]] = {}
        self._start()

    def _start(self) -> None:
        self._begin(self._backend)
        self._deliver()

    def _backend(self, agent: MediaAgent) -> AgentBench:
        self._bench.agent = agent
        self._bench.node = self._bench.new_node()
        return self._bench

    @property
    def now_ms(self) -> int:
        return int(self._bench.now * 1000)

    def _run(self) -> None:
        """Hand in what owners sent, carry it out, and deliver."""
        self._hand_in()
        self._bench.work_spool()
        self._answer()
        self._deliver()

    def _answer(self) -> None:
        """Who answers does so after a second."""
        for phone, answers in self._devices.values():
            if answers and phone.told(CallArrived) and phone.audio is None and phone.rang_s() >= ANSWERS_AFTER_S:
                phone.answer()

    def _deliver(self) -> None:
        super()._deliver()
        self._bench.settle_wire()

    def _step(self) -> None:
        self._bench.advance(STEP_MS / 1000)
        self._run()

    # ------------------------------------------------------------------ MediaWorld

    async def dial(self, number: str) -> None:
        before = [live.leg for live in self._bench.legs()]
        caller = self._bench.phone("+4917055")
        caller.dial(number)
        for live in self._bench.legs():
            if live.leg not in before:
                self._callers[live.leg] = caller
        self._deliver()

    def options(self) -> int:
        return int(self._bench.options())

    async def press(self, leg: str, digits: str) -> None:
        for digit in digits:
            self._callers[leg].press(digit)
            self._step()

    async def hang_up(self, leg: str) -> None:
        phone = self._callers[leg] if leg in self._callers else self._devices[leg.rpartition(".")[2]][0]
        phone.hang_up()
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
        self._die()
        self._start()
