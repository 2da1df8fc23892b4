"""One connection to the event socket, read ahead of whoever parses it (pitfalls M6).

FreeSWITCH keeps 100,000 events for a listener that does not read, drops the rest without a word to it, and after
500 lost ones ends it. So the socket has a thread of its own, which does nothing but read: however long
the loop is busy, or stands still, what came waits in this process.
"""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from collections import deque
from collections.abc import Callable

READ_BYTES = 256 * 1024
HELD_MAX_BYTES = 512 * 1024 * 1024
"""200,000 events of 2.5 KB: as long as a loop may stand still under 1,000 events/s, three minutes. Beyond it the
connection is given up, and what is true is asked for."""
UNSENT_MAX_BYTES = 16 * 1024 * 1024
"""FreeSWITCH works a connection's commands off one by one; one that takes none for so long is given up."""
CONNECT_S = 5.0
_FRAME = b"Content-Type: text/event-plain\n"
"""Stands once in the head of each event, and in no value of one: there a blank is %20. Other frames are few, and a
longer text is found in half the time of a short one."""


class EslSocket:
    """Bytes in, ahead of the parse; bytes out, never waiting. Made inside a running loop.

    `wake` is called on the loop when something can be taken after nothing could, and at the end.
    """

    def __init__(self, connected: socket.socket, wake: Callable[[], None]) -> None:
        """Takes a connected, blocking socket and closes it by `close`."""
        self._socket = connected
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._chunks: deque[tuple[bytes, int]] = deque()
        self._held = self._frames = 0
        self._received = self._taken = 0
        self._over = False
        self._unsent = bytearray()
        self._thread = threading.Thread(target=self._read, name="esl-reader", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------ in

    @property
    def frames(self) -> int:
        """About how many frames were received and not taken."""
        return self._frames

    @property
    def received(self) -> int:
        """Pieces that came so far."""
        return self._received

    @property
    def taken(self) -> int:
        """Those of them that were taken."""
        return self._taken

    @property
    def over(self) -> bool:
        """The connection has ended, and all that came was taken."""
        return self._over and not self._chunks

    @property
    def more(self) -> bool:
        """Something came that was not taken: it may lie in the kernel still, where the whole process stood still."""
        if self._received > self._taken:
            return True
        if self._over:
            return False
        kernel = select.poll()
        kernel.register(self._socket, select.POLLIN)
        return bool(kernel.poll(0))

    def take(self) -> bytes | None:
        """What came next; None if nothing did."""
        with self._lock:
            if not self._chunks:
                return None
            data, frames = self._chunks.popleft()
            self._held -= len(data)
            self._frames -= frames
            self._taken += 1
            return data

    def _read(self) -> None:
        """The thread. While it waits for the switch it holds nothing that the loop needs."""
        going = True
        while going:
            try:
                data = self._socket.recv(READ_BYTES)
            except OSError:
                data = b""
            frames = data.count(_FRAME)
            with self._lock:
                wake = not self._chunks
                if data:
                    self._chunks.append((data, frames))
                    self._held += len(data)
                    self._frames += frames
                    self._received += 1
                going = bool(data) and self._held <= HELD_MAX_BYTES
                self._over = not going
            if wake or not going:
                self._loop.call_soon_threadsafe(self._wake)

    # ------------------------------------------------------------------ out

    def send(self, data: bytes) -> None:
        """Send now what the kernel takes, and the rest when it can. A connection that is gone is told by its end."""
        if not self._unsent:
            data = data[self._send_some(data) :]
            if data:
                self._loop.add_writer(self._socket, self._send_rest)
        self._unsent += data
        if len(self._unsent) > UNSENT_MAX_BYTES:
            self.give_up()

    def _send_rest(self) -> None:
        del self._unsent[: self._send_some(bytes(self._unsent))]
        if not self._unsent:
            self._loop.remove_writer(self._socket)

    def _send_some(self, data: bytes) -> int:
        try:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)  # the reader meets the same end, and tells

    # ------------------------------------------------------------------ end

    def give_up(self) -> None:
        """Read and send no more: the end will be told, after what came before it."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the other side was first

    def close(self) -> None:
        """Give socket and thread back."""
        if self._unsent:
            self._loop.remove_writer(self._socket)
            self._unsent.clear()
        self.give_up()
        self._thread.join()
        self._socket.close()


async def connected(host: str, port: int) -> socket.socket:
    """A connected, blocking socket. Raises OSError, TimeoutError among them."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        async with asyncio.timeout(CONNECT_S):
            await asyncio.get_running_loop().sock_connect(made, (host, port))
        made.setblocking(True)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        made.close()
        raise
    return made
