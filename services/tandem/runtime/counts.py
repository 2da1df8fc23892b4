"""What a shard counts, as plain numbers (rule 12 and the branches of spine 10).

One object per shard of a process; it outlives the shard's loss and stands at 0 when the process
starts. The shard only adds; whoever exports the numbers reads them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """What ends in `_now` is how it stands; all else only ever grows."""

    inputs_refused: int = 0
    """Inputs whose decision raised, or that could not be read; their marks stand."""
    messages_refused: int = 0
    """Messages between deciders of the shard that were refused alone."""
    recovered: int = 0
    """Refusals after which the aggregate's `Recover` held."""
    quarantines: int = 0
    """Aggregates that were quarantined."""
    quarantined_now: int = 0
    """Aggregates in quarantine at the moment."""
    out_of_service_now: int = 0
    """Those of them that last: desks, receptions and the like, each a tenant that is not served."""
    barred_now: int = 0
    """1 while this process does not claim the shard, because too much would be quarantined."""
    quarantined_inputs: int = 0
    """Inputs and messages for quarantined aggregates: marked, and nothing else."""
    quarantines_lifted: int = 0
    """Tenant-wide aggregates that a new owner took back into service."""
    rebuilt: int = 0
    """Mutable states that were folded anew after an exception."""
    unread_history: int = 0
    """Aggregates with an event that this release cannot fold."""
    hop_limit: int = 0
    """Messages past the hop limit."""
    fair_turns: int = 0
    """Turns that ended with inputs of the tenant still waiting: others go first."""
    void_commits: int = 0
    """Own commits that did not count."""
    time_steps: int = 0
    """Times that shard time stepped because nobody was alive to carry it on."""
    hashes_differing: int = 0
    """Recorded state hashes that this process' own fold of the log does not give."""
    dropped: int = 0
    """Times that the shard was lost, for whatever reason."""


NAMES = tuple(field.name for field in dataclasses.fields(Counts))
"""Every number, in order."""
