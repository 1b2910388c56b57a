"""What commands print for people: names and messages come from outside, and steer no terminal."""

import re
from collections.abc import Iterable
from typing import IO, Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_STEERS: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]"
)
"""Control characters with the escape among them, what turns the direction of a line, and what no encoding holds.

Also spaces without width: two addresses that differ would look alike.

Line ends and tabs stay: sentences have them.
"""


def printable(text: str) -> str:
    """Text as a terminal may show it, with a mark for each character that would steer it."""
    return _STEERS.sub("\ufffd", text)


class Terminal(Console):
    """A console that prints no control character but its own, and takes no `:word:` for an emoji."""

    def __init__(self, *, stderr: bool = False, quiet: bool = False, file: IO[str] | None = None) -> None:
        super().__init__(stderr=stderr, quiet=quiet, file=file, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of something to print; colours and cursor movements of ours are no text."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)
