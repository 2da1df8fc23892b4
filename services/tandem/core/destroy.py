"""The effect that every service may ask of the receiver of erasures."""

from __future__ import annotations

from dataclasses import dataclass

ERASE = "erase"
"""Kind of the effect."""
ASK_AGAIN_MS = 60_000
"""The receiver is asked again after so long; it repeats by itself what its storage refuses."""


@dataclass(frozen=True, slots=True)
class DestroyKeys:
    """Destroy these data keys, so that no byte of them is left. Done twice it changes nothing."""

    keys: tuple[str, ...]
