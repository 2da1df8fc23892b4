"""Which devices can be rung: REGISTER with digest against the directory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tandem.core.ports.media import DeviceRegistered, DeviceUnregistered, DirectoryDevice
from tandem.media.backend import MergedDirectory, Row, RowKind
from tandem.media.builtin.board import Board, media_ms
from tandem.wire.sip.digest import Authenticator, AuthOutcome, HashedPassword
from tandem.wire.sip.events import RegisterArrived
from tandem.wire.sip.registrar import Binding, RegisterReply, Registrar, RegistrarConfig

_NOBODY = "tandem"
"""The realm in which unknown users are asked for a password, so that they look like known ones."""


class Registrations:
    """Tells when a device can be rung for the first time, and when no more."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._secret = board.entropy.secret(32)
        self._config = RegistrarConfig(
            contacts_max=board.config.contacts_max,
            expires_min_s=board.config.register_min_s,
            expires_max_s=board.config.register_max_s,
        )
        self._registrar = Registrar(self._config)
        self._devices: Mapping[str, DirectoryDevice] = {}
        self._authenticators: dict[str, Authenticator] = {}
        self._tenants: dict[str, str] = {}
        """Of each registered device, kept until it is told that it is gone."""

    @property
    def count(self) -> int:
        """Devices that are registered."""
        return len(self._tenants)

    def find(self, device: str, tenant: str, now: float) -> Binding | None:
        """Where that tenant's device is: its latest place, if there are several."""
        if self._tenants.get(device) != tenant:
            return None
        live = self._registrar.bindings(device, now)
        return live[-1] if live else None

    # ------------------------------------------------------------------ from phones

    def arrived(self, event: RegisterArrived, now: float) -> None:
        """A REGISTER: judge it, answer it, tell what changed."""
        board = self._board
        if board.directory is None:
            wait = ("Retry-After", str(board.config.retry_after_s))
            board.endpoint.respond(event.transaction, 503, now, headers=[wait])
            return
        reply = self._judge(event, now)
        keep = reply.status not in (401, 403)
        board.endpoint.respond(
            event.transaction, reply.status, now, text=reply.text or None, headers=reply.headers, keep=keep
        )
        if reply.changes:
            self._changed(event.request.to.uri.number, now)

    def _judge(self, event: RegisterArrived, now: float) -> RegisterReply:
        """Unknown users are asked for a password too, and then refused."""
        user = event.request.to.uri.number
        device = self._devices.get(user)
        verdict = self._authenticator(device).verify(event.request, self._hashes, now)
        if verdict.outcome is AuthOutcome.WRONG:
            self._board.guard.counters.failures_password += 1
            self._board.guard.failed(event.source, now)
        if verdict.outcome is not AuthOutcome.ACCEPTED:
            return RegisterReply(verdict.status, "", verdict.headers)
        if device is None or verdict.user != user:
            return RegisterReply(403, "")
        return self._registrar.register(user, event.request, event.source, now)

    def _authenticator(self, device: DirectoryDevice | None) -> Authenticator:
        realm = device.realm if device is not None else _NOBODY
        if realm not in self._authenticators:
            self._authenticators[realm] = Authenticator(
                realm, self._secret, self._board.entropy.token, algorithms=self._board.config.digest_algorithms
            )
        return self._authenticators[realm]

    def _hashes(self, user: str) -> HashedPassword | None:
        device = self._devices.get(user)
        return HashedPassword(device.ha1_md5, device.ha1_sha256) if device is not None else None

    # ------------------------------------------------------------------ from directory, clock and journal

    def directory(self, directory: MergedDirectory, now: float) -> None:
        """Devices that are gone from it, or are another tenant's now, are unregistered."""
        self._devices = directory.devices
        realms = dict.fromkeys([_NOBODY, *(device.realm for device in directory.devices.values())])
        self._authenticators = {realm: kept for realm, kept in self._authenticators.items() if realm in realms}
        for device, tenant in list(self._tenants.items()):
            listed = directory.devices.get(device)
            if listed is None or listed.tenant != tenant:
                self._registrar.drop(device)
                self._changed(device, now)

    def expire(self, device: str, now: float) -> None:
        """Time is up for one of the device's places."""
        self._registrar.tick(now)
        self._changed(device, now)

    def restore(self, rows: Iterable[Row], now: float) -> None:
        """The registrations of an earlier life. One that was noted in the future is of a clock
        that has started over: nobody knows how long it still lasts, so the device is gone."""
        kept: dict[str, Any] = {}
        for row in rows:
            self._tenants[row.id] = row.value["tenant"]
            kept[row.id] = row.value["places"] if row.value["at"] <= now else []
        self._registrar = Registrar.from_dict(kept, self._config)
        for device in kept:
            self._changed(device, now)

    def _changed(self, device: str, now: float) -> None:
        """Compare what was told with what is, tell the difference, and journal."""
        board, live = self._board, self._registrar.bindings(device, now)
        tenant = self._tenants.get(device)
        board.guard.places(device, [binding.address for binding in live])
        if live:
            owner = tenant or self._devices[device].tenant
            row = {"tenant": owner, "at": now, "places": self._registrar.to_dict()[device]}
            board.timers.set("expire", device, min(binding.expires_at for binding in live))
            board.sink.remember(RowKind.REGISTRATION, device, row)
            if tenant is None:
                self._tenants[device] = owner
                board.sink.emit(owner, "", DeviceRegistered(device), media_ms(now))
        elif tenant is not None:
            del self._tenants[device]
            board.timers.cancel("expire", device)
            board.sink.emit(tenant, "", DeviceUnregistered(device), media_ms(now))
            board.sink.remember(RowKind.REGISTRATION, device, None)
