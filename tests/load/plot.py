"""A few curves over one time as an SVG picture, with nothing but text. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 900, 150
LEFT, RIGHT, TOP, GAP = 70, 150, 40, 46
COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a")


@dataclass(frozen=True, slots=True)
class Curve:
    """Points (seconds, value) under a name."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Chart:
    """Curves of one unit, one chart above the next."""

    title: str
    curves: Sequence[Curve]


def picture(title: str, charts: Sequence[Chart]) -> str:
    """The whole picture. Time is in minutes from its first point; every chart begins at 0."""
    charts = [chart for chart in charts if any(curve.points for curve in chart.curves)]
    height = TOP + len(charts) * (HEIGHT + GAP)
    end = max((at for chart in charts for curve in chart.curves for at, _ in curve.points), default=1.0) or 1.0
    box = f"0 0 {LEFT + WIDTH + RIGHT} {height}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" font-family="sans-serif" font-size="12">',
        f'<rect width="100%" height="100%" fill="white"/><text x="{LEFT}" y="20" font-size="15">{escape(title)}</text>',
    ]
    for place, chart in enumerate(charts):
        parts += _chart(chart, TOP + place * (HEIGHT + GAP), end)
    return "\n".join([*parts, "</svg>", ""])


def _chart(chart: Chart, top: float, end: float) -> list[str]:
    most = _round_up(max((value for curve in chart.curves for _, value in curve.points), default=0.0))
    base = top + 14 + HEIGHT
    parts = [f'<text x="{LEFT}" y="{top + 8:.0f}" font-weight="bold">{escape(chart.title)}</text>']
    for share in (0.0, 0.5, 1.0):
        y = base - share * HEIGHT
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{LEFT + WIDTH}" y2="{y:.1f}" stroke="#d0d7de"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{share * most:,.4g}</text>')
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = LEFT + share * WIDTH
        parts.append(f'<text x="{x:.0f}" y="{base + 15:.1f}" text-anchor="middle">{share * end / 60:.3g} min</text>')
    for index, curve in enumerate(chart.curves):
        colour = COLOURS[index % len(COLOURS)]
        points = " ".join(
            f"{LEFT + WIDTH * at / end:.1f},{base - HEIGHT * value / most:.1f}" for at, value in curve.points
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        y = top + 26 + 16 * index
        parts.append(f'<text x="{LEFT + WIDTH + 10}" y="{y:.0f}" fill="{colour}">{escape(curve.name)}</text>')
    return parts


def _round_up(value: float) -> float:
    """The next value of the kind 1, 2, 5, 10, ... that is not below."""
    step = 1.0
    while step < value:
        for factor in (2.0, 2.5, 2.0):
            step *= factor
            if step >= value:
                break
    while step / 10 >= value > 0:
        step /= 10
    return step
