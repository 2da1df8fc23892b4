"""Kill points: counted, struck once, and never silently ignored."""

from __future__ import annotations

import pytest

from tandem.core.points import BadKillAt, KillAt, Point, Points, parse_kill_at


def test_a_point_strikes_at_its_pass() -> None:
    struck: list[tuple[KillAt, int]] = []
    points = Points(parse_kill_at("appended:2"), lambda at: struck.append((at, points.passes(at.point))))
    for point in (Point.APPENDED, Point.READ_BACK, Point.APPENDED, Point.APPENDED):
        points.reach(point)
    assert struck == [(KillAt(Point.APPENDED, 2), 2)]
    assert points.passes(Point.APPENDED) == 3


def test_points_without_a_strike_only_count() -> None:
    points = Points()
    points.reach(Point.JOURNALLED)
    assert points.passes(Point.JOURNALLED) == 1
    assert points.passes(Point.IN_CLAIM) == 0


@pytest.mark.parametrize("text", ["", "appended", "appended:", "appended:0", "appended:-1", "append:1", "appended:²"])
def test_a_bad_kill_point_says_what_is_allowed(text: str) -> None:
    with pytest.raises(BadKillAt, match="before_append, appended, read_back"):
        parse_kill_at(text)


def test_a_strike_needs_its_pass() -> None:
    with pytest.raises(ValueError, match="together"):
        Points(KillAt(Point.APPENDED, 1))
