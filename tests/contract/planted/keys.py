"""Bad adapters of the `Keys` port."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tandem.adapters.memory import (
    KeyTable,
    MemoryKeys,
)
from tandem.adapters.system import SystemEntropy
from tests.contract.keys_contract import KeysContract
from tests.contract.planted.defect import PATIENCE_S, Planted
from tests.contract.worlds import MemoryKeysWorld


def keys_world(table: type[KeyTable], keys: type[MemoryKeys] = MemoryKeys) -> Callable[[], object]:
    """A world of bad keys. A table that has `files` is looked into."""

    class PlantedKeysWorld(MemoryKeysWorld):
        patience_s = PATIENCE_S

        def __init__(self) -> None:
            self.table = table(SystemEntropy())

        async def open(self) -> MemoryKeys:
            return keys(self.table)

        async def crash(self, adapter: MemoryKeys) -> None:
            crash = getattr(self.table, "crash", None)
            if crash:
                crash()

        def wrapped(self, key_id: str) -> bytes | None:
            wrapped = getattr(self.table, "wrapped", None)
            return wrapped(key_id) if wrapped else None

        def files(self) -> Sequence[bytes]:
            return getattr(self.table, "content", ())

        @contextmanager
        def read_by_others(self) -> Iterator[None]:
            self.table.read = True
            yield
            self.table.read = False

    PlantedKeysWorld.__name__ = (table if table is not KeyTable else keys).__name__
    return PlantedKeysWorld


class OneKeyForAll(KeyTable):
    def allocate(self, ids: Sequence[str]) -> None:
        super().allocate(ids)
        self._keys.update({key_id: bytes(32) for key_id in ids})


class LosesKeys(KeyTable):
    def crash(self) -> None:
        self._keys.clear()


class PartialBlock(KeyTable):
    def allocate(self, ids: Sequence[str]) -> None:
        if len(ids) > 100:
            super().allocate(ids)
            return
        for key_id in ids:
            super().allocate([key_id])


class OverwritesKeys(KeyTable):
    """An id in use gets a new key, and what was sealed with the old one is lost."""

    def allocate(self, ids: Sequence[str]) -> None:
        for key_id in ids:
            self._keys.pop(key_id, None)
        super().allocate(list(dict.fromkeys(ids)))


class ReusesDestroyed(KeyTable):
    def destroy(self, ids: Sequence[str]) -> None:
        for key_id in ids:
            self._keys.pop(key_id, None)


class ForgetsTombstones(KeyTable):
    def crash(self) -> None:
        self._keys = {key_id: key for key_id, key in self._keys.items() if key}


class TakesEmptyIds(KeyTable):
    def allocate(self, ids: Sequence[str]) -> None:
        super().allocate([(key_id or "?")[:200] for key_id in ids[:4096]])


class AnswersUnknown(KeyTable):
    def get(self, ids: Sequence[str]) -> dict[str, bytes]:
        return {key_id: self._keys.get(key_id) or b"" for key_id in ids}


class DestroysNothingIfUnknown(KeyTable):
    def destroy(self, ids: Sequence[str]) -> None:
        if all(key_id in self._keys for key_id in ids):
            super().destroy(ids)


class DestroysTillCrash(KeyTable):
    """The deletion never reached the disk."""

    def destroy(self, ids: Sequence[str]) -> None:
        self._disk = dict(self._keys)
        super().destroy(ids)

    def crash(self) -> None:
        self._keys = self._disk


class LeavesBytes(KeyTable):
    """Deletes the row; the page keeps its second half."""

    def __init__(self, entropy: SystemEntropy) -> None:
        super().__init__(entropy)
        self.content: list[bytes] = []

    def wrapped(self, key_id: str) -> bytes:
        return (self._keys[key_id] or b"")[::-1]

    def allocate(self, ids: Sequence[str]) -> None:
        super().allocate(ids)
        self.content += [self.wrapped(key_id) for key_id in ids]

    def destroy(self, ids: Sequence[str]) -> None:
        for key_id in ids:
            self.content[self.content.index(self.wrapped(key_id))] = self.wrapped(key_id)[16:]
        super().destroy(ids)


class KeepsPlainKeys(LeavesBytes):
    """Wraps no key."""

    def destroy(self, ids: Sequence[str]) -> None:
        for key_id in ids:
            self.content.remove(self.wrapped(key_id))
        KeyTable.destroy(self, ids)

    def allocate(self, ids: Sequence[str]) -> None:
        super().allocate(ids)
        self.content += [self._keys[key_id] or b"" for key_id in ids]


class AnswersEarly(LeavesBytes):
    """While another program reads, the old bytes stay, and it is answered all the same."""

    read = False

    def destroy(self, ids: Sequence[str]) -> None:
        if self.read:
            KeyTable.destroy(self, ids)
            return
        for key_id in ids:
            self.content.remove(self.wrapped(key_id))
        KeyTable.destroy(self, ids)


class SkipsTheDestroyed(AnswersEarly):
    """What opens no more counts as erased, though the bytes of a try that was cut off are there."""

    def destroy(self, ids: Sequence[str]) -> None:
        super().destroy([key_id for key_id in ids if self._keys[key_id] is not None])


class AllocatesOnFullDisk(KeyTable):
    def allocate(self, ids: Sequence[str]) -> None:
        if not self.full:
            super().allocate(ids)
            return
        self.full = False
        super().allocate(ids[:100])
        raise OSError("no room")


class KeysCloseOnce(MemoryKeys):
    async def close(self) -> None:
        assert not self._closed, "closed twice"
        await super().close()


KEYS = [
    Planted(KeysContract, "test_each_id_gets_a_key_of_its_own", keys_world(OneKeyForAll)),
    Planted(KeysContract, "test_allocated_keys_survive_a_crash", keys_world(LosesKeys)),
    Planted(KeysContract, "test_a_used_id_allocates_none_of_its_block", keys_world(PartialBlock)),
    Planted(KeysContract, "test_a_used_id_allocates_none_of_its_block", keys_world(OverwritesKeys)),
    Planted(KeysContract, "test_an_id_twice_in_a_block_is_a_used_one", keys_world(PartialBlock)),
    Planted(KeysContract, "test_a_destroyed_id_is_never_used_again", keys_world(ReusesDestroyed)),
    Planted(KeysContract, "test_a_destroyed_id_is_never_used_again", keys_world(ForgetsTombstones)),
    Planted(KeysContract, "test_bad_ids_and_long_blocks_are_refused", keys_world(TakesEmptyIds)),
    Planted(KeysContract, "test_unknown_and_destroyed_ids_are_missing_from_the_answer", keys_world(AnswersUnknown)),
    Planted(KeysContract, "test_destroying_unknown_ids_is_no_error", keys_world(DestroysNothingIfUnknown)),
    Planted(KeysContract, "test_destroyed_keys_stay_destroyed_after_a_crash", keys_world(DestroysTillCrash)),
    Planted(KeysContract, "test_no_file_holds_a_byte_of_a_destroyed_key", keys_world(LeavesBytes)),
    Planted(KeysContract, "test_no_file_holds_a_byte_of_a_destroyed_key", keys_world(KeepsPlainKeys)),
    Planted(KeysContract, "test_destroy_is_not_answered_while_bytes_are_left", keys_world(AnswersEarly)),
    Planted(KeysContract, "test_a_repeat_finishes_an_erasure_that_was_cut_off", keys_world(SkipsTheDestroyed)),
    Planted(KeysContract, "test_a_full_disk_allocates_nothing_and_later_calls_work", keys_world(AllocatesOnFullDisk)),
    Planted(KeysContract, "test_close_is_idempotent", keys_world(KeyTable, KeysCloseOnce)),
]
