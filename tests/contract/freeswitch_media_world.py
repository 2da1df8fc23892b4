"""The contract's world over the FreeSWITCH backend: real agent, journal and backend, and a scripted switch."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable

from tandem.core.ports.media import RecordingStored
from tandem.media.agent import MediaAgent
from tandem.media.agent_io import AgentSettings
from tandem.media.freeswitch.config import FreeswitchConfig
from tandem.media.freeswitch.devices import LEG
from tandem.media.freeswitch.ids import channel_of_caller
from tandem.media.freeswitch.node import Node
from tandem.media.freeswitch.records import event_of
from tandem.media.journal.file import MemoryStore
from tandem.wire import esl
from tests.contract.agent_world import STEP_MS, AgentWorld, NodeBackend
from tests.contract.media_contract import PROMPT
from tests.support.scripted_switch import ScriptedSwitch

PROMPTS = {PROMPT: "/prompts/welcome.wav", "music": "/prompts/music.wav"}


class SwitchBackend(NodeBackend):
    """The node as a backend, and the edge between it and the switch: what the asyncio one does, on virtual time."""

    def __init__(self, switch: ScriptedSwitch, agent: MediaAgent) -> None:
        self._switch = switch
        self._reader, self._frames = esl.EslReader(), deque[esl.Frame]()
        self.node = Node(FreeswitchConfig(), agent, PROMPTS, switch.password)

    def _at(self) -> float:
        return self._switch.now

    def connect(self) -> None:
        self._reader = esl.EslReader()
        self._frames.clear()
        self._switch.connect()

    def lost(self) -> None:
        self._switch.cut()
        self.node.lost(self._at())

    def work(self) -> bool:
        """Read one frame, fire what is due, and carry out what the node gives; whether something came of it."""
        self._frames += self._reader.receive_data(self._switch.take())
        frame = self._frames.popleft() if self._frames else None
        if frame is not None:
            self.node.frame(frame, self._at())
        while (due := self.node.next_wakeup()) is not None and due <= self._at():
            self.node.wake(self._at())
        out = self.node.take()
        assert out.close == ""
        for data in out.data:
            self._switch.receive(data)
        for channel in out.records:
            variables = self._switch.records.get(channel)
            record = event_of(json.dumps({"variables": variables}).encode()) if variables is not None else None
            self.node.record(channel, record, self._at())
        for seal in out.seals:
            stored = RecordingStored(seal.name.rpartition("/")[2], seal.name, 8000, 1, "", seal.truncated)
            self.node.recording_stored(seal.name, stored, self._at())
        return bool(frame is not None or out.data or out.records or out.seals)


class FreeswitchWorld(AgentWorld):
    calls_survive = True
    supervises = mixes = finds_again = True

    def __init__(self, turns: int = 0, *, cut: bool = False, moved_first: bool = False) -> None:
        super().__init__(MemoryStore(), MediaAgent, AgentSettings("m1", "boot-1"))
        self.turns = turns
        """So many turns of the agent it lives on in `restart_before_events`: some orders take the switch several."""
        self._cut = cut
        """Then it lives on, and only its connection to the switch is gone."""
        self.switch = ScriptedSwitch()
        self.switch.moved_first = moved_first
        self.switch.tick(100.0)
        self._start()

    def _start(self) -> None:
        self._begin(self._new_backend)
        self._deliver()
        self._backend.connect()
        self._run()

    def _new_backend(self, agent: MediaAgent) -> SwitchBackend:
        self._backend = SwitchBackend(self.switch, agent)
        return self._backend

    @property
    def now_ms(self) -> int:
        return int(self.switch.now * 1000)

    def _run(self) -> None:
        """Hand in what owners sent, carry it out, and deliver, until nothing is left to do."""
        self._hand_in()
        while self._backend.work():
            self._deliver()
        self._deliver()

    def _step(self) -> None:
        self.switch.tick(self.switch.now + STEP_MS / 1000)
        self._run()

    # ------------------------------------------------------------------ MediaWorld

    async def dial(self, number: str) -> None:
        self.switch.dial(number)
        self._run()

    async def press(self, leg: str, digits: str) -> None:
        for digit in digits:
            self.switch.press(channel_of_caller(leg) or "", digit)
            self._step()

    async def hang_up(self, leg: str) -> None:
        channel = channel_of_caller(leg) or self._device_channel(leg)
        if channel in self.switch.channels:
            self.switch.hang_up(channel)
        self._run()

    def _device_channel(self, leg: str) -> str:
        found = [channel.uuid for channel in self.switch.channels.values() if channel.variables.get(LEG) == leg]
        return found[0] if found else ""

    async def refer(self, leg: str, target: str) -> None:
        self.switch.refer(channel_of_caller(leg) or "", target)
        self._run()

    async def register(self, device: str, *, answers: bool = True) -> None:
        self.switch.register(device, answers=answers)
        self._run()

    def rings(self, device: str) -> int:
        return self.switch.rung.count(device)

    async def restart(self) -> None:
        self._run()
        self._die()

    async def restart_after(self, happens: Callable[[], Awaitable[None]]) -> None:
        self._run()
        self._backend.lost()
        await happens()
        self._die()

    async def restart_before_events(self, begin: Callable[[], None]) -> None:
        begin()
        self._hand_in()
        for _ in range(self.turns):
            self._backend.work()
            self._deliver()
        # The switch is told, and what it tells is read by nobody.
        self._backend.work()
        if self._cut:
            self._backend.lost()
            self._backend.connect()
            self._run()
        else:
            self._die()

    def _die(self) -> None:
        super()._die()
        self.switch.cut()
        self._start()
