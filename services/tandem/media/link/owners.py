"""The control process' end of all links: joins the shards of this process to the media nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import structlog

from tandem.core import trace
from tandem.core.errors import Rejected
from tandem.core.points import Point, Points
from tandem.core.ports.clock import Clock
from tandem.core.ports.entropy import Entropy
from tandem.core.ports.media import Ack, Command, Directory, ListLegs
from tandem.media.link.address import LinkAddress
from tandem.media.link.dial import NodeDialer
from tandem.media.link.owner_end import (
    Deposed,
    Heard,
    KeptHeard,
    LegsHeard,
    LinkInput,
    NodeDown,
    NodeDrains,
    NodeUp,
    OwnerLink,
    OwnerStream,
    opened_verb,
)
from tandem.runtime.driver import ShardDriver
from tandem.runtime.outputs import Perform, Taken
from tandem.runtime.retry_driver import Retry
from tandem.runtime.step import Offer
from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.meters import Reading

_log = structlog.get_logger(__name__)

AGAIN_S, AGAIN_MAX_S = 0.5, 5.0
"""Pauses before secrets are read again after their storage failed."""

Translate = Callable[[Heard], Offer]
"""A node's event as an input of a shard."""
MakeDirectory = Callable[[ShardDriver], Awaitable[Directory]]
"""What a node must know of a shard; raises errors.Rejected while the shard is not live."""


class MediaOwners:
    """A `Receiver` for the effects of kind `media`. `run` is a task of whoever made it."""

    def __init__(
        self,
        nodes: Mapping[str, LinkAddress],
        clock: Clock,
        entropy: Entropy,
        points: Points,
        translate: Translate,
        directory: MakeDirectory,
    ) -> None:
        self._clock, self._translate, self._directory, self._points = clock, translate, directory, points
        self._dialers = {
            node: NodeDialer(
                OwnerStream(node, clock.boot_id()),
                address,
                self._told,
                clock.boottime_ms,
                lambda: int.from_bytes(entropy.secret(4), "big") / 2**32,
                self._wrote,
            )
            for node, address in nodes.items()
        }
        self._links: dict[tuple[ShardDriver, str], OwnerLink] = {}
        self._drivers: dict[OwnerLink, ShardDriver] = {}
        self._stale: dict[ShardDriver, asyncio.Event] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._unsent = 0
        self._refreshing: set[ShardDriver] = set()
        self._refreshed = asyncio.Event()

    async def run(self) -> None:
        """Keep one stream to each node, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for driver in self._stale:
                tasks.create_task(self._refresh(driver))
            for dialer in self._dialers.values():
                tasks.create_task(dialer.run())
            try:
                await asyncio.Event().wait()
            finally:
                self._tasks = None  # a shard that is claimed at the very end begins nothing here any more

    @property
    def is_up(self) -> bool:
        """Whether each shard has a link to each node that it knows."""
        return bool(self._links) and all(link.up for link in self._links.values())

    def readings(self) -> Iterator[Reading]:
        """The links, for `/metrics`."""
        for node, dialer in self._dialers.items():
            yield Reading(names.LINK_CONNECTS, dialer.connects, (node,))
            yield Reading(names.LINK_DRAINING, float(dialer.draining), (node,))
        for (driver, node), link in self._links.items():
            yield Reading(names.LINK_UP, float(link.up), (node, str(driver.partition.shard)))

    # ---------------------------------------------------------------- Receiver

    def introduce(self, driver: ShardDriver, node: str, epoch: int) -> None:
        """See `runtime.receiver.Receiver`."""
        link = OwnerLink(
            node,
            driver.partition,
            epoch,
            lambda incarnation: driver.marks_of(node, incarnation),
            driver.shard_time,
        )
        self._links[driver, node], self._drivers[link] = link, driver
        if driver not in self._stale:
            self._stale[driver] = asyncio.Event()
            if self._tasks is not None:
                self._tasks.create_task(self._refresh(driver))
        self._dialers[node].attach(link)

    def perform(self, driver: ShardDriver, order: Perform) -> None:
        """See `runtime.receiver.Receiver`."""
        payload = order.payload
        context = order.trace and trace.child(order.trace, order.key)
        command = Command(order.tenant, order.key, payload.leg, opened_verb(payload.verb, driver.key), context)
        if self._send(driver, payload.node, command):
            self._unsent += 1

    def taken(self, driver: ShardDriver, taken: Taken) -> None:
        """See `runtime.receiver.Receiver`."""
        kind, _, rest = taken.source.partition("/")
        if kind == "media":
            node, incarnation, _ = rest.split("/", 2)
            link = self._links.get((driver, node))
            # Numbers of an incarnation that is over mean other events to the node of now.
            if link is not None and link.incarnation == incarnation:
                self._send(driver, node, Ack(taken.tenant, taken.number))
        elif kind == "tenant" and driver in self._stale:
            self._stale[driver].set()

    def ask_legs(self, driver: ShardDriver, node: str) -> None:
        """See `runtime.receiver.Receiver`."""
        self._send(driver, node, ListLegs())

    def dropped(self, driver: ShardDriver, why: str) -> None:
        """See `runtime.receiver.Receiver`."""
        for (owner, node), link in list(self._links.items()):
            if owner is driver:
                self._dialers[node].detach(link, why)
                del self._links[owner, node], self._drivers[link]

    def _send(self, driver: ShardDriver, node: str, frame: Any) -> bool:
        """A node that is away gets nothing: all that is pending is offered when it is back."""
        link = self._links.get((driver, node))
        return link is not None and self._dialers[node].send(link, frame)

    # ---------------------------------------------------------------- what the links bring

    def _told(self, inputs: Sequence[tuple[OwnerLink, LinkInput]]) -> None:
        for link, told in inputs:
            driver = self._drivers.get(link)
            if driver is not None:
                self._one(driver, told)

    def _one(self, driver: ShardDriver, told: LinkInput) -> None:
        match told:
            case Heard():
                driver.offer(self._translate(told))
            case NodeUp(node, incarnation, draining, takes_over):
                _log.info("media node up", node=node, partition=str(driver.partition))
                driver.told(lambda shard: shard.node_up(node, incarnation, draining=draining, takes_over=takes_over))
                self._stale[driver].set()
            case KeptHeard(node):
                driver.told(lambda shard: shard.node_kept(node))
            case LegsHeard(node, legs):
                driver.told(lambda shard: shard.node_legs(node, legs))
            case NodeDown(node, reason):
                _log.warning("media node down", node=node, partition=str(driver.partition), reason=reason)
                driver.told(lambda shard: shard.node_down(node))
            case NodeDrains(node, draining):
                driver.told(lambda shard: shard.node_drains(node, draining))
                if draining:
                    _log.info("media node takes no new callers", node=node, partition=str(driver.partition))
                else:
                    _log.info("media node takes callers again", node=node, partition=str(driver.partition))
            case Deposed(node, highest):
                driver.lose(f"node {node} knows epoch {highest}")

    def _wrote(self) -> None:
        """What was queued has been written to the stream."""
        for _ in range(self._unsent):
            self._points.reach(Point.EFFECT_SENT)
        self._unsent = 0

    # ---------------------------------------------------------------- directory

    async def told(self, driver: ShardDriver) -> None:
        """Until the nodes that are up have been sent what the shard durably knows."""
        while (stale := self._stale.get(driver)) is not None and (stale.is_set() or driver in self._refreshing):
            await self._refreshed.wait()

    async def _refresh(self, driver: ShardDriver) -> None:
        """Send the directory after each change, coalesced, to each node that is up."""
        stale, retry = self._stale[driver], Retry(AGAIN_S, AGAIN_MAX_S)
        while True:
            await stale.wait()
            stale.clear()
            self._refreshing.add(driver)
            try:
                await driver.live()
                directory = await self._directory(driver)
                for (owner, node), link in self._links.items():
                    if owner is driver:
                        self._dialers[node].send(link, directory)
                retry.reset()
            except Rejected as error:
                # The shard was lost; its next links come up and ask again.
                _log.info("no directory", partition=str(driver.partition), why=error.reason.name)
            except OSError as error:
                _log.error("no directory", partition=str(driver.partition), error=str(error))
                await retry.pause()
                stale.set()
            finally:
                self._refreshing.discard(driver)
                self._refreshed.set()
                self._refreshed = asyncio.Event()
