"""What issues credentials of the cell's TURN servers."""

from __future__ import annotations

from collections.abc import Callable

from tandem.core.ports.clock import Clock
from tandem.core.relay import Credential, Relay
from tandem.runtime import config

MIN_SECRET = 16
"""Bytes. A shorter one can be guessed from a single credential, at home and at leisure."""


class BadRelaySecret(Exception):
    """There is no usable secret for the relay. The message says what to do."""


def open_relay(settings: config.Relay) -> Relay:
    """The relay of these settings, with its secret read. Raises `BadRelaySecret`."""
    urls = tuple(url.strip() for url in settings.urls.split(",") if url.strip())
    if settings.secret_file is None:
        return Relay(urls, b"", settings.lifetime_s)
    try:
        lines = settings.secret_file.read_bytes().splitlines()
    except OSError as error:
        raise BadRelaySecret(f"relay.secret_file {settings.secret_file} cannot be read: {error.strerror}") from error
    secret = lines[0].strip() if lines else b""
    if len(secret) < MIN_SECRET:
        raise BadRelaySecret(
            f"relay.secret_file {settings.secret_file}: its first line needs {MIN_SECRET} bytes or more"
        )
    return Relay(urls, secret, settings.lifetime_s)


def issuer(relay: Relay, clock: Clock) -> Callable[[str], Credential] | None:
    """Credentials from now on; none where there is no server."""
    return (lambda user: relay.issue(user, clock.wall_ms() // 1000)) if relay.urls else None
