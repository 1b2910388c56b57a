"""Bars over the last runs, as SVG that takes its colours from the page around it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from provisioning_pipeline.model.history import RunPoint

_WIDTH = 380
_BARS, _HEADING, _GAP = 34, 24, 12
_FEWEST_PLACES = 10
_BAR_SHARE = 0.8
"""Of its place, how wide a bar is."""


@dataclass(frozen=True, slots=True)
class Series:
    """One row of bars: a figure of each run, oldest first; None where nobody counted it. `colour` is a CSS variable."""

    name: str
    colour: str
    values: tuple[float | None, ...]
    unit: str = ""

    @property
    def gist(self) -> str:
        """The newest figure, and between which the others lie."""
        known = [value for value in self.values if value is not None]
        if not known:
            return "nobody counted"
        newest = self.values[-1]
        now = "last not counted" if newest is None else f"{self.told(newest)} in the last run"
        low, high = min(known), max(known)
        return f"{now}, as in all" if low == high == newest else f"{now}, range {low:,.0f} to {self.told(high)}"

    def told(self, value: float | None) -> str:
        """One figure for people."""
        return "?" if value is None else f"{value:,.0f}{self.unit}"


def states(history: Sequence[RunPoint]) -> tuple[Series, ...]:
    """How many tenants were in which state when each run ended; nothing of those set aside where none ever was."""
    aside = Series("Set aside", "soft", tuple(point.aside for point in history))
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
    gist = " ".join(f"{each.name}: {each.gist}." for each in series)
    row = _HEADING + _BARS + _GAP
    places = max(_FEWEST_PLACES, *(len(each.values) for each in series))
    return "\n".join(
        [
            f'<svg role="img" aria-label="{escape(f"{title}. {gist}")}" viewBox="0 0 {_WIDTH} {row * len(series)}">',
            *(part for number, each in enumerate(series) for part in _row(each, number * row + _HEADING, places)),
            "</svg>",
        ]
    )


def _row(series: Series, top: int, places: int) -> Iterator[str]:
    """The heading of a series above `top`, and its bars below, on so many places."""
    base, place_width = top + _BARS, _WIDTH / places
    most = max((value for value in series.values if value is not None), default=0) or 1
    yield _text(series.name, 0, top - 6, "ink", "font-weight: bold; font-size: 12px")
    yield _text(series.gist, _WIDTH, top - 6, "soft", "font-size: 11px; text-anchor: end")
    for place, value in enumerate(series.values):
        middle = (place + 0.5) * place_width
        if value is None:
            yield _text("?", middle, base, "soft", "font-size: 10px; text-anchor: middle")
            continue
        width, height = _BAR_SHARE * place_width, _BARS * value / most
        yield (
            f'<rect x="{middle - width / 2:.2f}" y="{base - height:.2f}" width="{width:.2f}" height="{height:.2f}" '
            f'style="fill: var(--{series.colour})"/>'
        )
    yield f'<path d="M0 {base}H{_WIDTH}" style="stroke: var(--line)"/>'


def _text(text: str, x: float, y: float, colour: str, style: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" style="fill: var(--{colour}); {style}">{escape(text)}</text>'
