"""`tandem flow check`."""

from __future__ import annotations

from pathlib import Path

from tandem.core.flow import Fault
from tandem.targets.groups import PROMPTS, prompt_names
from tandem.tenant.module import flow_faults


def check_flow(text: str, prompts_dir: Path | None = None) -> list[Fault]:
    """All faults of a flow as JSON. Prompts are those of the directory, or those that Tandem ships."""
    return flow_faults(text, prompt_names(prompts_dir or PROMPTS))
