"""Every parser that reads what others wrote, with what must hold whatever it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.fuzz import api, audio, node, records, sip


@dataclass(frozen=True, slots=True)
class Target:
    """What is fuzzed. `check` raises AssertionError, or whatever the parser let through."""

    check: Callable[[bytes], None]
    max_bytes: int = 4096


TARGETS = {
    "sip_message": Target(sip.message),
    "sip_endpoint": Target(sip.endpoint, 8192),
    "registrar": Target(sip.registrar, 8192),
    "node": Target(node.node, 8192),
    "sdp": Target(audio.sdp),
    "rtp": Target(audio.packets),
    "wav": Target(audio.wav, 1024),
    "flow": Target(api.flow),
    "rest": Target(api.rest),
    "page": Target(api.page, 1100),
    "link": Target(records.link),
    "log": Target(records.log),
    "snapshot": Target(records.canonical),
    "journal": Target(records.journal),
}
