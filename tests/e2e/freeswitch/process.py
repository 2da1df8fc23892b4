"""Where a process listens and writes, as the kernel says."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

LISTEN = "0A"
"""A TCP socket's state, include/net/tcp_states.h."""


def bound(pid: int) -> set[tuple[str, str, int]]:
    """(tcp or udp, address, port) of each socket on which that process takes what comes from anybody."""
    inodes = {link.readlink().name for link in (Path("/proc") / str(pid) / "fd").iterdir() if link.is_symlink()}
    found = set()
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        for line in (Path("/proc/net") / kind).read_text().splitlines()[1:]:
            columns = line.split()
            if f"socket:[{columns[9]}]" not in inodes or (kind.startswith("tcp") and columns[3] != LISTEN):
                continue
            address, _, port = columns[1].partition(":")
            found.add((kind[:3], _text(address), int(port, 16)))
    return found


def written_by(pid: int) -> set[Path]:
    """What that process holds open for writing."""
    of = Path("/proc") / str(pid)
    found = set()
    for link in (of / "fd").iterdir():
        flags = next(line for line in (of / "fdinfo" / link.name).read_text().splitlines() if line.startswith("flags:"))
        if int(flags.split()[1], 8) & (os.O_WRONLY | os.O_RDWR):
            found.add(link.readlink())
    return found


def _text(address: str) -> str:
    """The kernel writes words of 32 bits, each with its lowest byte first."""
    raw = bytes.fromhex(address)
    turned = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    return str(ipaddress.ip_address(turned))
