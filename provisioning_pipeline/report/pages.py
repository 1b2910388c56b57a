"""How every page is drawn: escaped, seen as it is, and no text of others longer than a person would read."""

from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, select_autoescape

from provisioning_pipeline.model.visible import unsteered

_MOST_SHOWN: Final = 2000
"""Characters of one text. The longest sentence of ours, with a list of people in it, is half of that."""


@cache
def page_environment() -> Environment:
    """The templates, with everything that comes from outside escaped, seen and cut."""
    return Environment(
        loader=PackageLoader("provisioning_pipeline.report", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )


def shown(text: str) -> str:
    """A text as a page or table shows it: cut where it goes on for ever, and that is said.

    What would turn a line around, or hide in it, stands as an escape.
    """
    more = len(text) - _MOST_SHOWN
    return unsteered(text) if more <= 0 else f"{unsteered(text[:_MOST_SHOWN])}… ({more:,} more characters)"


def _shown(value: Any) -> Any:
    # what is markup already was made here
    return shown(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
