"""A flow in a file, judged as the API would judge it (`tandem flow check`)."""

from __future__ import annotations

from collections.abc import Collection

from google.protobuf import json_format

from tandem.api.tenant.v1 import flow_pb2
from tandem.core.errors import Rejected
from tandem.core.flow import Fault, QueueStep, faults
from tandem.tenant.servicer.flows import steps_from

MAX_BYTES = 1024 * 1024


def flow_faults(text: str, prompts: Collection[str]) -> list[Fault]:
    """All faults of a flow as JSON, the body that REST takes: `{"steps": [...]}`. Queues are
    taken to exist."""
    if len(text) > MAX_BYTES:
        return [Fault("", f"the file is over {MAX_BYTES} bytes; is this the flow?")]
    try:
        flow = json_format.Parse(text, flow_pb2.Flow())
        steps = steps_from(flow.steps, _tenant(flow))
    except json_format.ParseError as error:
        return [Fault("", " ".join(str(error).split()))]
    except Rejected as error:
        return [Fault(path, problem) for path, problem in error.metadata.items()]
    queues = {step.body.queue for step in steps if isinstance(step.body, QueueStep)}
    return faults(steps, queues, prompts)


def _tenant(flow: flow_pb2.Flow) -> str:
    """The tenant that the first queue is of; the others must be the same."""
    names = (step.queue.queue for step in flow.steps if step.HasField("queue"))
    parts = next(names, "").split("/")
    return parts[1] if len(parts) == 4 else ""
