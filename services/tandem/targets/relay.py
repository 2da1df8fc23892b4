"""What issues credentials of the cell's TURN servers."""

from __future__ import annotations

from collections.abc import Callable

from tandem.core.ports.clock import Clock
from tandem.core.relay import Credential, Relay
from tandem.runtime import config
from tandem.targets.secret_file import BadSecretFile, read_secret

MIN_SECRET = 16
"""Bytes. A shorter one can be guessed from a single credential, at home and at leisure."""


def open_relay(settings: config.Relay) -> Relay:
    """The relay of these settings, with its secret read. Raises `BadSecretFile`."""
    urls = tuple(url.strip() for url in settings.urls.split(",") if url.strip())
    if settings.secret_file is None:
        return Relay(urls, b"", settings.lifetime_s)
    secret = read_secret("relay.secret_file", settings.secret_file).encode()
    if len(secret) < MIN_SECRET:
        raise BadSecretFile(f"relay.secret_file {settings.secret_file}: {MIN_SECRET} bytes or more are needed")
    return Relay(urls, secret, settings.lifetime_s)


def issuer(relay: Relay, clock: Clock) -> Callable[[str], Credential] | None:
    """Credentials from now on; none where there is no server."""
    return (lambda user: relay.issue(user, clock.wall_ms() // 1000)) if relay.urls else None
