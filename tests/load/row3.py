"""Row 3: durable appends a second of the SQLite log: 64 callers that each wait, beside one, and beside a
bare write and fdatasync of the same bytes."""

from __future__ import annotations

from tests.load import bench_log
from tests.load.figures import Figure, Scale, figure, median, run_row, scratch, spread, tell


async def row3(scale: Scale) -> list[Figure]:
    """See the module's text."""
    seconds, rounds = (0.1, 1) if scale.tiny else (bench_log.SECONDS, 3)
    single, many, p99, bare = [], [], [], []
    for turn in range(rounds):
        tell(f"round {turn + 1} of {rounds}: {seconds:g} s each")
        with scratch() as directory:
            bare.append(bench_log.bare_disk(directory, seconds))
            single.append((await bench_log.appends(directory, 1, seconds))[0])
            rate, _, ninety_nine = await bench_log.appends(directory, 64, seconds)
            many.append(rate)
            p99.append(ninety_nine)
    value, one, late = median(many), median(single), median(p99)
    met = value >= 60_000 and value >= 5 * one and late <= 10
    missed = [
        *([] if value >= 60_000 else ["rate below 60,000/s, which is this disk's and this core's"]),
        *([] if value >= 5 * one else ["less than 5 times one waiter"]),
        *([] if late <= 10 else ["p99 over 10 ms"]),
    ]
    return [
        figure(
            "row3.durable_events_s", value, "1/s", peer="the same log, one waiter", peer_value=one,
            goal=">= 60,000/s at 64 waiters, >= 5 times one waiter, p99 <= 10 ms", met=met,
            note=f"p99 {late:.2f} ms; {spread(many)}" + (f"; not met: {'; '.join(missed)}" if missed else ""),
        ),
        figure(
            "row3.against_bare_disk", value, "1/s", peer="write + fdatasync, one by one", peer_value=median(bare),
            note="group commit shares one fdatasync",
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    run_row(row3, __doc__)
