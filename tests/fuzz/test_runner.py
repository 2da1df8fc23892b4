"""What the runner takes for a failure: a crash, a hang (libFuzzer ends both with a code), and growth."""

from __future__ import annotations

from tests.fuzz.run import GROWTH_MAX_MB, result_of

LINE = (
    "#{runs}\t{what} cov: 760 ft: 3216 corp: 340/466Kb lim: 3517 exec/s: 133 rss: {rss}Mb L: 236/3517 MS: 1 CopyPart-\n"
)


def log(*statuses: tuple[int, str, int]) -> str:
    """As libFuzzer prints it."""
    return "INFO: seed\n" + "".join(LINE.format(runs=runs, what=what, rss=rss) for runs, what, rss in statuses)


def test_a_run_that_grew_by_little_is_well() -> None:
    found = result_of("node", log((2, "INITED", 80), (9, "NEW", 84), (1000, "pulse", 90), (5000, "DONE", 86)), 0, 7.0)
    assert (found.runs, found.growth_mb, found.edges, found.corpus, found.fault) == (5000, 6, 760, 340, "")


def test_growth_is_a_failure() -> None:
    found = result_of("node", log((2, "INITED", 80), (5000, "DONE", 81 + GROWTH_MAX_MB)), 0, 7.0)
    assert found.fault == f"it grew by {GROWTH_MAX_MB + 1} MB"


def test_so_is_a_code() -> None:
    assert result_of("node", log((2, "INITED", 80), (9, "NEW", 80)), 70, 7.0).fault == "exit code 70"


def test_so_is_a_target_that_does_not_begin() -> None:
    assert result_of("node", "ModuleNotFoundError: no module\n", 1, 0.1).fault == "it did not begin"
