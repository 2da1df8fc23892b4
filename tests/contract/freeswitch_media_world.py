"""The contract's world over the FreeSWITCH backend: real agent, journal and backend, and a scripted switch."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from itertools import count

from tandem.core.points import Points
from tandem.core.ports.media import Command, Hello, RecordingStored, ToNode
from tandem.media.agent import MediaAgent
from tandem.media.agent_io import AgentSettings
from tandem.media.backend import LiveLeg, MergedDirectory, Row
from tandem.media.freeswitch.config import FreeswitchConfig
from tandem.media.freeswitch.ids import channel_of_caller
from tandem.media.freeswitch.node import Node
from tandem.media.freeswitch.records import event_of
from tandem.media.journal.file import MemoryStore, open_journal
from tandem.media.turn import Turns
from tandem.wire import esl
from tests.contract.media_contract import PROMPT, MediaWorld, Owner
from tests.support.scripted_switch import ScriptedSwitch

NODE_KEY = bytes(range(32))
STEP_S, PATIENCE_S = 0.1, 60
PROMPTS = {PROMPT: "/prompts/welcome.wav", "music": "/prompts/music.wav"}


class SwitchBackend:
    """The node as a backend, and the edge between it and the switch: what the asyncio one does, on virtual time."""

    def __init__(self, switch: ScriptedSwitch, agent: MediaAgent) -> None:
        self._switch = switch
        self._reader = esl.EslReader()
        self._node = Node(FreeswitchConfig(), agent, PROMPTS, switch.password)

    @property
    def _now(self) -> float:
        return self._switch.now

    def connect(self) -> None:
        self._reader = esl.EslReader()
        self._switch.connect()

    def lost(self) -> None:
        self._switch.cut()
        self._node.lost(self._now)

    def work(self) -> bool:
        """Read, fire what is due, and carry out what the node gives; whether something came of it."""
        came = self._switch.take()
        for frame in self._reader.receive_data(came):
            self._node.frame(frame, self._now)
        while (due := self._node.next_wakeup()) is not None and due <= self._now:
            self._node.wake(self._now)
        out = self._node.take()
        assert out.close == ""
        for data in out.data:
            self._switch.receive(data)
        for channel in out.records:
            variables = self._switch.records.get(channel)
            record = event_of(json.dumps({"variables": variables}).encode()) if variables is not None else None
            self._node.record(channel, record, self._now)
        for seal in out.seals:
            stored = RecordingStored(seal.name.rpartition("/")[2], seal.name, 8000, 1, "", seal.truncated)
            self._node.recording_stored(seal.name, stored, self._now)
        return bool(came or out.data or out.records or out.seals)

    # ------------------------------------------------------------------ Backend

    def directory(self, directory: MergedDirectory) -> None:
        self._node.directory(directory, self._now)

    def restore(self, rows: Iterable[Row], died_ms: int) -> None:
        self._node.restore(rows, died_ms, self._now)

    def perform(self, command: Command) -> None:
        self._node.perform(command, self._now)

    def settle(self, command: Command) -> None:
        self._node.settle(command, self._now)

    def owner_present(self, shard: int, present: bool) -> None:
        self._node.owner_present(shard, present, self._now)

    def journal_away(self, away: bool) -> None:
        self._node.journal_away(away, self._now)

    def legs(self) -> tuple[LiveLeg, ...]:
        return self._node.legs()


class FreeswitchWorld(MediaWorld):
    calls_survive = True
    supervises = True

    def __init__(self) -> None:
        self.switch = ScriptedSwitch()
        self.switch.tick(100.0)
        self._store = MemoryStore()
        self._salt = count()
        self._owners: dict[str, Owner] = {}
        self._inbox: list[tuple[str, ToNode]] = []
        self._start()

    def _start(self) -> None:
        journal, state, _ = open_journal(
            self._store, NODE_KEY, lambda size: next(self._salt).to_bytes(size, "big"), f"i{next(self._salt)}"
        )
        self._agent = MediaAgent(AgentSettings("m1", "boot-1"), state)
        self._backend = SwitchBackend(self.switch, self._agent)
        self._turns = Turns(self._agent, state, journal, self._backend, Points())
        self._agent.start(self._now_ms)
        self._deliver()
        self._backend.connect()
        self._run()

    @property
    def _now_ms(self) -> int:
        return int(self.switch.now * 1000)

    def _run(self) -> None:
        """Hand in what owners sent, carry it out, and deliver, until nothing is left to do."""
        inbox, self._inbox = self._inbox, []
        for link, frame in inbox:
            if self._owners[link].closed is None:
                self._agent.receive(link, frame, self._now_ms)
        self._deliver()
        while self._backend.work():
            self._deliver()
        self._deliver()

    def _deliver(self) -> None:
        out = self._turns.run(self._now_ms)
        assert out.faults == []
        for link, frame in out.sends:
            self._owners[link].frames.append(frame)
        for link, reason in out.closes:
            self._owners[link].closed = self._owners[link].closed or reason

    def _step(self) -> None:
        self.switch.tick(self.switch.now + STEP_S)
        self._run()

    # ------------------------------------------------------------------ MediaWorld

    async def connect(self, hello: Hello) -> Owner:
        link = f"link{len(self._owners)}"
        self._owners[link] = Owner(link, lambda frame: self._inbox.append((link, frame)))
        self._inbox.append((link, hello))
        self._run()
        return self._owners[link]

    async def until(self, done: Callable[[], object]) -> None:
        limit = self.switch.now + PATIENCE_S
        while not done():
            assert self.switch.now < limit, "it did not come in a minute of media time"
            self._step()

    async def rest(self) -> None:
        for _ in range(20):
            self._step()

    async def dial(self, number: str) -> None:
        self.switch.dial(number)
        self._run()

    async def press(self, leg: str, digits: str) -> None:
        for digit in digits:
            self.switch.press(channel_of_caller(leg) or "", digit)
            self._step()

    async def hang_up(self, leg: str) -> None:
        if (channel_of_caller(leg) or "") in self.switch.channels:
            self.switch.hang_up(channel_of_caller(leg) or "")
        self._run()

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
        inbox, self._inbox = self._inbox, []
        for link, frame in inbox:
            self._agent.receive(link, frame, self._now_ms)
        self._deliver()
        # The switch is told, and what it tells is read by nobody.
        self._backend.work()
        self._die()

    def _die(self) -> None:
        for owner in self._owners.values():
            owner.closed = owner.closed or "the agent died"
        self._inbox.clear()
        self.switch.cut()
        self._start()
