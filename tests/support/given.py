"""`given(events).when(command).then(events, actions)`: a decider's rules as examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tandem.core.decider import Context, Kind
from tandem.core.errors import Rejected
from tandem.core.seal import Secret

AT = 1_000_000
"""When the command is decided, shard time in ms."""


def context(stream: str, *, shared: Any = None, now_ms: int = AT) -> Context:
    """What a decision may know; `derive` gives the label back."""
    return Context("t1", stream, now_ms, "unique", shared, lambda label: Secret(label.encode()))


@dataclass
class Given:
    """A decider with a past."""

    kind: Kind
    stream: str
    past: Sequence[Any] = ()
    shared: Any = None
    state: Any = field(init=False)

    def __post_init__(self) -> None:
        self.state = self.kind.start()
        for event in self.past:
            self.state = self.kind.evolve(self.state, event)

    def when(self, command: Any, now_ms: int = AT) -> When:
        """Decide; the events change the state one by one, each with its reactions."""
        try:
            known = context(self.stream, shared=self.shared, now_ms=now_ms)
            events = list(self.kind.decide(self.state, command, known))
        except Rejected as rejected:
            return When([], [], self.state, rejected)
        actions: list[Any] = []
        for event in events:
            self.state = self.kind.evolve(self.state, event)
            actions += self.kind.react(self.state, event)
        return When(events, actions, self.state)


@dataclass
class When:
    """What came of a command."""

    events: list[Any]
    actions: list[Any]
    state: Any
    rejected: Rejected | None = None

    def then(self, events: Sequence[Any], actions: Sequence[Any] | None = None) -> When:
        """Exactly these events, and, if given, exactly these actions."""
        assert self.rejected is None, f"rejected: {self.rejected}"
        assert self.events == list(events)
        if actions is not None:
            assert self.actions == list(actions)
        return self

    def nothing(self) -> When:
        """The command came too late."""
        return self.then([], [])

    def refused(self, reason: str) -> None:
        """A rejection with that reason."""
        if self.rejected is None:
            pytest.fail(f"not rejected: {self.events}")
        assert self.rejected.reason.name == reason
