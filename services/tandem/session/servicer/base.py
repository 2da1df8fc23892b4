"""What the parts of the session servicer share: a contact as its owner or history knows it (rule 13)."""

from __future__ import annotations

from collections.abc import Sequence

from tandem.core.errors import VIEW_BEHIND, Rejected
from tandem.core.ports.store import Store
from tandem.runtime import positions
from tandem.runtime.host import Host
from tandem.runtime.interceptors import Call
from tandem.runtime.ledger import Ledger
from tandem.session import views
from tandem.session.servicer.showing import id_of
from tandem.session.views import ContactRow, Phase

VIEW_WAIT_S = 2.0
"""How long a reader waits for the view to reach what its owner knows (rule 13)."""


class Base:
    """Finds contacts for a call."""

    def __init__(self, host: Host, store: Store, group: str) -> None:
        self._host, self._store, self._group = host, store, group

    async def _find(self, contact: str, call: Call) -> ContactRow | None:
        live = await self._host.query(call.tenant, "contact", lambda ledger: live_row(ledger, call.tenant, contact))
        row: ContactRow | None = call.answered(live)
        if row is not None and row.phase is not Phase.ENDED:
            return row
        try:
            await self._caught_up(call)
        except Rejected:
            if row is None:
                raise
            return row  # history is late; the owner still knows how it ended
        body = await self._store.get(views.CONTACTS, (call.tenant, contact))
        return None if body is None else views.ROWS.decode(body)

    async def _caught_up(self, call: Call) -> None:
        """Until the view has what the owner knew, and what the caller has seen."""
        wanted = [call.position] if call.position else []
        if call.min_position:
            wanted.append(call.min_position)
        for token in wanted:
            position = positions.decode(token)
            partition = f"{position.group}/{position.shard}"
            if position.group == self._group and not await self._store.wait(
                views.VIEW, partition, position.n, VIEW_WAIT_S
            ):
                raise Rejected(VIEW_BEHIND, "history has not caught up yet; repeat in a moment")

    async def _aside(self, tenant: str, contacts: Sequence[str]) -> list[ContactRow]:
        """Rows of contacts in quarantine: the owner knows no more of them than that they are."""
        found = [await self._store.get(views.CONTACTS, (tenant, contact)) for contact in contacts]
        return [views.ROWS.decode(body) for body in found if body is not None]


def live_row(ledger: Ledger, tenant: str, contact: str) -> ContactRow | None:
    """A contact as its owner knows it; None for one that it does not have, or in quarantine."""
    aggregate = ledger.aggregate(tenant, f"contact/{contact}")
    return None if aggregate is None or aggregate.quarantine is not None else views.row_of(aggregate.state)


def live_rows(ledger: Ledger, tenant: str) -> tuple[list[ContactRow], list[str]]:
    """Rows of live contacts, and the ids of those in quarantine."""
    rows: list[ContactRow] = []
    aside: list[str] = []
    for (of, stream), aggregate in ledger.aggregates.items():
        if of != tenant or not stream.startswith("contact/"):
            continue
        row = views.row_of(aggregate.state)
        if aggregate.quarantine is not None:
            aside.append(id_of(stream))
        elif row is not None and row.phase is not Phase.ENDED:
            rows.append(row)
    return rows, aside
