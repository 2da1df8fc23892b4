"""A resource of which each tenant has one (AIP-156, singleton): replaced whole, and told to whoever keeps it.

What a resource adds is its class with `version` and `updated_ms`, its commands, what is wrong
with it, and what others hear; the receiver keeps what it hears by `core.published.kept`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from tandem.core.decider import Action, Answer, Context, Kind, Tell
from tandem.tenant.domain.rules import Problems, check_etag, refuse_if

R = TypeVar("R")
Changes = Callable[[R, Any], Mapping[str, Any]]


def named_fields(resource: Any, command: Any) -> Mapping[str, Any]:
    """The `Changes` of a command whose `fields` are names of its own fields and the resource's."""
    return {name: getattr(command, name) for name in command.fields}


def _itself(value: Any) -> Any:
    return value


def singleton(
    name: str,
    start: Callable[[], R],
    changes: Mapping[type, Changes[R]],
    problems: Callable[[R], Problems],
    tells: Callable[[R], Tell],
    *,
    event: Callable[[R], Any] = _itself,
    resource: Callable[[Any], R] = _itself,
    states: tuple[type, ...] = (),
) -> Kind:
    """The kind of such a resource, on the stream `name`.

    `changes` are its commands, with the fields of the resource that each changes; a command's
    `etag`, if it has one, must be the resource's. `problems` says what is wrong with a resource,
    `tells` what its keeper hears of a new version. `event` wraps the resource for the log and
    `resource` takes it out again, where the event is not the resource itself. `states` are the
    classes that the resource is made of.
    """

    def decide(state: Any, command: Any, context: Context) -> Sequence[Any]:
        change = changes.get(type(command))
        if change is None:
            return ()
        check_etag(getattr(command, "etag", ""), state.version)
        fields = change(state, command)
        changed: Any = replace(state, **fields, version=state.version + 1, updated_ms=context.now_ms)
        refuse_if(problems(changed))
        return (event(changed),)

    def evolve(state: R, happened: Any) -> R:
        return resource(happened)

    def react(state: R, happened: Any) -> Sequence[Action]:
        return tells(state), Answer(state)

    return Kind(
        name=name,
        start=start,
        starts=tuple(changes),
        decide=decide,
        evolve=evolve,
        react=react,
        states=states,
    )
