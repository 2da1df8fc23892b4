"""The one word of an operator's that outlives the host: the node takes no new callers.

The journal's key lies in memory, so that after a boot the journal begins anew, and nothing of it is wanted: the calls
are gone. But whoever empties a node to mend its host wants it empty when the host is back.
"""

from __future__ import annotations

import os
from pathlib import Path

_TEXT = b"This node takes no new callers, by order of its operator: tandem admin drain --undo\n"


class DrainNote:
    """A file that is there while the node is drained. Where the host keeps no files, it is not kept."""

    def __init__(self, path: Path) -> None:
        """In a directory that is there."""
        self._path = path

    @property
    def stands(self) -> bool:
        """Whether the node was drained when it was last known."""
        return self._path.exists()

    def write(self, on: bool) -> None:
        """Make it so, also after a power cut. Raises OSError."""
        if on == self.stands:
            return
        if on:
            # There is nothing in it that could be half written: that it is there is all it says.
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(file, _TEXT)
            finally:
                os.close(file)
        else:
            self._path.unlink(missing_ok=True)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
