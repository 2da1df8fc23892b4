"""gRPC servicer: protobuf <-> commands and queries, nothing more."""

from tandem.tenant.servicer.bootstrap import create_key, create_tenant, ensure_key, ensure_tenant, new_secret
from tandem.tenant.servicer.retention import RETENTION_API, RetentionServicer
from tandem.tenant.servicer.service import API, TenantServicer

__all__ = [
    "API",
    "RETENTION_API",
    "RetentionServicer",
    "TenantServicer",
    "create_key",
    "create_tenant",
    "ensure_key",
    "ensure_tenant",
    "new_secret",
]
