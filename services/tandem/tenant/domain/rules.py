"""What both deciders of the tenant service hold true: ids, names, sizes, etags."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TypeVar

from tandem.core.errors import (
    BAD_FIELD,
    ETAG_MISMATCH,
    LIMIT_REACHED,
    NAME_TAKEN,
    UNKNOWN_NAME,
    Rejected,
)

MAX_DISPLAY_NAME = 100
"""Characters; it is shown in lists."""
MAX_SHORT_ID = 32
"""Tenants and agents: both are part of a SIP user, which phones show."""

_ID = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"\+?[0-9]{2,20}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

T = TypeVar("T")
Problems = dict[str, str]
"""What is wrong with a request: path of the field -> what to do about it."""


def unknown() -> Rejected:
    """The one answer to unknown, foreign and malformed names alike."""
    return Rejected(UNKNOWN_NAME, "there is no such resource")


def id_problem(id_: str, longest: int = 63) -> str:
    """What is wrong with an id, "" if nothing is."""
    if _ID.fullmatch(id_) and len(id_) <= longest:
        return ""
    return (
        f"an id has 1 to {longest} lower-case letters, digits and hyphens; it begins with a letter and does not end "
        "with a hyphen"
    )


def number_problem(number: str) -> str:
    """What is wrong with a dialled number, "" if nothing is."""
    return "" if _NUMBER.fullmatch(number) else "a number has 2 to 20 digits, perhaps with a + before"


def text_problem(text: str) -> str:
    """What is wrong with a text that is shown on one line, "" if nothing is."""
    if len(text) > MAX_DISPLAY_NAME:
        return f"{len(text)} characters are over the limit of {MAX_DISPLAY_NAME}"
    return "control characters are not allowed" if _CONTROL.search(text) else ""


def refuse_if(problems: Problems) -> None:
    """Raises `Rejected` with all problems; a path without text is no problem."""
    real = {path: text for path, text in problems.items() if text}
    if real:
        path, text = next(iter(real.items()))
        raise Rejected(BAD_FIELD, f"{path}: {text}", **real)


def refuse_taken(there: Collection[T], id_: T, what: str) -> None:
    """Raises `Rejected` if the id stands for another one."""
    if id_ in there:
        raise Rejected(NAME_TAKEN, f"there is a {what} of that id", what=what)


def refuse_full(there: Collection[object], most: int, what: str) -> None:
    """Raises `Rejected` if there is no room for another one."""
    if len(there) >= most:
        raise Rejected(LIMIT_REACHED, f"there are {most} {what}, no more are allowed", limit=str(most), what=what)


def known(there: Mapping[str, T], id_: str) -> T:
    """The resource of that id. Raises `Rejected`."""
    if id_ not in there:
        raise unknown()
    return there[id_]


def etag_of(version: int) -> str:
    """The etag of a version of a resource (AIP-154)."""
    return f'"{version}"'


def check_etag(etag: str, version: int) -> None:
    """Raises `Rejected` if the client has seen another version."""
    if etag and etag != etag_of(version):
        raise Rejected(ETAG_MISMATCH, f"the resource has the etag {etag_of(version)} by now", etag=etag_of(version))


def with_one(there: Mapping[str, T], id_: str, value: T) -> dict[str, T]:
    """A copy with one more, or another value."""
    return {**there, id_: value}


def without(there: Mapping[str, T], id_: str) -> dict[str, T]:
    """A copy without that one."""
    return {key: value for key, value in there.items() if key != id_}
