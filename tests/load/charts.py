"""Line charts as SVG, drawn by hand so that a report is one file that opens anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

COLORS: Final = ("#2457d6", "#d6452b", "#1d8a4e", "#8a3fc2", "#c28a00", "#0f8a9d", "#b8327f", "#5c6670")
_WIDTH, _HEIGHT = 720, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 24, 10, 26


def chart(title: str, unit: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Draw one line per name from points of (seconds, value); values start at 0."""
    points = [point for line in lines.values() for point in line]
    longest = max((at for at, _ in points), default=0) or 1
    highest = nice(max((value for _, value in points), default=0))
    paths, names = [], []
    for number, (name, line) in enumerate(lines.items()):
        color = COLORS[number % len(COLORS)]
        drawn = " ".join(f"{_x(at, longest):.1f},{_y(value, highest):.1f}" for at, value in line)
        paths.append(f'<polyline points="{drawn}" fill="none" stroke="{color}" stroke-width="1.6"/>')
        names.append(f'<li><span style="background:{color}"></span>{escape(name)}</li>')
    rules = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{_y(value, highest):.1f}" y2="{_y(value, highest):.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{_y(value, highest) + 4:.1f}" text-anchor="end">{value:g}</text>'
        for value in (0, highest / 4, highest / 2, highest * 3 / 4, highest)
    )
    times = "".join(
        f'<text x="{_x(at, longest):.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{clock(at)}</text>'
        for at in (longest * part / 4 for part in range(5))
    )
    return (
        f"<figure><figcaption>{escape(title)} <small>{escape(unit)}</small></figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f'<g class="rules">{rules}{times}</g>{"".join(paths)}</svg><ul>{"".join(names)}</ul></figure>'
    )


def nice(value: float) -> float:
    """Round up to 1, 2, 4, 5, 8 or 10 times a power of ten; 1 for 0."""
    if value <= 0:
        return 1.0
    power = 10.0 ** (len(str(int(value))) - 1) if value >= 1 else 0.001
    while power * 10 < value:
        power *= 10
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value)


def clock(seconds: float) -> str:
    """Format seconds as `1:05:00`, or as `0:07.5` for a short run."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:02.0f}" if hours else f"{minutes}:{rest:04.1f}"


def _x(at: float, longest: float) -> float:
    return _LEFT + (at / longest) * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float, highest: float) -> float:
    return _TOP + (1 - value / highest) * (_HEIGHT - _TOP - _BOTTOM)
