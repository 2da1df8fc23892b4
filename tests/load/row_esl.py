"""ESL parsing: events a second of one core, beside a loop that only receives the same bytes.

The bytes are those that real FreeSWITCH sent (`tests/traces`), again and again over a TCP connection on loopback,
written by a process of its own. Of each event its name and its channel are read, which is what the node asks of
every event; in another turn all of its headers. Rates are per processor second of the reading process, kernel and all.
"""

from __future__ import annotations

import multiprocessing
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tandem.media.freeswitch.connection import CUSTOM, EVENTS
from tandem.media.freeswitch.socket_driver import READ_BYTES
from tandem.wire import esl
from tests.load.figures import Cpu, Figure, Scale, figure, median, run_row, spread, tell
from tests.support.traces import traces

GOAL = 200_000
CHANNEL = "Unique-ID"
Worker = Callable[[bytes], int]
"""Takes a piece of what came; how many events were whole with it."""


def row_esl(scale: Scale) -> list[Figure]:
    """See the module's text."""
    bytes_sent, rounds = scale(400_000_000, 1), scale(5, 1)
    figures = []
    for name, events in (("all", _recorded(None)), ("subscribed", _recorded({*EVENTS, *CUSTOM}))):
        block = b"".join(events)
        times = -(-bytes_sent // len(block))
        count = times * len(events)
        tell(f"{name}: {count} events of {len(block) // len(events)} bytes on average, {rounds} rounds")
        rates: dict[str, list[float]] = {"receive": [], "demand": [], "whole": []}
        for _ in range(rounds):
            for how, worker in (("receive", _only_receive), ("demand", _on_demand()), ("whole", _in_full())):
                rates[how].append(count / _read(block, times, worker, 0 if how == "receive" else count))
        figures += _figures(name, len(block) // len(events), rates)
    return figures


def _figures(name: str, size: int, rates: dict[str, list[float]]) -> list[Figure]:
    value, limit, whole = (median(rates[how]) for how in ("demand", "receive", "whole"))
    met = value >= GOAL
    share = f"{1e6 / value:.2f} us an event, of which {1e6 / limit:.2f} us are spent in recv"
    what = "all that it can send" if name == "all" else "what the agent subscribes to"
    return [
        figure(
            f"esl.{name}_events_per_core_s", value, "1/s", peer="recv alone, the same bytes", peer_value=limit,
            goal=f">= {GOAL:,}/s a core, headers on demand" if name == "all" else "",
            met=met if name == "all" else None,
            note=f"{what}, {size} bytes an event; {share}; {spread(rates['demand'])}"
            + ("" if met or name != "all" else "; not met: the rest is framing and two look-ups"),
        ),
        figure(
            f"esl.{name}_whole_events_per_core_s", whole, "1/s", peer="headers on demand", peer_value=value,
            note=f"every header of every event in a dict; {spread(rates['whole'])}",
        ),
    ]  # fmt: skip


def _recorded(names: set[str] | None) -> list[bytes]:
    """Plain events of all traces as they came, those of some names or all."""
    found = []
    for trace in traces().values():
        for frame in esl.EslReader().receive_data(trace.received):
            if isinstance(frame, esl.PlainEvent) and (names is None or frame.name in names):
                found.append(
                    b"Content-Length: %d\nContent-Type: text/event-plain\n\n%b" % (len(frame._raw) - 1, frame._raw[1:])
                )
    return found


# ------------------------------------------------------------------- what is done with a piece


def _only_receive(data: bytes) -> int:
    return 0


def _on_demand() -> Worker:
    reader = esl.EslReader()

    def work(data: bytes) -> int:
        events = reader.receive_data(data)
        for event in events:
            assert isinstance(event, esl.PlainEvent) and event.name
            event.get(CHANNEL)
        return len(events)

    return work


def _in_full() -> Worker:
    reader = esl.EslReader()

    def work(data: bytes) -> int:
        events = reader.receive_data(data)
        for event in events:
            assert isinstance(event, esl.PlainEvent) and event.headers()
        return len(events)

    return work


def _read(block: bytes, times: int, worker: Worker, expected: int) -> float:
    """Processor seconds to take in a block so many times."""
    with _sender(block, times) as link:
        cpu, events, received = Cpu(), 0, 0
        while data := link.recv(READ_BYTES):
            received += len(data)
            events += worker(data)
        used = cpu.used_s
    assert (received, events) == (times * len(block), expected), f"{events} of {expected} events"
    return used


@contextmanager
def _sender(block: bytes, times: int) -> Iterator[socket.socket]:
    """A connection on which another process sends a block so many times, and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        child = multiprocessing.get_context("fork").Process(target=_send, args=(server.getsockname(), block, times))
        child.start()
        near, _ = server.accept()
    with near:
        yield near
    child.join()
    assert child.exitcode == 0


def _send(address: tuple[str, int], block: bytes, times: int) -> None:
    with socket.create_connection(address) as far:
        for _ in range(times):
            far.sendall(block)


if __name__ == "__main__":
    run_row(row_esl, __doc__)
