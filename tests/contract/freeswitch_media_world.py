"""The contract's world over the FreeSWITCH backend: real agent, journal and backend, and a scripted switch."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from tandem.core.ports.media import RecordingStored
from tandem.media.agent import MediaAgent
from tandem.media.agent_io import AgentSettings
from tandem.media.freeswitch.board import RecoveryRow
from tandem.media.freeswitch.config import FreeswitchConfig
from tandem.media.freeswitch.gateways import Gateway
from tandem.media.freeswitch.ids import leg_of_caller
from tandem.media.freeswitch.node import Node
from tandem.media.freeswitch.records import event_of
from tandem.media.journal.file import MemoryStore
from tandem.wire import esl
from tests.contract.agent_world import STEP_MS, AgentWorld, NodeBackend
from tests.contract.media_contract import GATEWAY, PROMPT, T1
from tests.support.scripted_switch import ScriptedSwitch

CARRIER = Gateway(
    GATEWAY, "carrier.test", caller_id="+4930999", tenants=(T1,), destinations=("+49", "!+49900"), calls_max=2
)
PROMPTS = {PROMPT: "/prompts/welcome.wav", "music": "/prompts/music.wav"}


class SwitchBackend(NodeBackend):
    """The node as a backend, and the edge between it and the switch: what the asyncio one does, on virtual time."""

    def __init__(
        self, switch: ScriptedSwitch, agent: MediaAgent, gateways: Mapping[str, Gateway], *, behind_door: bool
    ) -> None:
        self._switch = switch
        self._reader, self._frames = esl.EslReader(), deque[esl.Frame]()
        self.notices: list[str] = []
        self._rows = deque[RecoveryRow]()
        """They are being written: a thread of its own does that."""
        self.unwritable = ""
        """Why the switch's database cannot be written."""
        config = FreeswitchConfig(door="192.0.2.1:5060" if behind_door else "")
        self.node = Node(config, agent, PROMPTS, switch.password, gateways, switch.files)

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
        self.notices += [notice.reason for notice in out.notices]
        for data in out.data:
            self._switch.receive(data)
        for channel in out.records:
            variables = self._switch.records.get(channel)
            record = event_of(json.dumps({"variables": variables}).encode()) if variables is not None else None
            self.node.record(channel, record, self._at())
        for seal in out.seals:
            stored = RecordingStored(seal.name.rpartition("/")[2], seal.name, 8000, 1, "", seal.truncated)
            self.node.recording_stored(seal.name, stored, self._at())
        rows, self._rows = self._rows, deque(out.rows)
        for row in rows:
            self._switch.recovery = {row.channel: row.row}
            self.node.written(row.channel, self.unwritable, self._at())
        return bool(frame is not None or out.data or out.records or out.seals or out.rows or rows)


class FreeswitchWorld(AgentWorld):
    calls_survive = True
    supervises = mixes = finds_again = True

    dials = True
    rings_everywhere = True
    gateways: Mapping[str, Gateway] = MappingProxyType({GATEWAY: CARRIER})

    def __init__(
        self, turns: int = 0, *, behind_door: bool = False, cut: bool = False, moved_first: bool = False
    ) -> None:
        super().__init__(MemoryStore(), MediaAgent, AgentSettings("m1", "boot-1"))
        # A door asks by OPTIONS; whom it brings all the same the switch refuses by itself.
        self.answers_options, self.sees_refused = behind_door, not behind_door
        self.turns = turns
        """So many turns of the agent it lives on in `restart_before_events`: some orders take the switch several."""
        self._cut = cut
        """Then it lives on, and only its connection to the switch is gone."""
        self.switch = ScriptedSwitch()
        self.switch.moved_first = moved_first
        self.switch.tick(100.0)
        self.switch.files = dict.fromkeys(self.gateways, "1")
        self.switch.read_gateways()
        self._start()

    def _start(self) -> None:
        self._begin(self._new_backend)
        self._deliver()
        self.backend.connect()
        self._run()

    def _new_backend(self, agent: MediaAgent) -> SwitchBackend:
        self.backend = SwitchBackend(self.switch, agent, self.gateways, behind_door=self.answers_options)
        return self.backend

    @property
    def now_ms(self) -> int:
        return int(self.switch.now * 1000)

    def _run(self) -> None:
        """Hand in what owners sent, carry it out, and deliver, until nothing is left to do."""
        self._hand_in()
        while self.backend.work():
            self._deliver()
        self._deliver()

    def _step(self) -> None:
        self.switch.tick(self.switch.now + STEP_MS / 1000)
        self._run()

    # ------------------------------------------------------------------ MediaWorld

    async def dial(self, number: str) -> None:
        self.switch.dial(number)
        self._run()

    def options(self) -> int:
        return 503 if self.switch.paused else 200

    def channel_of(self, leg: str) -> str:
        """Where a leg that has one place is."""
        [channel] = self._channels_of(leg)
        return channel

    def _channels_of(self, leg: str) -> list[str]:
        return [
            channel.uuid
            for channel in self.switch.channels.values()
            if leg == (channel.variables.get("tandem_leg") or leg_of_caller(channel.uuid))
        ]

    async def press(self, leg: str, digits: str) -> None:
        for digit in digits:
            self.switch.press(self.channel_of(leg), digit)
            self._step()

    async def hang_up(self, leg: str) -> None:
        for channel in self._channels_of(leg):
            self.switch.hang_up(channel)
        self._run()

    async def outside(self, number: str, does: str) -> None:
        self.switch.outside[number] = does

    async def carrier_is(self, *, up: bool) -> None:
        self.switch.gateway_is(GATEWAY, up=up)
        self._run()

    def calls(self, number: str) -> int:
        return self.switch.called.count(number)

    async def refer(self, leg: str, target: str) -> None:
        self.switch.refer(self.channel_of(leg), target)
        self._run()

    async def register(self, device: str, *, answers: bool = True) -> None:
        self.switch.register(device, answers=answers)
        self._run()

    async def register_at(self, device: str, place: str, does: str) -> None:
        self.switch.register_at(device, place, does)
        self._run()

    async def unregister_at(self, device: str, place: str) -> None:
        self.switch.unregister_at(device, place)
        self._run()

    def told_elsewhere(self) -> list[str]:
        return self.switch.elsewhere

    def rings(self, device: str) -> int:
        return self.switch.rung.count(device)

    def strangers(self) -> int:
        """Ends of calls that are nobody's leg."""
        return self.backend.node.strangers()

    async def end(self, channel: str) -> None:
        """The phone of a channel hangs up."""
        self.switch.hang_up(channel)

    async def restart_switch(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """kill -9 of the switch alone; the next life is there a second later."""
        self.backend.lost()
        self.switch.die()
        self.switch.tick(self.switch.now + 0.5)
        meanwhile()
        self._run()
        self.switch.tick(self.switch.now + 0.5)
        self.backend.connect()
        self._run()

    async def restart(self) -> None:
        self._run()
        self._die()

    async def restart_without_journal(self) -> None:
        """The agent's disk was lost with it. The switch is there as soon as it is connected to."""
        self._run()
        self.store.replace(b"")
        super()._die()
        self.switch.cut()
        self._begin(self._new_backend)
        self._deliver()

    async def connect_switch(self) -> None:
        """After that."""
        self.backend.connect()
        self._run()

    async def restart_after(self, happens: Callable[[], Awaitable[None]]) -> None:
        self._run()
        self.backend.lost()
        await happens()
        self._die()

    async def restart_before_events(self, begin: Callable[[], None]) -> None:
        begin()
        self._hand_in()
        for _ in range(self.turns):
            self.backend.work()
            self._deliver()
        # The switch is told, and what it tells is read by nobody.
        self.backend.work()
        if self._cut:
            self.backend.lost()
            self.backend.connect()
            self._run()
        else:
            self._die()

    def _die(self) -> None:
        super()._die()
        self.switch.cut()
        self._start()
