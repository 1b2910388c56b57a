"""Bars over the last runs, as SVG that takes its colours from the page around it."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from threading import Lock
from typing import TYPE_CHECKING

from provisioning_pipeline.model.history import RunPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH = 380
_BARS, _HEADING, _GAP = 34, 24, 12
_FEWEST_PLACES = 10
_POINTS_PER_INCH = 72
_COLOURS: Mapping[str, str] = {
    "ink": "#000001",
    "soft": "#000002",
    "line": "#000003",
    "good": "#000004",
    "bad": "#000005",
    "accent": "#000006",
}
"""CSS variable → the colour that stands for it while matplotlib draws."""
_drawing = Lock()
"""matplotlib's settings are the whole process's."""


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


def load() -> None:
    """Import what draws, ahead of time: that takes half a second, which a run can spend while it waits."""
    import matplotlib.backends.backend_svg
    import matplotlib.figure  # noqa: F401  # for its effect


def draw(title: str, series: Sequence[Series]) -> str:
    """The series one below the other, each on a scale of its own that begins with zero: an `<svg>` element.

    The same series give the same text. It needs nothing from outside and holds no ids, so that several fit in one page.
    """
    gist = " ".join(f"{each.name}: {each.gist}." for each in series)
    return _for_a_page(_svg(series), f"{title}. {gist}")


def _svg(series: Sequence[Series]) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    row = _HEADING + _BARS + _GAP
    height = row * len(series)
    places = max(_FEWEST_PLACES, *(len(each.values) for each in series))
    drawn = io.StringIO()
    with _drawing, rc_context({"svg.fonttype": "none", "svg.hashsalt": "provisioning", "font.size": 12}):
        figure = Figure(figsize=(_WIDTH / _POINTS_PER_INCH, height / _POINTS_PER_INCH), facecolor="none")
        for number, each in enumerate(series):
            bottom = height - (number + 1) * row + _GAP
            _bars(figure.add_axes((0, bottom / height, 1, _BARS / height)), each, places)
        figure.savefig(drawn, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return drawn.getvalue()


def _bars(axes: "Axes", series: Series, places: int) -> None:
    known = [(place, value) for place, value in enumerate(series.values) if value is not None]
    top = max((value for _, value in known), default=0) or 1
    axes.set_axis_off()
    axes.set_xlim(-0.5, places - 0.5)
    axes.set_ylim(0, top)
    axes.bar(
        [place for place, _ in known],
        [value for _, value in known],
        width=0.8,
        color=_COLOURS[series.colour],
        clip_on=False,
    )
    axes.plot([-0.5, places - 0.5], [0, 0], color=_COLOURS["line"], linewidth=1, clip_on=False)
    for place, value in enumerate(series.values):
        if value is None:
            axes.text(place, 0, "?", ha="center", va="bottom", color=_COLOURS["soft"], fontsize=10)
    heading = (_BARS + 6) / _BARS
    axes.text(0, heading, series.name, transform=axes.transAxes, color=_COLOURS["ink"], weight="bold")
    axes.text(1, heading, series.gist, transform=axes.transAxes, color=_COLOURS["soft"], ha="right", fontsize=11)


def _for_a_page(svg: str, label: str) -> str:
    """What matplotlib drew without what would reach out of the picture: its prolog, style sheet, ids and fonts."""
    view = re.search(r'viewBox="([^"]+)"', svg)
    body = re.sub(r"<defs>\s*<style.*?</defs>", "", svg[svg.index("<g ") :], flags=re.DOTALL)
    body = re.sub(r' id="[^"]*"', "", body)
    body = re.sub(r"font: (?:(\w+) )?(\d+)px [^;\"]*", _without_family, body)
    body = re.sub(r"font-family: [^;\"]*(; )?", "", body)
    for variable, stand_in in _COLOURS.items():
        body = body.replace(stand_in, f"var(--{variable})")
    return f'<svg role="img" aria-label="{escape(label)}" viewBox="{view[1] if view else ""}">\n{body}'


def _without_family(shorthand: re.Match[str]) -> str:
    return f"font-weight: {shorthand[1] or 'normal'}; font-size: {shorthand[2]}px"
