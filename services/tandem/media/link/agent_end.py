"""The agent's end of a stream, sans-I/O: channels of owners become links of the agent (spine 7).

A link's name is `{stream}.{channel}`. What a peer sends is judged here as far as it concerns the
stream; `StreamFault` means: drop it, the owners' end dials again.
"""

from __future__ import annotations

from tandem.core.ports.media import FromNode, Hello, ToNode
from tandem.media.link.stream import FRAMES_PER_MESSAGE, StreamFault
from tandem.runtime.media_codec import (
    Close,
    FromNodeFrame,
    MediaCodecError,
    Ping,
    Pong,
    ToNodeFrame,
    decode_to_node,
    encode_from_node,
)

CHANNELS_MAX = 512
"""Open channels of one stream: a process owns 64 shards of a few groups at most."""


class AgentStream:
    """One process of owners, connected."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._open: dict[int, str] = {}
        self._channels: dict[str, int] = {}
        self._highest = 0
        self._out: list[tuple[int, FromNodeFrame]] = []

    @property
    def links(self) -> tuple[str, ...]:
        """The open links, to be closed when the stream is gone."""
        return tuple(self._channels)

    @property
    def waiting(self) -> bool:
        """Whether frames wait to be sent."""
        return bool(self._out)

    def receive(self, data: bytes, now_ms: int, *, draining: bool = False) -> list[tuple[str, ToNode | Close]]:
        """Frames of links, in order; `Close` ends its link. `now_ms` is CLOCK_BOOTTIME; who asks for it is told
        whether the node is `draining`, too. Raises `StreamFault`."""
        try:
            frames = decode_to_node(data)
        except MediaCodecError as error:
            raise StreamFault(f"an owner sent what this release cannot read: {error}") from error
        heard: list[tuple[str, ToNode | Close]] = []
        for channel, frame in frames:
            if isinstance(frame, Ping):
                self._out.append((0, Pong(frame.sent_ms, now_ms, draining)))
                continue
            link = self._link(channel, frame)
            if link is not None:
                heard.append((link, frame))
        return heard

    def send(self, link: str, frame: FromNode) -> None:
        """Send over a link. One that was closed meanwhile has nobody to hear it."""
        channel = self._channels.get(link)
        if channel is not None:
            self._out.append((channel, frame))

    def close(self, link: str, reason: str) -> None:
        """End a link of this stream. Idempotent."""
        channel = self._channels.pop(link, None)
        if channel is not None:
            del self._open[channel]
            self._out.append((channel, Close(reason)))

    def take(self) -> list[bytes]:
        """Messages to be sent, in order."""
        frames, self._out = self._out, []
        return [
            encode_from_node(frames[start : start + FRAMES_PER_MESSAGE])
            for start in range(0, len(frames), FRAMES_PER_MESSAGE)
        ]

    def _link(self, channel: int, frame: ToNodeFrame) -> str | None:
        link = self._open.get(channel)
        if link is None and channel <= self._highest:
            return None
        if link is None:
            if not isinstance(frame, Hello) or len(self._open) >= CHANNELS_MAX:
                raise StreamFault(f"a channel begins with Hello, and {CHANNELS_MAX} may be open")
            self._highest = channel
            link = self._open[channel] = f"{self.name}.{channel}"
            self._channels[link] = channel
        elif isinstance(frame, Close):
            del self._open[channel]
            del self._channels[link]
        return link
