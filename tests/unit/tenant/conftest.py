"""A decider by hand: commands in, events folded, actions collected."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tandem.core.decider import Act, Answer, Context, Kind, Tell
from tandem.core.seal import Secret
from tandem.tenant.domain import cell, configuration


@dataclass
class Driven:
    """A kind with its state. `now_ms` stands still until the test moves it."""

    kind: Kind
    tenant: str
    now_ms: int = 1_700_000_000_000
    state: Any = None
    events: list[Any] = field(default_factory=list)
    told: list[tuple[str, Any]] = field(default_factory=list)
    effects: list[tuple[str, str, Any]] = field(default_factory=list)
    answer: Any = None

    def __post_init__(self) -> None:
        self.state = self.kind.start()

    def do(self, command: Any) -> Any:
        """Decide a command and fold what came of it; returns the answer. Raises `Rejected`."""
        key = self.kind.person(self.state, command)
        key_id = f"key-{len(self.events)}" if key == "" else key or ""  # as the step gives one to somebody new
        context = Context(
            self.tenant, self.kind.name, self.now_ms, "u", None, lambda label: Secret(label.encode()), key_id=key_id
        )
        self.answer = None
        for event in self.kind.decide(self.state, command, context):
            self.state = self.kind.evolve(self.state, event)
            self.events.append(event)
            for action in self.kind.react(self.state, event):
                match action:
                    case Tell(stream, message):
                        self.told.append((stream, message))
                    case Answer(value):
                        self.answer = value
                    case Act(name, kind, payload):
                        self.effects.append((name, kind, payload))
                    case _:
                        pytest.fail(f"{action} is not expected")
        return self.answer


@pytest.fixture
def the_cell() -> Driven:
    """The cell."""
    return Driven(cell.KIND, "-")


@pytest.fixture
def config() -> Driven:
    """The configuration of the tenant red."""
    return Driven(configuration.KIND, "red")
