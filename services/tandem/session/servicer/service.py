"""tandem.api.session.v1.SessionService."""

from __future__ import annotations

from google.protobuf.descriptor import ServiceDescriptor

from tandem.api.session.v1 import session_service_pb2
from tandem.session.servicer.lists import ListCalls
from tandem.session.servicer.orders import OrderCalls
from tandem.session.servicer.watch import WatchCalls

API: ServiceDescriptor = session_service_pb2.DESCRIPTOR.services_by_name["SessionService"]
"""What `Api.add` is told to serve."""


class SessionServicer(ListCalls, OrderCalls, WatchCalls):
    """All methods of the service."""
