"""Scanners and floods are dropped by their address; what belongs to a call never is for another's sake."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.wire.sip.events import CallAnswered, CallArrived
from tandem.wire.sip.guard import Admission, Guard, GuardConfig
from tests.support.budget import examples
from tests.unit.wire.sip_world import ALICE, ANSWER, BOB, World, call, pair

PHONE = ("192.0.2.7", 5060)
OTHER = ("192.0.2.8", 5060)
LIMITS = GuardConfig(
    trusted=("198.51.100.0/24", "2001:db8:1::/48"), source_rate=2, source_burst=4, total_rate=5, total_burst=10,
    refusals_rate=2, failures=3, failure_every_s=10, call_rate=2, call_burst=4, sources_max=20,
)  # fmt: skip
OURS = "abcdefghijklmnop"
NEW = (
    b"INVITE sip:1@x SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP h;branch=z9hG4bKsomebody1234567890\r\nFrom: <sip:a@b>;tag=theirs01234567890\r\n"
)
IN_CALL = b"BYE sip:1@x SIP/2.0\r\nFrom: <sip:a@b>;tag=theirs\r\nTo: <sip:c@d>;tag=" + OURS.encode() + b"\r\n"


def guard(config: GuardConfig = LIMITS) -> Guard:
    return Guard(config, lambda token: token == OURS)


def admitted(judge: Guard, count: int, source: tuple[str, int] = PHONE, data: bytes = NEW, now: float = 0.0) -> int:
    """How many of so many datagrams are taken."""
    return sum(judge.admit(data, source, now) in (Admission.NEW, Admission.CALL) for _ in range(count))


def test_an_address_has_a_burst_and_then_a_rate() -> None:
    judge = guard()
    assert admitted(judge, 100) == 4
    assert admitted(judge, 100, now=3.0) == 4
    assert admitted(judge, 100, now=3.5) == 1
    assert judge.counters.dropped_source_rate == 300 - 9


def test_its_port_makes_no_other_address_of_it() -> None:
    judge = guard()
    assert sum(admitted(judge, 1, (PHONE[0], port)) for port in range(1024, 1124)) == 4


def test_nor_does_another_address_of_the_same_ipv6_network() -> None:
    judge = guard()
    assert sum(admitted(judge, 1, (f"2001:db8:2:3::{n:x}", 5060)) for n in range(1, 100)) == 4
    assert admitted(judge, 10, ("2001:db8:2:4::1", 5060)) == 4


def test_all_together_have_a_rate_and_a_few_get_503() -> None:
    judge = guard()
    verdicts = [judge.admit(NEW, (f"192.0.2.{n}", 5060), 0.0) for n in range(1, 201)]
    assert [verdicts.count(one) for one in (Admission.NEW, Admission.REFUSE, Admission.DROP)] == [10, 2, 188]
    counters = judge.counters
    assert (counters.new, counters.refused_total_rate, counters.dropped_total_rate) == (10, 2, 188)


def test_trusted_and_registered_do_not_wait_behind_strangers() -> None:
    judge = guard()
    judge.places("ann", [PHONE])
    for n in range(100):
        judge.admit(NEW, (f"203.0.113.{n}", 5060), 0.0)
    assert admitted(judge, 100, ("198.51.100.9", 5060)) == 100
    assert admitted(judge, 100, ("2001:db8:1::5", 5060)) == 100
    assert admitted(judge, 100, PHONE) == 4, "a registered phone has its own rate"
    judge.places("ann", [])
    assert admitted(judge, 100, PHONE, now=0.0) == 0, "and is a stranger again once it is not registered"


def test_a_call_is_taken_whatever_else_comes_from_there_or_from_everywhere() -> None:
    judge = guard()
    for n in range(1000):
        judge.admit(NEW, (f"203.0.113.{n % 250}", 5060), 0.0)
        judge.admit(NEW, PHONE, 0.0)
        judge.failed(PHONE, 0.0)
    assert admitted(judge, 4, data=IN_CALL) == 4
    assert admitted(judge, 100, OTHER, IN_CALL) == 0, "but it has a rate of its own"
    assert admitted(judge, 100, OTHER, IN_CALL, now=1.0) == 2
    assert judge.counters.dropped_call_rate == 198


@pytest.mark.parametrize(
    "line",
    [
        b"t:<sip:c@d> ; Tag = " + OURS.encode() + b" ;x=y",
        b"Via: SIP/2.0/UDP h;rport;branch=z9hG4bK" + OURS.encode(),
        b"v: SIP/2.0/UDP h;branch = z9hg4bk" + OURS.encode() + b", SIP/2.0/UDP other",
    ],
)
def test_our_token_is_found_however_it_is_written(line: bytes) -> None:
    assert guard().admit(b"SIP/2.0 200 OK\r\n" + line + b"\r\n", PHONE, 0.0) is Admission.CALL


@pytest.mark.parametrize(
    "line",
    [b"To: <sip:c@d>;tag=x" + OURS.encode(), b"To: <sip:c@d>;tag=" + OURS.encode() + b"x", b"X: " + OURS.encode()],
)
def test_a_part_of_it_is_not_enough(line: bytes) -> None:
    assert guard().admit(b"BYE sip:x SIP/2.0\r\n" + line + b"\r\n", PHONE, 0.0) is Admission.NEW


def test_failures_silence_an_address_and_it_is_heard_again_one_at_a_time() -> None:
    judge = guard()
    for _ in range(3):
        judge.failed(PHONE, 0.0)
    assert admitted(judge, 2) == 0
    assert judge.counters.dropped_failures == 2
    assert judge.counters.silenced == 1
    assert admitted(judge, 1, OTHER) == 1
    assert admitted(judge, 1, now=9.0) == 0
    assert admitted(judge, 1, now=10.0) == 1
    judge.failed(PHONE, 10.0)
    assert admitted(judge, 1, now=12.0) == 0
    assert admitted(judge, 1, now=20.0) == 1


def test_a_registered_place_and_a_carrier_are_not_blamed() -> None:
    judge = guard()
    judge.places("ann", [PHONE])
    for _ in range(50):
        judge.failed(PHONE, 0.0)
        judge.failed(("198.51.100.1", 5060), 0.0)
    assert admitted(judge, 1) == 1
    assert judge.counters.silenced == 0


def test_two_users_at_one_place() -> None:
    judge = guard()
    judge.places("ann", [PHONE])
    judge.places("bob", [PHONE, OTHER])
    judge.places("ann", [])
    judge.places("bob", [PHONE])
    for _ in range(50):
        judge.failed(PHONE, 0.0)
        judge.failed(OTHER, 0.0)
    assert (admitted(judge, 1, PHONE), admitted(judge, 1, OTHER)) == (1, 0)


@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.sampled_from([NEW, IN_CALL, b""]), st.booleans()), max_size=200)
)
@examples(100)
def test_its_tables_stay_small_and_what_it_takes_stays_under_the_rate(row: list[tuple[int, bytes, bool]]) -> None:
    judge = guard()
    taken = 0
    for number, data, fails in row:
        source = (f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 5060)
        if judge.is_trusted(source[0]):
            continue
        taken += judge.admit(data, source, 1.0) is Admission.NEW
        if fails:
            judge.failed(source, 1.0)
        assert len(judge._sources) <= LIMITS.sources_max
        assert judge.counters.sources == len(judge._sources)
    assert taken <= LIMITS.total_burst


def test_a_clock_that_steps_back_gives_nothing_away() -> None:
    judge = guard()
    assert admitted(judge, 10, now=100.0) == 4
    assert admitted(judge, 10, now=5.0) == 0
    assert admitted(judge, 10, now=100.0) == 0


def test_what_is_no_network_is_refused_before_the_start() -> None:
    with pytest.raises(ValueError, match=r"guard\.trusted: 'carrier\.example' is no network.*192\.0\.2\.0/24"):
        GuardConfig(trusted=("carrier.example",))


def test_everything_of_a_real_call_is_known_by_its_token() -> None:
    """But for the first INVITE and what comes before our first answer."""
    world = pair()
    world.react = lambda address, event: (
        world.endpoints[BOB].answer(event.call, ANSWER, world.now) if isinstance(event, CallArrived) else None
    )
    handle = call(world)
    world.settle()
    assert world.all(ALICE, CallAnswered)
    for address, one in world.endpoints.items():
        judge = Guard(LIMITS, one.is_ours)
        received = [data for _, _, to, data in world.sent if to == address]
        verdicts = [judge.admit(data, PHONE, float(at)) for at, data in enumerate(received)]
        first = Admission.NEW if address == BOB else verdicts[0]
        assert verdicts == [first] + [Admission.CALL] * (len(verdicts) - 1), address
    _hang_up_is_known(world, handle)


def _hang_up_is_known(world: World, handle: str) -> None:
    judge = Guard(LIMITS, world.endpoints[BOB].is_ours)
    world.endpoints[ALICE].hangup(handle, world.now)
    [(bye, _)] = world.endpoints[ALICE].take_datagrams()
    assert judge.admit(bye, PHONE, 0.0) is Admission.CALL
    world.endpoints[BOB].receive(bye, ALICE, world.now)
    world.settle()
    world.run()
    assert world.is_at_rest()
    assert judge.admit(bye, PHONE, 0.0) is Admission.NEW, "a call that is over is nobody's"
    assert not world.endpoints[BOB]._calls._tags
