"""SDP: offers and answers of one audio stream, as phones and gateways send them."""

from __future__ import annotations

import pytest

from tandem.wire.sdp import (
    LINES_MAX,
    MEDIA_MAX,
    SDP_MAX,
    Answer,
    Audio,
    Description,
    Direction,
    LocalAudio,
    Media,
    Negotiation,
    SdpError,
    parse,
)

US = LocalAudio("127.0.0.1", 4000)
PHONE = """v=0
o=jdoe 2890844526 2890842807 IN IP4 10.47.16.5
s=SDP Seminar
i=A seminar
c=IN IP4 192.0.2.9/127
t=2873397496 2873404696
a=recvonly
m=audio 49170 RTP/AVP 9 8 0 96
a=rtpmap:9 G722/8000
a=rtpmap:96 telephone-event/8000
a=fmtp:96 0-16
a=ptime:30
a=sendrecv
"""


def answer(offer: str, local: LocalAudio = US, direction: Direction = Direction.SENDRECV) -> Answer:
    reply = Negotiation(local, 7).answer(offer.encode(), direction)
    assert isinstance(reply, Answer), reply
    return reply


def lines(sdp: bytes) -> list[str]:
    return sdp.decode().split("\r\n")


def test_an_answer_follows_the_offer() -> None:
    reply = answer(PHONE)
    assert reply.audio == Audio("192.0.2.9", 49170, "PCMA", 8, 96, 30, Direction.SENDRECV)
    assert lines(reply.sdp) == [
        "v=0",
        "o=- 7 1 IN IP4 127.0.0.1",
        "s=-",
        "c=IN IP4 127.0.0.1",
        "t=0 0",
        "m=audio 4000 RTP/AVP 8 96",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:96 telephone-event/8000",
        "a=fmtp:96 0-15",
        "a=ptime:20",
        "a=sendrecv",
        "",
    ]


def test_codecs() -> None:
    assert answer(PHONE, LocalAudio("127.0.0.1", 4000, ("PCMU",))).audio.codec == "PCMU"
    assert answer(PHONE, LocalAudio("127.0.0.1", 4000, digits=False)).audio.digits_payload_type is None
    bare = "v=0\no=- 1 1 IN IP4 h\ns=-\nc=IN IP4 192.0.2.9\nt=0 0\nm=audio 49170 RTP/AVP 0\n"
    assert answer(bare).audio == Audio("192.0.2.9", 49170, "PCMU", 0, None, 20, Direction.SENDRECV)
    dynamic = bare.replace("AVP 0", "AVP 97") + "a=rtpmap:97 pcma/8000/1\n"
    assert answer(dynamic).audio.payload_type == 97
    assert "a=rtpmap:97 PCMA/8000" in lines(answer(dynamic).sdp)
    renamed = bare.replace("AVP 0", "AVP 0 8") + "a=rtpmap:0 GSM/8000\n"
    assert answer(renamed).audio.codec == "PCMA"
    wideband = bare.replace("AVP 0", "AVP 99 8 101") + "a=rtpmap:99 PCMU/16000\na=rtpmap:101 telephone-event/16000\n"
    assert (answer(wideband).audio.codec, answer(wideband).audio.digits_payload_type) == ("PCMA", None)


@pytest.mark.parametrize(
    ("theirs", "wanted", "ours"),
    [
        ("sendrecv", "sendrecv", "sendrecv"),
        ("sendonly", "sendrecv", "recvonly"),
        ("recvonly", "sendrecv", "sendonly"),
        ("inactive", "sendrecv", "inactive"),
        ("sendrecv", "sendonly", "sendonly"),
        ("sendonly", "sendonly", "inactive"),
        ("recvonly", "recvonly", "inactive"),
    ],
)
def test_directions(theirs: str, wanted: str, ours: str) -> None:
    reply = answer(PHONE.replace("a=sendrecv", f"a={theirs}"), direction=Direction(wanted))
    assert reply.audio.direction is Direction(ours)
    assert f"a={ours}" in lines(reply.sdp)


def test_direction_of_the_session_counts_where_the_stream_has_none() -> None:
    assert answer(PHONE.replace("a=sendrecv\n", "")).audio.direction is Direction.SENDONLY


def test_hold_the_old_way() -> None:
    held = PHONE.replace("192.0.2.9/127", "0.0.0.0")
    assert answer(held).audio.direction is Direction.RECVONLY
    assert not answer(held).audio.direction.sends
    assert answer(held.replace("a=sendrecv", "a=recvonly")).audio.direction is Direction.INACTIVE


def test_other_streams_are_refused_in_their_places() -> None:
    offer = (
        "v=0\no=- 1 1 IN IP4 h\ns=-\nt=0 0\nm=video 5000 RTP/AVP 31 34\nc=IN IP4 192.0.2.1\nm=audio 5002 RTP/SAVP 0\n"
        "c=IN IP4 192.0.2.1\nm=audio 5004 RTP/AVP 8\nc=IN IP4 192.0.2.2\nm=audio 5006 RTP/AVP 0\nc=IN IP4 192.0.2.3\n"
        "m=image 5008 udptl t38\n"
    )
    reply = answer(offer)
    assert [line for line in lines(reply.sdp) if line.startswith("m=")] == [
        "m=video 0 RTP/AVP 31 34",
        "m=audio 0 RTP/SAVP 0",
        "m=audio 4000 RTP/AVP 8",
        "m=audio 0 RTP/AVP 0",
        "m=image 0 udptl t38",
    ]
    assert (reply.audio.host, reply.audio.port) == ("192.0.2.2", 5004)


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("v=0", "v=1", "v"),
        ("o=jdoe", "o=j doe", "o"),
        ("o=jdoe 2890844526 2890842807 IN IP4 10.47.16.5\n", "", "o"),
        ("c=IN IP4 192.0.2.9/127", "c=IN IP4", "c"),
        ("m=audio 49170", "m=audio x", "m"),
        ("m=audio 49170", "m=audio 70000", "m"),
        (" 9 8 0 96", "", "m"),
        (" 9 8 0 96", " 9" * 65, "m"),
        ("s=SDP Seminar", "SDP Seminar", "description"),
        ("s=SDP", "s=\rSDP", "description"),
        ("a=ptime:30\n", "a=x\n" * LINES_MAX, "description"),
        ("a=ptime:30\n", "a=" + "x" * 1024 + "\n", "description"),
        ("a=ptime:30\n", "m=audio 1 RTP/AVP 0\n" * MEDIA_MAX, "m"),
        ("s=SDP", "s=" + "x" * SDP_MAX, "description"),
        ("8 0 96", "96", "audio"),
        ("m=audio 49170", "m=audio 0", "audio"),
        ("m=audio", "m=video", "audio"),
        ("RTP/AVP", "RTP/SAVP", "audio"),
        ("c=IN IP4 192.0.2.9/127", "c=IN IP4 phone.example.com", "audio"),
        ("c=IN IP4 192.0.2.9/127", "c=IN IP4 999.0.2.9", "audio"),
        ("c=IN IP4 192.0.2.9/127\n", "", "audio"),
    ],
)
def test_what_cannot_be_used_is_an_error_and_changes_nothing(old: str, new: str, where: str) -> None:
    assert old in PHONE
    negotiation = Negotiation(US, 7)
    error = negotiation.answer(PHONE.replace(old, new).encode())
    assert isinstance(error, SdpError)
    assert error.where == where
    assert "o=- 7 1 " in negotiation.offer().decode()


def test_no_text() -> None:
    assert isinstance(parse(b""), SdpError)
    assert isinstance(parse(b"\xff\xfe"), SdpError)


def test_a_whole_call() -> None:
    alice, bob = Negotiation(LocalAudio("127.0.0.1", 4000), 1), Negotiation(LocalAudio("127.0.0.1", 5000, ("PCMA",)), 2)
    first = bob.answer(alice.offer())
    assert isinstance(first, Answer)
    agreed = alice.accept(first.sdp)
    assert agreed == Audio("127.0.0.1", 5000, "PCMA", 8, 101, 20, Direction.SENDRECV)
    hold = alice.offer(Direction.SENDONLY)
    assert "o=- 1 2 " in hold.decode()
    held = bob.answer(hold)
    assert isinstance(held, Answer)
    assert (held.audio.direction, "o=- 2 2 " in held.sdp.decode()) == (Direction.RECVONLY, True)
    accepted = alice.accept(held.sdp)
    assert isinstance(accepted, Audio)
    assert accepted.direction is Direction.SENDONLY
    # The same again is the same description with the same version (RFC 3264 8).
    assert alice.offer(Direction.SENDONLY) == hold
    assert "o=- 1 3 " in alice.offer().decode()


def test_our_later_offers_keep_their_m_lines_and_digits() -> None:
    negotiation = Negotiation(US, 7)
    offer = PHONE.replace("m=audio", "m=video 5000 RTP/AVP 31\nm=audio") + "m=text 6000 RTP/AVP 98\n"
    assert isinstance(negotiation.answer(offer.encode()), Answer)
    again = parse(negotiation.offer(Direction.SENDONLY))
    assert isinstance(again, Description)
    assert [(media.kind, media.port, media.formats) for media in again.media] == [
        ("video", 0, ("31",)),
        ("audio", 4000, ("0", "8", "96")),
        ("text", 0, ("98",)),
    ]
    theirs = Description(
        "1",
        2,
        "h",
        (
            Media("video", 0, "RTP/AVP", ("31",)),
            Media("audio", 1, "RTP/AVP", ("8",)),
            Media("text", 0, "RTP/AVP", ("98",)),
        ),
        "192.0.2.9",
    )
    audio = negotiation.accept(theirs.to_bytes())
    assert isinstance(audio, Audio)
    assert (audio.port, audio.direction) == (1, Direction.SENDONLY)


@pytest.mark.parametrize(
    ("answer_media", "where"),
    [
        ([], "answer"),
        (["audio 0 RTP/AVP 0"], "audio"),
        (["audio 5000 RTP/AVP 3"], "audio"),
        (["audio 5000 RTP/AVP 97\r\na=rtpmap:97 PCMU/8000"], "audio"),
        (["audio 5000 RTP/AVP 0", "audio 5002 RTP/AVP 0"], "answer"),
    ],
)
def test_bad_answers(answer_media: list[str], where: str) -> None:
    negotiation = Negotiation(US, 7)
    negotiation.offer()
    text = "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n" + "".join(
        f"m={m}\r\n" for m in answer_media
    )
    error = negotiation.accept(text.encode())
    assert isinstance(error, SdpError)
    assert error.where == where


def test_nothing_can_be_injected() -> None:
    with pytest.raises(ValueError, match="CR or LF"):
        Description("1", 1, "h", (), "127.0.0.1\r\na=x").to_bytes()


def test_ipv6() -> None:
    reply = answer(PHONE.replace("IP4 192.0.2.9/127", "IP6 2001:db8::9"), LocalAudio("::1", 4000))
    assert reply.audio.host == "2001:db8::9"
    assert "c=IN IP6 ::1" in lines(reply.sdp)
