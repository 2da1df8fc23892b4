"""Which services there are, and which of them share a log partition and an owner."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

from tandem.runtime.service import Group, Service

GROUPS: dict[str, tuple[str, ...]] = {
    "tenant": ("tenant",),
    "live": ("session", "routing"),
    "recording": ("recording",),
}
"""Group -> the services that share its partitions and their owner."""
FOLLOWS: dict[str, tuple[str, ...]] = {"live": ("tenant",), "recording": ("live",)}
"""Group -> the groups whose logs have messages for it."""
SERVICES = {
    "tenant": "tandem.tenant.events:SERVICE",
    "session": "tandem.session.events:SERVICE",
    "routing": "tandem.routing.events:SERVICE",
    "recording": "tandem.recording.inbox:SERVICE",
}


def load_service(name: str) -> Service:
    """A service's tables and deciders."""
    module, _, attribute = SERVICES[name].partition(":")
    service: Service = getattr(importlib.import_module(module), attribute)
    return service


def make_groups(groups: dict[str, tuple[str, ...]] = GROUPS) -> dict[str, Group]:
    """All groups of a cell."""
    services = {name: load_service(name) for name in SERVICES}
    of = {kind.name: group for group, names in groups.items() for name in names for kind in services[name].kinds}
    made: dict[str, Group] = {}
    for group, names in groups.items():
        shape = f"{group}={'+'.join(names)}"
        made[group] = Group(group, [services[name] for name in names], of, shape)
    return made


PROMPTS = Path(__file__).parents[1] / "media" / "prompts"
"""The prompts that Tandem ships."""


def prompt_names(directory: Path) -> tuple[str, ...]:
    """Names of the prompts that a directory has, by its manifest. Raises OSError, ValueError."""
    return tuple(sorted(json.loads((directory / "manifest.json").read_bytes())))
