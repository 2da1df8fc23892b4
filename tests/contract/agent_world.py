"""What the contract's worlds share on virtual time: a real agent with its journal, owners, and what goes between."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from tandem.core.points import Points
from tandem.core.ports.media import Command, Hello, ToNode
from tandem.media.agent import MediaAgent
from tandem.media.agent_io import AgentSettings
from tandem.media.backend import Backend, LiveLeg, MergedDirectory, Row
from tandem.media.journal.file import MemoryStore, open_journal
from tandem.media.turn import Turns
from tests.contract.media_contract import MediaWorld, Owner

NODE_KEY = bytes(range(32))
STEP_MS = 100
REST_STEPS = 20


class NodeBackend:
    """A node without a clock as its agent's backend."""

    node: Any

    @abstractmethod
    def _at(self) -> float:
        """The time that the node is told, s."""

    def directory(self, directory: MergedDirectory) -> None:
        self.node.directory(directory, self._at())

    def restore(self, rows: Iterable[Row], died_ms: int) -> None:
        self.node.restore(rows, died_ms, self._at())

    def perform(self, command: Command) -> None:
        self.node.perform(command, self._at())

    def settle(self, command: Command) -> None:
        self.node.settle(command, self._at())

    def owner_present(self, shard: int, present: bool) -> None:
        self.node.owner_present(shard, present, self._at())

    def journal_away(self, away: bool) -> None:
        self.node.journal_away(away, self._at())

    def drain(self, on: bool) -> None:
        self.node.drain(on)

    def strangers(self) -> int:
        return 0

    def let_go(self, legs: Iterable[LiveLeg]) -> None:
        self.node.let_go(legs, self._at())

    def legs(self) -> tuple[LiveLeg, ...]:
        found: tuple[LiveLeg, ...] = self.node.legs()
        return found


class AgentWorld(MediaWorld):
    """A world of one backend makes it in `_start`, and lets it work in `_run`."""

    patience_ms = 60_000

    def __init__(self, store: MemoryStore, agent: type[MediaAgent], settings: AgentSettings) -> None:
        self.store = store
        self._agent_type, self._settings = agent, settings
        self._salt = count()
        self._owners: dict[str, Owner] = {}
        self._inbox: list[tuple[str, ToNode]] = []

    @property
    @abstractmethod
    def now_ms(self) -> int:
        """Media time."""

    @abstractmethod
    def _step(self) -> None:
        """`STEP_MS` later."""

    @abstractmethod
    def _run(self) -> None:
        """Hand in what owners sent, let the backend work, and deliver."""

    def _begin(self, backend_of: Callable[[MediaAgent], Backend]) -> None:
        """A life of the agent, over what its journal has of earlier ones."""
        journal, self.state, _ = open_journal(
            self.store, NODE_KEY, lambda size: next(self._salt).to_bytes(size, "big"), f"i{next(self._salt)}"
        )
        self.agent = self._agent_type(self._settings, self.state)
        self._turns = Turns(self.agent, self.state, journal, backend_of(self.agent), Points())
        self.agent.start(self.now_ms)

    def _hand_in(self) -> None:
        inbox, self._inbox = self._inbox, []
        for link, frame in inbox:
            if self._owners[link].closed is None:
                self.agent.receive(link, frame, self.now_ms)
        self.agent.look(self.now_ms)
        self._deliver()

    def _deliver(self) -> None:
        out = self._turns.run(self.now_ms)
        assert out.faults == []
        assert out.journal_error is None
        for link, frame in out.sends:
            self._owners[link].frames.append(frame)
        for link, reason in out.closes:
            self._owners[link].closed = self._owners[link].closed or reason

    def _die(self) -> None:
        for owner in self._owners.values():
            owner.closed = owner.closed or "the agent died"
        self._inbox.clear()

    # ------------------------------------------------------------------ MediaWorld

    async def connect(self, hello: Hello) -> Owner:
        link = f"link{len(self._owners)}"
        self._owners[link] = Owner(link, lambda frame: self._inbox.append((link, frame)))
        self._inbox.append((link, hello))
        self._run()
        return self._owners[link]

    async def drain(self, on: bool = True, within_s: int | None = None) -> None:
        self.agent.drain(on, None if within_s is None else within_s * 1000, self.now_ms)
        self._run()

    async def until(self, done: Callable[[], object]) -> None:
        limit_ms = self.now_ms + self.patience_ms
        while not done():
            assert self.now_ms < limit_ms, f"it did not come in {self.patience_ms // 1000} s of media time"
            self._step()

    async def rest(self) -> None:
        for _ in range(REST_STEPS):
            self._step()
