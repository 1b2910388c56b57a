"""How every page is drawn: escaped, and no text of others longer than a person would read."""

from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, select_autoescape

_MOST_SHOWN: Final = 2000
"""Characters of one text. The longest sentence of ours, with a list of people in it, is half of that."""


@cache
def page_environment() -> Environment:
    """The templates, with everything that comes from outside escaped and cut."""
    return Environment(
        loader=PackageLoader("provisioning_pipeline.report", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_cut,
    )


def shown(text: str) -> str:
    """A text as a page or table shows it: cut where it goes on for ever, and that is said."""
    more = len(text) - _MOST_SHOWN
    return text if more <= 0 else f"{text[:_MOST_SHOWN]}… ({more:,} more characters)"


def _cut(value: Any) -> Any:
    # what is markup already was made here
    return shown(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
