"""Bars over the last runs, as SVG that takes its colours from the page around it."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from provisioning_pipeline.model.history import RunPoint

_WIDTH = 380
_BARS, _HEADING, _GAP = 34, 24, 12
_FEWEST_PLACES = 10
_BAR_SHARE = 0.8
"""Of a run's place, the rest is the space to its neighbours."""


@dataclass(frozen=True, slots=True)
class Series:
    """One row of bars: a figure of each run, oldest first; None where not counted. `colour` is a CSS variable."""

    name: str
    colour: str
    values: tuple[float | None, ...]
    unit: str = ""

    @property
    def gist(self) -> str:
        """The newest figure, and between which the others lie."""
        known = [value for value in self.values if value is not None]
        if not known:
            return "not counted"
        newest = self.values[-1]
        now = "last not counted" if newest is None else f"{self.told(newest)} in the last run"
        low, high = min(known), max(known)
        return f"{now}, as in all" if low == high == newest else f"{now}, range {low:,.0f} to {self.told(high)}"

    def told(self, value: float | None) -> str:
        """One figure for people."""
        return "?" if value is None else f"{value:,.0f}{self.unit}"


def states(history: Sequence[RunPoint]) -> tuple[Series, ...]:
    """How many tenants were in which state when each run ended; excluded ones only where there ever was one."""
    aside = Series("Excluded", "soft", tuple(point.aside for point in history))
    return (
        Series("Need a look", "bad", tuple(point.unwell for point in history)),
        Series("Ready", "good", tuple(point.ready for point in history)),
        *((aside,) if any(aside.values) else ()),
    )


def work(history: Sequence[RunPoint]) -> tuple[Series, ...]:
    """How long each run took, what it changed and what it found."""
    return (
        Series("Seconds", "accent", tuple(point.seconds for point in history), " s"),
        Series("Changes made", "accent", tuple(point.actions for point in history)),
        Series("Differences found", "accent", tuple(point.drift for point in history)),
    )


def draw(title: str, series: Sequence[Series]) -> str:
    """The series one below the other, each on a scale of its own that begins with zero: an `<svg>` element.

    The same series give the same text. It needs nothing from outside and holds no ids, so that several fit in one page.
    """
    row = _HEADING + _BARS + _GAP
    places = max(_FEWEST_PLACES, *(len(each.values) for each in series))
    gist = " ".join(f"{each.name}: {each.gist}." for each in series)
    rows = "".join(_row(each, row * number + _HEADING + _BARS, places) for number, each in enumerate(series))
    label = escape(f"{title}. {gist}")
    return f'<svg role="img" aria-label="{label}" viewBox="0 0 {_WIDTH} {row * len(series)}">\n{rows}</svg>\n'


def _row(series: Series, base: int, places: int) -> str:
    """One series, whose bars stand on a line at the height `base`."""
    top = max((value for value in series.values if value is not None), default=0) or 1
    step = _WIDTH / places
    marks: list[str] = []
    for place, value in enumerate(series.values):
        if value is None:
            marks.append(_text("?", (place + 0.5) * step, base, "soft", "font-size: 10px; text-anchor: middle"))
            continue
        left, height = (place + (1 - _BAR_SHARE) / 2) * step, _BARS * value / top
        size = f'width="{step * _BAR_SHARE:.2f}" height="{height:.2f}"'
        marks.append(f'<rect x="{left:.2f}" y="{base - height:.2f}" {size} style="fill: var(--{series.colour})"/>')
    heading = base - _BARS - 6
    return "\n".join(
        (
            "<g>",
            *marks,
            f'<path d="M 0 {base} H {_WIDTH}" style="fill: none; stroke: var(--line)"/>',
            _text(series.name, 0, heading, "ink", "font-size: 12px; font-weight: 700"),
            _text(series.gist, _WIDTH, heading, "soft", "font-size: 11px; text-anchor: end"),
            "</g>\n",
        )
    )


def _text(text: str, x: float, y: float, colour: str, style: str) -> str:
    return f'<text x="{x:.2f}" y="{y}" style="{style}; fill: var(--{colour})">{escape(text)}</text>'
