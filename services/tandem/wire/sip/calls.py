"""Which calls there are: by handle for the application, by dialog for the wire."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from tandem.wire.sip.dialog import Dialog
from tandem.wire.sip.events import Address
from tandem.wire.sip.layer import Layer
from tandem.wire.sip.message import Request
from tandem.wire.sip.reason import Reason


class Call(Protocol):
    """What every call can do, whatever its state."""

    @property
    def dialog(self) -> Dialog | None:
        """Its dialog, once there is one."""

    def hangup(self, now: float, reason: Reason | None) -> bool:
        """End it."""


class InDialog(Protocol):
    """What takes the requests within a dialog."""

    def on_request(self, request: Request, source: Address, now: float) -> None:
        """A request other than ACK, CANCEL and OPTIONS."""

    def on_ack(self, request: Request, now: float) -> None:
        """The ACK to a 2xx."""


class Calls:
    """The calls of one endpoint."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self._by_handle: dict[str, Call] = {}
        self._by_dialog: dict[str, InDialog] = {}
        self._tags: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        """Whether one more would be too many; calls that are still being tidied up count."""
        return max(len(self._by_handle), len(self._by_dialog)) >= self.layer.config.calls_max

    def get(self, handle: str) -> Call | None:
        """The call that the application means."""
        return self._by_handle.get(handle)

    def in_dialog(self, key: str) -> InDialog | None:
        """The call that a message within a dialog is for."""
        return self._by_dialog.get(key)

    def has_tag(self, tag: str) -> bool:
        """Whether we gave that tag to a call or a dialog that is not over."""
        return tag in self._by_handle or tag in self._tags

    def put(self, handle: str, call: Call) -> None:
        """Add a call, or replace it by its next state."""
        self._by_handle[handle] = call

    def enter_dialog(self, dialog: Dialog, call: InDialog) -> None:
        """From now on `call` gets what arrives in this dialog."""
        if dialog.key not in self._by_dialog:
            self._tags[dialog.local_tag] += 1
        self._by_dialog[dialog.key] = call

    def forget_handle(self, handle: str) -> None:
        """The application has heard the end of it."""
        self._by_handle.pop(handle, None)

    def forget_dialog(self, dialog: Dialog) -> None:
        """Nothing more is expected from the wire."""
        if self._by_dialog.pop(dialog.key, None) is not None:
            self._tags[dialog.local_tag] -= 1
            if not self._tags[dialog.local_tag]:
                del self._tags[dialog.local_tag]
