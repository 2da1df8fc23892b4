"""Both ends of the link without a network: channels, time, gaps, and what a peer may not do."""

from __future__ import annotations

import pytest

from tandem.core.ports.log import Partition
from tandem.core.ports.media import (
    Ack,
    Event,
    FromNode,
    Hello,
    KeptEnd,
    LegAnswered,
    Legs,
    ListLegs,
    StaleEpoch,
    Welcome,
)
from tandem.media.link import agent_end
from tandem.media.link.agent_end import AgentStream
from tandem.media.link.nodetime import SAMPLES, NodeTime
from tandem.media.link.owner_end import (
    Deposed,
    Heard,
    KeptHeard,
    LegsHeard,
    LinkInput,
    NodeDown,
    NodeUp,
    OwnerLink,
    OwnerStream,
)
from tandem.media.link.stream import StreamFault
from tandem.runtime.media_codec import Close, Ping, Pong, decode_to_node, encode_from_node, encode_to_node

LIVE = Partition("live", 0)
WELCOME = Welcome("m1", "i1", "boot", 0)


class Marks:
    """A shard's durable marks, per incarnation of the node."""

    def __init__(self, **marks: dict[str, int]) -> None:
        self.all = marks

    def __call__(self, incarnation: str) -> tuple[str, tuple[tuple[str, int], ...]]:
        name = incarnation or next(iter(self.all), "")
        return name, tuple(self.all.get(name, {}).items())


def link_of(marks: Marks | None = None, shard: int = 0, epoch: int = 1) -> OwnerLink:
    return OwnerLink("m1", Partition("live", shard), epoch, marks or Marks(), lambda boottime_ms: boottime_ms + 1_000)


def stream_with(*links: OwnerLink, boot: str = "boot") -> OwnerStream:
    stream = OwnerStream("m1", boot)
    for link in links:
        stream.attach(link)
    stream.connected(0)
    return stream


def told(stream: OwnerStream, *frames: FromNode, channel: int = 1, now_ms: int = 10_000) -> list[LinkInput]:
    return [heard for _, heard in stream.receive(encode_from_node([(channel, f) for f in frames]), now_ms)]


def event(number: int, tenant: str = "t1", at_ms: int = 5_000) -> Event:
    return Event(tenant, number, at_ms, "c1", LegAnswered())


def sent(stream: OwnerStream) -> list[object]:
    return [frame for data in stream.take() for _, frame in decode_to_node(data) if not isinstance(frame, Ping)]


# ---------------------------------------------------------------------------------- owner's end


def test_a_link_says_hello_with_durable_marks_as_soon_as_there_is_a_stream() -> None:
    stream = OwnerStream("m1", "boot")
    stream.attach(link_of(Marks(i1={"t1": 7}), epoch=4))
    assert sent(stream) == []
    stream.connected(0)
    assert sent(stream) == [Hello("live", 0, 4, "i1", (("t1", 7),))]


def test_a_node_says_with_its_welcome_whether_it_takes_callers() -> None:
    stream = stream_with(link_of())
    assert told(stream, Welcome("m1", "i1", "boot", 0, draining=True, takes_over=True)) == [
        NodeUp("m1", "i1", draining=True, takes_over=True)
    ]


def test_what_a_node_says_becomes_inputs_in_shard_time() -> None:
    stream = stream_with(link_of())
    heard = told(stream, WELCOME, event(1), KeptEnd(), Legs((("t1", "c1"),)))
    assert heard == [
        NodeUp("m1", "i1"),
        Heard("m1", "i1", "t1", 1, 6_000, "c1", LegAnswered()),
        KeptHeard("m1"),
        LegsHeard("m1", (("t1", "c1"),)),
    ]
    assert isinstance(heard[1], Heard)
    assert heard[1].source == "media/m1/i1/t1"


def test_what_is_durable_is_not_told_again() -> None:
    stream = stream_with(link_of(Marks(i1={"t1": 2})))
    assert [h.number for h in told(stream, WELCOME, event(2), event(3)) if isinstance(h, Heard)] == [3]


def test_marks_of_the_incarnation_that_answers_count_not_those_that_were_guessed() -> None:
    stream = stream_with(link_of(Marks(i0={"t1": 9}, i1={"t1": 2})))
    assert [h.number for h in told(stream, WELCOME, event(3)) if isinstance(h, Heard)] == [3]


def test_a_new_incarnation_counts_from_1() -> None:
    stream = stream_with(link_of(Marks(i0={"t1": 9})))
    assert [h.number for h in told(stream, WELCOME, event(1)) if isinstance(h, Heard)] == [1]


@pytest.mark.parametrize("frames", [(event(2),), (event(1), event(3)), (event(1), event(2, "t2"))])
def test_a_gap_ends_the_stream(frames: tuple[Event, ...]) -> None:
    stream = stream_with(link_of())
    with pytest.raises(StreamFault, match="events are missing"):
        told(stream, WELCOME, *frames)


def test_what_came_with_a_gap_is_taken_when_it_is_told_again() -> None:
    stream = stream_with(link_of())
    with pytest.raises(StreamFault):
        told(stream, WELCOME, event(1), event(3))
    assert [type(down) for _, down in stream.lost("gap")] == [NodeDown]
    stream.connected(0)
    assert [h.number for h in told(stream, WELCOME, event(1), event(2)) if isinstance(h, Heard)] == [1, 2]


def test_a_stale_owner_is_deposed_and_says_nothing_more() -> None:
    link = link_of()
    stream = stream_with(link)
    assert told(stream, StaleEpoch(9)) == [Deposed("m1", 9)]
    assert stream.idle
    assert told(stream, event(1)) == [], "frames that were under way"
    assert stream.lost("gone") == []
    sent(stream)
    stream.connected(0)
    assert sent(stream) == []


def test_nothing_is_sent_over_a_link_that_is_not_up() -> None:
    link = link_of()
    stream = stream_with(link)
    assert not stream.send(link, ListLegs())
    told(stream, WELCOME)
    sent(stream)
    assert stream.send(link, ListLegs())
    stream.lost("gone")
    assert not stream.send(link, ListLegs())
    assert sent(stream) == []


def test_another_node_at_the_address_is_found_out() -> None:
    with pytest.raises(StreamFault, match="says that it is m2"):
        told(stream_with(link_of()), Welcome("m2", "i1", "boot", 0))


@pytest.mark.parametrize("frame", [event(1), KeptEnd(), Legs(())])
def test_a_node_must_welcome_first(frame: FromNode) -> None:
    with pytest.raises(StreamFault, match="while live/0 was greeted"):
        told(stream_with(link_of()), frame)


def test_a_second_welcome_ends_the_stream() -> None:
    with pytest.raises(StreamFault):
        told(stream_with(link_of()), WELCOME, WELCOME)


def test_a_channel_that_was_never_opened_ends_the_stream() -> None:
    with pytest.raises(StreamFault, match="never opened"):
        told(stream_with(link_of()), WELCOME, channel=2)


def test_garbage_ends_the_stream() -> None:
    with pytest.raises(StreamFault, match="cannot read"):
        stream_with(link_of()).receive(b"\xff\xff", 0)


def test_a_dropped_shard_lets_go_and_its_late_frames_are_nobodys() -> None:
    link, other = link_of(), link_of(shard=1)
    stream = stream_with(link, other)
    told(stream, WELCOME)
    told(stream, WELCOME, channel=2)
    sent(stream)
    stream.detach(link, "lost the claim")
    assert sent(stream) == [Close("lost the claim")]
    assert told(stream, event(1)) == []
    assert len(told(stream, event(1), channel=2)) == 1
    again = link_of(epoch=2)
    stream.attach(again)
    assert sent(stream) == [Hello("live", 0, 2, "", ())]


# ---------------------------------------------------------------------------------- time


def test_a_node_of_the_same_boot_needs_no_estimate() -> None:
    time = NodeTime("boot")
    time.boot("boot")
    time.sample(0, 99_999, 500)
    assert time.ours(7) == 7


def test_another_hosts_clock_is_told_by_the_fastest_round_trip() -> None:
    time = NodeTime("boot")
    time.boot("other")
    time.sample(0, 50_300, 600)
    time.sample(1_000, 51_001, 1_002)
    time.sample(2_000, 52_900, 4_000)
    assert time.ours(50_000) == 0
    time.begin()
    time.boot("third")
    assert time.ours(50_000) == 50_000


def test_a_pong_that_came_before_the_welcome_counts() -> None:
    time = NodeTime("boot")
    time.begin()
    time.sample(0, 50_000, 0)
    time.boot("other")
    assert time.ours(50_000) == 0


def test_old_samples_are_forgotten() -> None:
    time = NodeTime("boot")
    time.boot("other")
    time.sample(0, 50_000, 0)
    for n in range(SAMPLES):
        time.sample(n, 60_000 + n + 50, n + 100)
    assert time.ours(60_000) == 0


def test_an_estimated_event_is_neither_in_the_future_nor_before_the_one_ahead_of_it() -> None:
    stream = stream_with(link_of(), boot="ours")
    stream.receive(
        encode_from_node(
            [
                (
                    0,
                    Pong(
                        0,
                        0,
                    ),
                )
            ]
        ),
        0,
    )
    heard = told(stream, WELCOME, event(1, at_ms=99_999), event(2, at_ms=3), now_ms=10_000)
    assert [h.time_ms for h in heard if isinstance(h, Heard)] == [11_000, 11_000]


# ---------------------------------------------------------------------------------- agent's end

HELLO = Hello("live", 0, 1, "", ())


def test_channels_become_links_of_the_stream() -> None:
    stream = AgentStream("s1")
    heard = stream.receive(encode_to_node([(1, HELLO), (2, HELLO), (1, Ack("t1", 1))]), 0)
    assert [link for link, _ in heard] == ["s1.1", "s1.2", "s1.1"]
    assert stream.links == ("s1.1", "s1.2")


def test_frames_of_a_closed_channel_are_dropped_at_both_ends() -> None:
    stream = AgentStream("s1")
    stream.receive(encode_to_node([(1, HELLO)]), 0)
    stream.close("s1.1", "replaced")
    stream.close("s1.1", "replaced")
    stream.send("s1.1", KeptEnd())
    assert stream.receive(encode_to_node([(1, ListLegs()), (1, Close())]), 0) == []
    assert len(stream.take()) == 1


def test_an_owners_close_is_handed_on_once() -> None:
    stream = AgentStream("s1")
    heard = stream.receive(encode_to_node([(1, HELLO), (1, Close("gone")), (1, Close("gone"))]), 0)
    assert heard == [("s1.1", HELLO), ("s1.1", Close("gone"))]
    assert stream.links == ()


def test_a_channel_begins_with_hello() -> None:
    with pytest.raises(StreamFault, match="begins with Hello"):
        AgentStream("s1").receive(encode_to_node([(1, ListLegs())]), 0)


def test_a_channels_number_is_used_once() -> None:
    stream = AgentStream("s1")
    stream.receive(encode_to_node([(2, HELLO), (2, Close())]), 0)
    assert stream.receive(encode_to_node([(1, HELLO), (2, HELLO)]), 0) == []


def test_there_is_a_limit_to_channels() -> None:
    stream = AgentStream("s1")
    most = [(n + 1, HELLO) for n in range(agent_end.CHANNELS_MAX)]
    assert len(stream.receive(encode_to_node(most), 0)) == agent_end.CHANNELS_MAX
    with pytest.raises(StreamFault, match="may be open"):
        stream.receive(encode_to_node([(agent_end.CHANNELS_MAX + 1, HELLO)]), 0)


def test_a_ping_is_answered_with_the_nodes_time() -> None:
    stream = AgentStream("s1")
    assert stream.receive(encode_to_node([(0, Ping(5))]), 77) == []
    assert stream.take() == [encode_from_node([(0, Pong(5, 77))])]


def test_garbage_is_refused_at_the_agents_end() -> None:
    with pytest.raises(StreamFault, match="cannot read"):
        AgentStream("s1").receive(b"\xff", 0)
