"""What became of a seed."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Result:
    """One seed. `violation` is empty if everything held; `digest` is of all that its logs hold; `cpu_s` is
    processor time, which no two runs have alike."""

    seed: int
    shape: str
    minutes: int = 10
    cpu_s: float = 0.0
    simulated_ms: int = 0
    commits: int = 0
    calls: int = 0
    crashes: int = 0
    violation: str = ""
    story: list[str] = field(default_factory=list)
    branches: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    pairs: dict[tuple[str, str], int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)  # contact -> outcome
    digest: str = ""
