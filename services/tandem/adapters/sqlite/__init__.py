"""A cell in one directory: log, keys and views in SQLite files of their own.

`log.db` and `keys.db` are the cell; `views.db` can be dropped and rebuilt. One control
process holds `log.lock`, and so all three. Open the log first: it holds the lock and
decides whether the directory is a cell. Nothing else may write these files while Tandem
runs; a reader (a backup) may.
"""

from tandem.adapters.sqlite.database import CannotOpen
from tandem.adapters.sqlite.following import FollowedKeys, FollowedLog
from tandem.adapters.sqlite.keys import SqliteKeys
from tandem.adapters.sqlite.lock import CellLock, LogBusy, hold
from tandem.adapters.sqlite.log import SqliteLog
from tandem.adapters.sqlite.reading import KeyFile, LogFile
from tandem.adapters.sqlite.store import SqliteStore

__all__ = [
    "CannotOpen",
    "CellLock",
    "FollowedKeys",
    "FollowedLog",
    "KeyFile",
    "LogBusy",
    "LogFile",
    "SqliteKeys",
    "SqliteLog",
    "SqliteStore",
    "hold",
]
