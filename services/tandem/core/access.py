"""Who asks: roles and the holder of a credential (architecture: tenancy and security)."""

from __future__ import annotations

from enum import StrEnum

from tandem.core.values import dataclass

CELL_TENANT = "-"
"""Tenant of what concerns the whole cell: its own credentials, placement, claims of numbers."""


class Role(StrEnum):
    """What the holder of a credential is to a tenant."""

    AGENT = "AGENT"  # takes contacts; sees and changes what is its own
    SUPERVISOR = "SUPERVISOR"  # watches the live work and steps in
    ANALYST = "ANALYST"  # reads history and figures
    ADMIN = "ADMIN"  # configures the tenant
    PLATFORM = "PLATFORM"  # runs the cell; reads nothing of its tenants


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose credential a call came with. `credential` is unique in the cell (`tenant/key`),
    `agent` is set for the role agent alone; the tenant is `-` for the role platform."""

    tenant: str
    credential: str
    role: Role
    agent: str = ""

    @property
    def actor(self) -> str:
        """As the log names who asked."""
        return f"credentials/{self.credential}"
