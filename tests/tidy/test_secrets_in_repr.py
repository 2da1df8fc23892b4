"""What is secret by its name does not stand in a repr: reprs get into log lines and tracebacks."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re
from collections.abc import Iterator

import tandem

SECRET = re.compile(r"ha1|password|secret|_key$|^key$")
IDS = re.compile(r"^(?:start|play|originate)_key$")
"""Keys of orders; they name something and open nothing."""
NAMES = (
    "tandem.core.commit",
    "tandem.core.ports.store",
    "tandem.session",
    "tandem.runtime",
    "tandem.tenant.domain.cell",
)
"""Where `key` and `api_key` are ids: of effects, rows, data keys and credentials."""


def open_fields(cls: type) -> Iterator[str]:
    """Fields of text or bytes that a repr shows under a name that says they are secret."""
    for field in dataclasses.fields(cls):
        plain = str(field.type).removesuffix(" | None") in ("str", "bytes")
        an_id = IDS.match(field.name) or (cls.__module__.startswith(NAMES) and field.name in ("key", "api_key"))
        if field.repr and plain and SECRET.search(field.name) and not an_id:
            yield f"{cls.__module__}.{cls.__qualname__}.{field.name}"


def dataclasses_of_the_package() -> Iterator[type]:
    """All, but generated ones."""
    for module in pkgutil.walk_packages(tandem.__path__, "tandem."):
        if module.name.startswith(("tandem.api.", "tandem.internal.")) or module.name == "tandem.__main__":
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module.name:
                yield value


def test_secrets_do_not_stand_in_reprs() -> None:
    found = [name for cls in dataclasses_of_the_package() for name in open_fields(cls)]
    assert [name for name in found if name not in KEY_IDS] == []


KEY_IDS = {
    "tandem.core.seal.Sealed.key",
    "tandem.core.ports.media.CommandSettled.key",
    "tandem.core.ports.media.Command.key",
}
"""Ids, too."""


def test_a_password_in_a_repr_is_found() -> None:
    @dataclasses.dataclass
    class Phone:
        user: str
        password: str
        ha1_md5: str = dataclasses.field(default="", repr=False)

    assert [name.rpartition(".")[2] for name in open_fields(Phone)] == ["password"]
