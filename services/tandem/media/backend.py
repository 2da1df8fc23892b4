"""What stands between the media agent and the thing that carries the audio.

The agent (`media.agent`) speaks with owners, numbers events, keeps keys, epochs and the
journal. A backend makes calls: the built-in node, FreeSWITCH, or the simulator's scripted
one. Both sides are driven synchronously on one thread; nothing here blocks or awaits.

Rules both sides keep:

- The backend may call the sink from inside any of its own methods, `perform` included.
- `perform` is called once per key. The agent knows the keys that came before; the backend
  reports exactly one `CommandSettled` for each command, on the command's leg.
- Commands on one leg begin in the order of the calls. `Play` and `Collect` settle when
  they end, so a later command may settle before an earlier one.
- A row is remembered before the first event that tells of it, and forgotten after the
  last. An agent writes what it is told in one turn with one write, so that a death leaves
  both or neither; should it be in doubt, the last event is told again.
- Private values arrive as `Secret` (opened at the owner's edge) and leave as `Secret`.
  Rows may hold private values too: the agent seals its journal with the node key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, Self

from tandem.core.ports.media import Command, DirectoryDevice, DirectoryNumber, MediaEvent


class RowKind(StrEnum):
    """What a journalled row of a backend describes."""

    LEG = "LEG"  # id: the leg
    GOODBYE = "GOODBYE"  # id: a leg that ended, as long as its phone may not have heard that it did
    REGISTRATION = "REGISTRATION"  # id: the device
    RECORDING = "RECORDING"  # id: the name of its blob, from RecordStart until it is stored


@dataclass(frozen=True, slots=True)
class Row:
    """One latest-only row: the backend's own notes, opaque to the agent, JSON types only."""

    kind: RowKind
    id: str
    value: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MergedDirectory:
    """The newest `Directory` of every shard in one: by dialled number, and by SIP user."""

    numbers: Mapping[str, DirectoryNumber]
    devices: Mapping[str, DirectoryDevice]


@dataclass(frozen=True, slots=True)
class LiveLeg:
    """A leg that lives on the node. `shard` is the one that its tenant had when it began. `waits`: it is a caller's
    who talks with nobody, for they hear it ringing, a menu or music; `talks`: with somebody."""

    tenant: str
    shard: int
    leg: str
    waits: bool = False
    talks: bool = False


@dataclass(frozen=True, slots=True)
class GatewaysRead:
    """What became of a node's gateways when its settings were read again: their names."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    @classmethod
    def between(cls, before: Mapping[str, object], now: Mapping[str, object]) -> Self:
        """By name and settings."""
        return cls(
            tuple(sorted(now.keys() - before.keys())),
            tuple(name for name in sorted(now) if name in before and now[name] != before[name]),
            tuple(sorted(before.keys() - now.keys())),
            tuple(name for name in sorted(now) if name in before and now[name] == before[name]),
        )


class Sink(Protocol):
    """The agent, as a backend sees it."""

    def emit(self, tenant: str, leg: str, body: MediaEvent, media_time_ms: int) -> None:
        """Something happened at `media_time_ms` (CLOCK_BOOTTIME), never before an event told
        earlier. `leg` is empty for devices and refusals."""
        ...

    def remember(self, kind: RowKind, id: str, value: Mapping[str, Any] | None) -> None:
        """Journal the row in place of an earlier one of that kind and id; None forgets it."""
        ...


class Backend(Protocol):
    """What carries the calls, as the agent sees it. The sink is given when it is built."""

    def directory(self, directory: MergedDirectory) -> None:
        """Replace what the node knows. Before the first call it knows nothing and answers
        phones with 503. Legs and registrations of entries that are gone: legs stay, devices
        are unregistered."""
        ...

    def restore(self, rows: Iterable[Row], died_ms: int) -> None:
        """The journal's rows, once at start (none for a new journal), after the journalled
        `directory` if there is one and before anything else.

        A backend that died with its calls tells `LegEnded(MEDIA_LOST, NODE)` for each leg at
        `died_ms`, the last media time that stands in the journal (now, if that was another
        boot's), says BYE, finishes recordings from the spool and keeps registrations. One that lived
        on while the agent was away takes its legs up again and tells what changed; whatever it
        has and finds no row of was lost with the journal: it notes it anew, and tells its
        registrations.
        """
        ...

    def perform(self, command: Command) -> None:
        """Begin a command that is new. Its end is one `CommandSettled` through the sink."""
        ...

    def settle(self, command: Command) -> None:
        """A command that had begun when the agent died, and whose outcome is not in the
        journal (called after `restore`): settle it by what the calls show, do it again where
        that is harmless, and never an `Originate`: in doubt that one ends `UNKNOWN`."""
        ...

    def owner_present(self, shard: int, present: bool) -> None:
        """An owner of that shard is connected, or the last one has gone. Without one, new
        calls ring, and get the fallback when none comes in time."""
        ...

    def journal_away(self, away: bool) -> None:
        """The journal cannot be written, or can be again. Until then nothing that is told reaches an owner
        and nothing is commanded: talks go on, new calls are refused with 503, and whoever still rings
        or hears it ringing is let go, for nobody could be told of an answer."""
        ...

    def drain(self, on: bool) -> None:
        """Take no new callers, or take them again. A caller who comes meanwhile gets 503, and where the number is
        listed that is told: `CallRefused(number, DRAINING)`. Everybody who is here is served to the end."""
        ...

    def let_go(self, legs: Iterable[LiveLeg]) -> None:
        """End these callers' legs as if the node had died with them: `LegEnded(MEDIA_LOST, NODE)`. Those that have
        ended meanwhile are passed over."""
        ...

    def strangers(self) -> int:
        """How many ends of calls live that are nobody's leg: of emergency calls, which go out without being asked
        about. Who empties the node waits for them too."""
        ...

    def legs(self) -> tuple[LiveLeg, ...]:
        """All legs that live, in the order in which they began."""
        ...
