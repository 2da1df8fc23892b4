"""A hot standby of a simulated cell: follows every partition a few records late, with the production
`Following`, and tells a process that takes over what it knows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from tandem.core.ports.log import Partition, Stored
from tandem.runtime.following import Ahead, Following
from tandem.runtime.service import Group
from tandem.simulation.chance import Chance
from tandem.simulation.invariants import Violation
from tandem.simulation.simlog import SimLog

LAG = 6
"""Records that it has not read yet, fewer than this."""


class HotStandby:
    """`follows(group)` are the groups whose messages a group takes; `keys` gets data keys."""

    def __init__(
        self,
        log: SimLog,
        groups: Mapping[Partition, Group],
        follows: Callable[[str], Sequence[str]],
        keys: Callable[[Sequence[str]], dict[str, bytes]],
        chance: Chance,
    ) -> None:
        self._log, self._keys, self._chance = log, keys, chance
        self._waiting: dict[Partition, deque[Stored]] = {}
        self._read: dict[Partition, int] = {}
        self._followings = {
            partition: Following(group, None, [Partition(sender, partition.shard) for sender in follows(group.name)])
            for partition, group in groups.items()
        }
        senders = (sender for one in self._followings.values() for sender in one.inboxes)
        for partition in dict.fromkeys((*groups, *senders)):
            self._waiting[partition], self._read[partition] = deque(), 0
            self._stored(partition)
        log.partitions.watch(self._stored)

    def ahead(self, partition: Partition) -> Ahead:
        """What is known of a partition. It goes on being followed: take a copy."""
        ahead = self._followings[partition].ahead()
        assert ahead is not None, "all that a simulated cell writes can be folded"
        return ahead

    def _stored(self, partition: Partition) -> None:
        if partition not in self._waiting:
            return
        records = self._log.partitions.records(partition, self._read[partition])
        waiting = self._waiting[partition]
        waiting.extend(records)
        if records:
            self._read[partition] = records[-1].offset
        lag = self._chance.below(LAG)
        while len(waiting) > lag:
            self._take(partition, waiting.popleft())

    def _take(self, partition: Partition, stored: Stored) -> None:
        for receiver, following in self._followings.items():
            if partition in following.inboxes:
                following.take_message(partition, stored)
                following.forget_taken(partition)
            if receiver == partition:
                for wrong in following.fold(stored):
                    raise Violation("the state hash holds", f"{partition} n={wrong.n}: a hot standby's differs")
                if wanted := following.wanted_keys():
                    following.keys_found(self._keys(wanted))
