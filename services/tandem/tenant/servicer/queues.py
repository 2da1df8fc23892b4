"""Queues."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from tandem.api.tenant.v1 import queue_pb2
from tandem.api.tenant.v1 import tenant_service_pb2 as pb
from tandem.runtime.interceptors import Call
from tandem.runtime.pages import page_of
from tandem.tenant.domain.rules import known
from tandem.tenant.domain.words import CreateQueue, DeleteQueue, UpdateQueue
from tandem.tenant.servicer import resources
from tandem.tenant.servicer.base import Base
from tandem.tenant.servicer.forms import changed, id_of, millis

DEFAULT_RING_MS = 15_000
_FIELDS = {"display_name": "display_name", "ring_timeout": "ring_timeout_ms", "wrap_up": "wrap_up_ms"}


class QueueCalls(Base):
    """Queues of the tenant's configuration."""

    async def get_queue(self, request: pb.GetQueueRequest, call: Call) -> queue_pb2.Queue:
        """One."""
        row = await self._read(call, lambda state: known(state.queues, id_of(request.name)))
        return resources.queue(call.tenant, row)

    async def list_queues(self, request: pb.ListQueuesRequest, call: Call) -> pb.ListQueuesResponse:
        """All, by id."""
        page = page_of(request, call.tenant)
        rows, token = await self._read(call, lambda state: page.of(state.queues))
        queues = [resources.queue(call.tenant, row) for row in rows]
        return pb.ListQueuesResponse(queues=queues, next_page_token=token)

    async def create_queue(self, request: pb.CreateQueueRequest, call: Call) -> queue_pb2.Queue:
        """A new one."""
        ring_ms, wrap_up_ms = _times(request.queue)
        command = CreateQueue(request.queue_id, request.queue.display_name, ring_ms, wrap_up_ms)
        return resources.queue(call.tenant, await self._change(call, command, request.wait_live))

    async def update_queue(self, request: pb.UpdateQueueRequest, call: Call) -> queue_pb2.Queue:
        """Change one."""
        given = request.queue
        fields = changed(request.update_mask, given, _FIELDS)
        command = UpdateQueue(id_of(given.name), given.etag, fields, given.display_name, *_times(given))
        return resources.queue(call.tenant, await self._change(call, command, request.wait_live))

    async def delete_queue(self, request: pb.DeleteQueueRequest, call: Call) -> Empty:
        """Delete one that nothing names."""
        await self._change(call, DeleteQueue(id_of(request.name), request.etag), request.wait_live)
        return Empty()


def _times(queue: queue_pb2.Queue) -> tuple[int, int]:
    """(ring time-out, wrap-up) in ms."""
    ring = millis(queue.ring_timeout, "ring_timeout") if queue.HasField("ring_timeout") else DEFAULT_RING_MS
    return ring, millis(queue.wrap_up, "wrap_up")
