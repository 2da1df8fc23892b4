"""Where an agent is to be dialled, and how both ends make sure of each other (spine 7).

On one host: a Unix domain socket in a directory that only this user can enter, which both ends
check; who gets at the socket is then this user. Between hosts: TCP under mutual TLS. The link
carries private values in plain, so there is no third way.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import grpc

from tandem.runtime.media_codec import MAX_MESSAGE_BYTES

METHOD = "/tandem.internal.link.v1.LinkService/Connect"
DRAIN_METHOD = "/tandem.internal.link.v1.LinkService/Drain"
GATEWAYS_METHOD = "/tandem.internal.link.v1.LinkService/ReadGateways"
MAX_SOCKET_PATH = 107
"""Bytes in the path of a Unix domain socket (unix(7))."""

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
)


class UnsafeLink(Exception):
    """The link would be open to others, or cannot be had. The message says what to change."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of one end: whom it trusts, who it is."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class LinkAddress:
    """`unix:/run/tandem/media.sock`, or `host:port` together with `tls`."""

    target: str
    tls: TlsFiles | None = None

    @property
    def socket(self) -> Path | None:
        """The socket's path, None for TCP."""
        return Path(self.target.removeprefix("unix:")) if self.target.startswith("unix:") else None


def prepare(address: LinkAddress) -> None:
    """Before listening: make the socket's directory if it is not there, and check it; take away
    the socket of an agent that died. Raises `UnsafeLink`."""
    if address.socket is not None:
        address.socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        check(address)
        address.socket.unlink(missing_ok=True)
    else:
        check(address)


def check(address: LinkAddress) -> None:
    """Both ends, before each use. Raises `UnsafeLink`."""
    socket = address.socket
    if socket is None:
        if address.tls is None:
            raise UnsafeLink(
                f"media link {address.target}: TCP needs certificates of both ends; give ca, certificate and key, or "
                "use unix:/path/to/socket on one host"
            )
        return
    if len(os.fsencode(socket)) > MAX_SOCKET_PATH:
        raise UnsafeLink(f"media link {socket}: the path is over {MAX_SOCKET_PATH} bytes; choose a shorter one")
    directory = socket.parent
    try:
        status = directory.lstat()
    except FileNotFoundError as error:
        raise UnsafeLink(f"media link {socket}: {directory} is not there; is the media node started?") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise UnsafeLink(
            f"media link {socket}: {directory} must be a directory of this user that nobody else can enter; "
            f"chown it to this user and chmod 700 {directory}"
        )


def listen(server: grpc.aio.Server, address: LinkAddress) -> int:
    """Let the server listen there; gives the port (of TCP). Raises `UnsafeLink`."""
    prepare(address)
    if address.tls is None:
        credentials = grpc.local_server_credentials(grpc.LocalConnectionType.UDS)
    else:
        ca, certificate, key = _read(address.tls)
        credentials = grpc.ssl_server_credentials([(key, certificate)], ca, require_client_auth=True)
    try:
        return server.add_secure_port(address.target, credentials)
    except RuntimeError as error:
        raise UnsafeLink(f"media link {address.target} cannot be listened on: is another agent there?") from error


def dial(address: LinkAddress) -> grpc.aio.Channel:
    """A channel of its own for each attempt: gRPC's back-off between attempts, which is shared
    and grows to minutes, must not come on top of ours. Raises `UnsafeLink`."""
    check(address)
    options = (*_OPTIONS, ("grpc.use_local_subchannel_pool", 1))
    if address.tls is None:
        credentials = grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
    else:
        ca, certificate, key = _read(address.tls)
        credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    return grpc.aio.secure_channel(address.target, credentials, options=options)


def new_server() -> grpc.aio.Server:
    """A server with the link's limits and nothing on it."""
    return grpc.aio.server(options=_OPTIONS)


def _read(files: TlsFiles) -> tuple[bytes, bytes, bytes]:
    try:
        return files.ca.read_bytes(), files.certificate.read_bytes(), files.key.read_bytes()
    except OSError as error:
        raise UnsafeLink(f"media link: {error.filename} cannot be read: {error.strerror}") from error
