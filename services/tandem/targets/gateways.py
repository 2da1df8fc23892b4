"""`tandem admin gateways`: have the media node of this host read its carriers from the settings again."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tandem.media.backend import GatewaysRead
from tandem.media.freeswitch.driver import FreeswitchNode
from tandem.media.freeswitch.gateway_files import ForeignFile
from tandem.media.link.address import LinkAddress, UnsafeLink
from tandem.media.link.gateways import CannotReread, read_gateways
from tandem.runtime.config import Config
from tandem.runtime.settings import BadConfig
from tandem.targets.carriers import gateways_of
from tandem.targets.secret_file import BadSecretFile

CANNOT_REREAD = (CannotReread, UnsafeLink)
"""Errors of `reread_gateways` that say what to do."""
_UNCHANGED = "; nothing has changed"


class Rereading:
    """The node's end: a `Reread` of its settings, which `settings` gives as they stand now. Nothing but
    `media.gateways` counts of them."""

    def __init__(self, settings: Callable[[], Config]) -> None:
        self._settings = settings
        self.node: FreeswitchNode | None = None
        """Who is to take them, once it is there."""

    def __call__(self) -> GatewaysRead:
        """All or none. Raises `CannotReread`."""
        if self.node is None:
            raise CannotReread('the built-in node has no gateways: set media.backend = "freeswitch"')
        try:
            config = self._settings()
            if config.media.backend != "freeswitch":
                raise CannotReread(f"media.backend is another one now: start the media node again for that{_UNCHANGED}")
            return self.node.change_gateways(tuple(gateways_of(config)))
        except BadConfig as error:
            problems = "\n  ".join(("the configuration cannot be used:", *error.problems))
            raise CannotReread(problems + _UNCHANGED) from error
        except (BadSecretFile, ForeignFile) as error:
            raise CannotReread(f"{error}{_UNCHANGED}") from error
        except OSError as error:
            raise CannotReread(f"the files of the gateways cannot be written: {error}{_UNCHANGED}") from error


async def reread_gateways(config: Config) -> int:
    """Give the order, and print what came of it. Raises those of `CANNOT_REREAD`."""
    sys.stdout.write(shown(await read_gateways(LinkAddress(config.media_link))))
    return 0


def shown(read: GatewaysRead) -> str:
    """A line for each gateway."""
    what = {
        **dict.fromkeys(read.added, "is new"),
        **dict.fromkeys(read.changed, "has changed"),
        **dict.fromkeys(read.removed, "is taken out"),
        **dict.fromkeys(read.kept, "is as it was"),
    }
    return "".join(f"gateway {name} {became}\n" for name, became in sorted(what.items())) or "there are no gateways\n"
