"""Fuzz targets: session descriptions, RTP with digits, WAV files."""

from __future__ import annotations

from contextlib import suppress

from tandem.media.builtin.stream import Session, Stream
from tandem.wire import g711, rtp
from tandem.wire.dtmf import DIGITS
from tandem.wire.g711 import Law
from tandem.wire.sdp import Answer, Audio, Description, LocalAudio, Negotiation, SdpError, parse
from tandem.wire.wav import BadWav, read_wav

FRAME = 160


def sdp(data: bytes) -> None:
    """Reading is stable, writing what was read is a fixed point, and an agreement is one that can be used."""
    found = parse(data)
    assert parse(data) == found
    if isinstance(found, Description):
        wire = found.to_bytes()
        again = parse(wire)
        assert isinstance(again, Description), again
        assert again.to_bytes() == wire, "written and read again, it is another description"
    us = LocalAudio("127.0.0.1", 4000, ("PCMU", "PCMA"))
    negotiation = Negotiation(us, 1)
    answer = negotiation.answer(data)
    assert isinstance(answer, Answer | SdpError)
    if isinstance(answer, Answer):
        _usable(answer.audio)
        assert isinstance(parse(answer.sdp), Description), "our answer cannot be read"
        assert len(answer.sdp) < len(data) + 2000, "our answer is much longer than the offer"
    offering = Negotiation(us, 2)
    offering.offer()
    accepted = offering.accept(data)
    assert isinstance(accepted, Audio | SdpError)
    if isinstance(accepted, Audio):
        _usable(accepted)
    # Whatever came, the session can be offered again, and a sound phone agrees.
    assert isinstance(Negotiation(us, 3).answer(negotiation.offer()), Answer)


def _usable(audio: Audio) -> None:
    assert audio.codec in ("PCMU", "PCMA")
    assert 0 <= audio.payload_type <= 127
    assert audio.digits_payload_type is None or 0 <= audio.digits_payload_type <= 127
    assert audio.digits_payload_type != audio.payload_type
    assert audio.host and 0 <= audio.port <= 65_535
    Session.of(audio)


PACKET_PARTS = 40


def packets(data: bytes) -> None:
    """Any packets at any time: frames of the right length, a bounded buffer, digits of the twelve and four.

    The input is a row of [flags, length, bytes]: flags say whether time passes and who sends.
    """
    stream = Stream(bytes(10), Session(Law.MU, 0, ("127.0.0.2", 4000), 101), 0.0)
    now, at, pressed = 0.0, 0, 0
    for _ in range(PACKET_PARTS):
        if at + 2 > len(data):
            break
        flags, length = data[at], data[at + 1]
        body = data[at + 2 : at + 2 + length]
        at += 2 + length
        if flags & 1:
            now += 0.02
            frame = stream.take()
            assert frame is None or len(frame) == FRAME
            sent = stream.send(bytes(FRAME))
            assert sent is not None
            assert rtp.parse(sent[0]) is not None
        if flags & 2:
            stream.press(DIGITS[flags >> 4])
            pressed += 1
        digit = stream.receive(body, ("127.0.0.2", 4000 if flags & 4 else 4001), now)
        assert digit is None or digit in DIGITS
        if digit is not None:
            assert stream.receive(body, stream._target, now) is None, "a packet twice is a digit twice"
        _packet(body)
        assert len(stream._buffer._queue) <= stream._buffer.PACKETS
        assert sum(len(samples) for _, samples in stream._buffer._queue) <= stream._buffer.PACKETS * 1600


def _packet(body: bytes) -> None:
    packet = rtp.parse(body)
    if packet is None:
        return
    wire = rtp.pack(*packet)
    again = rtp.parse(wire)
    # What could be marker and type of RTCP cannot come out of `parse`.
    assert again == packet, "written and read again, it is another packet"


def wav(data: bytes) -> None:
    """A clip of equal length in both laws, no longer than the file; the laws turn into each other."""
    with suppress(BadWav):
        clip = read_wav(data)
        assert len(clip.mu) == len(clip.a) <= len(data)
    # Companding twice changes nothing more.
    for law, other in ((Law.MU, Law.A), (Law.A, Law.MU)):
        pcm = g711.decode(law, data)
        assert len(pcm) == 2 * len(data)
        assert g711.decode(law, g711.encode(law, pcm)) == pcm
        assert g711.transcode(law, other, data) == g711.encode(other, pcm)
