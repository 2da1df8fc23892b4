"""The real clocks and the real chance."""

from __future__ import annotations

import re
import time

from tandem.adapters.system import SystemClock, SystemEntropy


def test_clocks_are_those_of_the_kernel() -> None:
    clock = SystemClock()
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    boottime = clock.boottime_ms()
    assert before <= boottime <= time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    wall = time.time_ns() // 1_000_000
    assert wall <= clock.wall_ms() <= time.time_ns() // 1_000_000
    monotonic = time.monotonic()
    assert monotonic <= clock.monotonic_s() <= time.monotonic()


def test_the_boot_id_is_the_same_for_all() -> None:
    assert SystemClock().boot_id() == SystemClock().boot_id()
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", SystemClock().boot_id())


def test_tokens_are_base32_of_as_many_bytes() -> None:
    entropy = SystemEntropy()
    assert re.fullmatch(r"[a-z2-7]{26}", entropy.token())
    assert re.fullmatch(r"[a-z2-7]{8}", entropy.token(5))
    assert len({entropy.token() for _ in range(1000)}) == 1000


def test_secrets_have_their_size() -> None:
    entropy = SystemEntropy()
    assert [len(entropy.secret(size)) for size in (0, 12, 32)] == [0, 12, 32]
    assert entropy.secret(32) != entropy.secret(32)
