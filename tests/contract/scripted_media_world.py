"""The contract's world over the scripted backend: real agent and journal, virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count

from tandem.core.ports.media import Event, Originate
from tandem.media.agent import MediaAgent
from tandem.media.agent_io import AgentSettings
from tandem.media.journal.file import MemoryStore, load
from tandem.simulation.scripted_media import Does, Phone, ScriptedMedia
from tests.contract.agent_world import NODE_KEY, STEP_MS, AgentWorld


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


class ScriptedWorld(AgentWorld):
    sees_journal = True
    patience_ms = 120_000
    now_ms = 1_000
    store: DyingStore

    def __init__(
        self,
        *,
        calls_survive: bool,
        agent: type[MediaAgent] = MediaAgent,
        settings: AgentSettings | None = None,
    ) -> None:
        super().__init__(DyingStore(), agent, settings or AgentSettings("m1", "boot-1"))
        self.calls_survive = calls_survive
        self._calls = count(1)
        self._rings: list[Originate] = []
        self._phones: dict[str, Phone] = {}
        self._media: ScriptedMedia | None = None
        self._start()

    def _start(self) -> None:
        self._begin(self._backend)
        self._run()

    def _backend(self, agent: MediaAgent) -> ScriptedMedia:
        if self._media is not None and self.calls_survive:
            self._media.reattach(agent)
        else:
            self._media = ScriptedMedia(agent, self.now_ms)
            self._media.phones = self._phones
        return self._media

    @property
    def media(self) -> ScriptedMedia:
        """The backend of now."""
        assert self._media is not None
        return self._media

    def _run(self) -> None:
        """Hand in what owners sent, let due things happen, and deliver."""
        self._hand_in()
        self.media.advance(self.now_ms)
        self._deliver()

    def _deliver(self) -> None:
        super()._deliver()
        self._rings += [command.verb for command in self.media.performed if isinstance(command.verb, Originate)]
        self.media.performed.clear()

    def _die(self) -> None:
        super()._die()
        self.media.detach()

    def _step(self) -> None:
        self.now_ms += STEP_MS
        self._run()

    # ------------------------------------------------------------------ MediaWorld

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
            for _ in range(self.patience_ms // STEP_MS):
                self._step()
        except Died:
            self._die()
            self.store.writes_left = None
            return
        raise AssertionError("the agent wrote nothing")
