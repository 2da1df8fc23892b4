"""The contract's world over the scripted backend: real agent and journal, virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count

from tandem.core.points import Points
from tandem.core.ports.media import Event, Hello, Originate, ToNode
from tandem.media.agent import MediaAgent
from tandem.media.agent_io import AgentSettings
from tandem.media.journal.file import MemoryStore, load, open_journal
from tandem.media.turn import Turns
from tandem.simulation.scripted_media import Does, Phone, ScriptedMedia
from tests.contract.media_contract import MediaWorld, Owner

NODE_KEY = bytes(range(32))
STEP_MS = 100
PATIENCE_MS = 120_000


class Died(BaseException):
    """The agent's process is killed here. No `Exception`: nobody may catch it."""


class DyingStore(MemoryStore):
    """Kills at the write after `writes_left` more, before anything of it is there."""

    writes_left: int | None = None

    def append(self, data: bytes) -> None:
        if self.writes_left is not None:
            if self.writes_left == 0:
                raise Died
            self.writes_left -= 1
        super().append(data)


class ScriptedWorld(MediaWorld):
    sees_journal = True

    def __init__(
        self,
        *,
        calls_survive: bool,
        agent: type[MediaAgent] = MediaAgent,
        settings: AgentSettings | None = None,
    ) -> None:
        self.calls_survive = calls_survive
        self.store = DyingStore()
        self._agent_type = agent
        self._settings = settings or AgentSettings("m1", "boot-1")
        self._salt = count()
        self._owners: dict[str, Owner] = {}
        self._inbox: list[tuple[str, ToNode]] = []
        self._calls = count(1)
        self._rings: list[Originate] = []
        self.now_ms = 1_000
        self._phones: dict[str, Phone] = {}
        self._media: ScriptedMedia | None = None
        self._start()

    def _start(self) -> None:
        incarnation = f"i{next(self._salt)}"
        journal, state, _ = open_journal(
            self.store, NODE_KEY, lambda size: next(self._salt).to_bytes(size, "big"), incarnation
        )
        self.agent = self._agent_type(self._settings, state)
        if self._media is not None and self.calls_survive:
            self._media.reattach(self.agent)
        else:
            self._media = ScriptedMedia(self.agent, self.now_ms)
            self._media.phones = self._phones
        self._turns = Turns(self.agent, state, journal, self.media, Points())
        self.state = state
        self.agent.start(self.now_ms)
        self._run()

    @property
    def media(self) -> ScriptedMedia:
        """The backend of now."""
        assert self._media is not None
        return self._media

    def _run(self) -> None:
        """Hand in what owners sent, let due things happen, and deliver."""
        inbox, self._inbox = self._inbox, []
        for link, frame in inbox:
            if self._owners[link].closed is None:
                self.agent.receive(link, frame, self.now_ms)
        self._deliver()
        self.media.advance(self.now_ms)
        self._deliver()

    def _deliver(self) -> None:
        out = self._turns.run(self.now_ms)
        assert out.faults == []
        assert out.journal_error is None
        for link, frame in out.sends:
            self._owners[link].frames.append(frame)
        for link, reason in out.closes:
            self._owners[link].closed = self._owners[link].closed or reason
        self._rings += [command.verb for command in self.media.performed if isinstance(command.verb, Originate)]
        self.media.performed.clear()

    def _die(self) -> None:
        for owner in self._owners.values():
            owner.closed = owner.closed or "the agent died"
        self._inbox.clear()
        self.media.detach()

    # ------------------------------------------------------------------ MediaWorld

    async def connect(self, hello: Hello) -> Owner:
        link = f"link{len(self._owners)}"
        self._owners[link] = Owner(link, lambda frame: self._inbox.append((link, frame)))
        self._inbox.append((link, hello))
        self._run()
        return self._owners[link]

    async def until(self, done: Callable[[], object]) -> None:
        limit_ms = self.now_ms + PATIENCE_MS
        while not done():
            assert self.now_ms < limit_ms, "it did not come in two minutes of media time"
            self.now_ms += STEP_MS
            self._run()

    async def rest(self) -> None:
        for _ in range(2_000 // STEP_MS):
            self.now_ms += STEP_MS
            self._run()

    async def dial(self, number: str) -> None:
        self.media.call(number, f"c{next(self._calls)}")

    async def press(self, leg: str, digits: str) -> None:
        self.media.press(leg, digits)

    async def hang_up(self, leg: str) -> None:
        self.media.hang_up(leg)

    async def refer(self, leg: str, target: str) -> None:
        self.media.refer(leg, target)

    async def register(self, device: str, *, answers: bool = True) -> None:
        self._phones[device] = Phone(Does.ANSWER if answers else Does.RING_ON)
        self.media.register(device)

    def rings(self, device: str) -> int:
        return sum(verb.device == device for verb in self._rings)

    async def restart(self) -> None:
        self._run()
        self._die()
        self._start()

    async def restart_after(self, happens: Callable[[], Awaitable[None]]) -> None:
        self._run()
        self._die()
        await happens()
        self._start()

    async def restart_before_events(self, begin: Callable[[], None]) -> None:
        self.store.writes_left = 1
        self._run_until_death(begin)
        self._start()

    async def killed_before_writing(self, begin: Callable[[], None]) -> tuple[list[Event], list[Event]]:
        self.store.writes_left = 1
        self._run_until_death(begin)
        sent = {id(owner): [f for f in owner.frames if isinstance(f, Event)] for owner in self._owners.values()}
        state = load(self.store.data, NODE_KEY)
        written = [event for tenant in state.last for event in state.kept(tenant)]
        return [event for events in sent.values() for event in events], written

    def _run_until_death(self, begin: Callable[[], None]) -> None:
        begin()
        try:
            for _ in range(PATIENCE_MS // STEP_MS):
                self.now_ms += STEP_MS
                self._run()
        except Died:
            self._die()
            self.store.writes_left = None
            return
        raise AssertionError("the agent wrote nothing")
