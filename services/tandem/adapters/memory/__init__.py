"""The ports in memory: for the simulator, for tests, and for trying things out.

Each comes in two parts. A plain object holds what was stored and is used as it is by the
simulator, which has its own clock; it is the "disk" that survives a crash. A thin asyncio
adapter over it is one process's way to that disk.
"""

from tandem.adapters.memory.blobs import BlobTable, MemoryBlobs
from tandem.adapters.memory.keys import KeyTable, MemoryKeys
from tandem.adapters.memory.log import MemoryLog, MemoryPartitions
from tandem.adapters.memory.store import MemoryStore, RowTables

__all__ = [
    "BlobTable",
    "KeyTable",
    "MemoryBlobs",
    "MemoryKeys",
    "MemoryLog",
    "MemoryPartitions",
    "MemoryStore",
    "RowTables",
]
