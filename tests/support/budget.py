"""How many examples a property test may take, and processes the seeds, so that all of them together stay quick.

`HYPOTHESIS_PROFILE=thorough` is for the night.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_FACTOR = 20 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 1
PROCESSES = min(2, os.cpu_count() or 1)
"""For seeds of the simulator, beside each other."""
_CALM = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)


def examples(count: int, steps: int = 50) -> settings:
    """`count` examples, of a state machine of `steps` steps each; no deadline: machines differ."""
    return settings(max_examples=count * _FACTOR, stateful_step_count=steps, deadline=None, suppress_health_check=_CALM)
