"""gRPC servicer: protobuf <-> commands and queries, nothing more."""

from tandem.tenant.servicer.bootstrap import create_key, create_tenant
from tandem.tenant.servicer.service import API, TenantServicer

__all__ = ["API", "TenantServicer", "create_key", "create_tenant"]
