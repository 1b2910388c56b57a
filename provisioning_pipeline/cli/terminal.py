"""The one place from which anything is printed: names and messages come from outside, and steer no terminal.

Every command writes through `Terminal`, `say`, `say_json` or `agreed`; ruff refuses any other way.
"""

import json
import logging
import sys
import traceback
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment

from provisioning_pipeline.model.names import unsteered, visible

if TYPE_CHECKING:
    from rich.console import OverflowMethod
    from rich.progress import Progress
    from rich.table import Table


def plain(text: str) -> str:
    """Text from outside as a part of markup: on one line, and without markup of its own."""
    return escape(visible(text))


class Terminal(Console):
    """A console that prints no control character but its own, and takes no `:word:` for an emoji."""

    def __init__(self, *, stderr: bool = False, quiet: bool = False, file: IO[str] | None = None) -> None:
        super().__init__(stderr=stderr, quiet=quiet, file=file, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of something to print; colours and cursor movements of ours are no text."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else unsteered(text), style, control)


def say(*sentences: str, err: bool = False) -> None:
    """Print each sentence on a line of its own, as it is: no markup, no wrapping."""
    typer.echo("\n".join(map(visible, sentences)), err=err)


def say_json(document: Any, *, indent: int | None = None) -> None:
    """Print one document for a machine. Whatever is not ASCII is escaped, and DEL, which JSON leaves, too."""
    typer.echo(json.dumps(document, indent=indent, default=str).replace("\x7f", "\\u007f"))


def agreed(question: str) -> bool:
    """Ask on standard error."""
    return typer.confirm(visible(question), err=True)


def table(*headings: str, pad_edge: bool = False, overflow: "OverflowMethod" = "fold") -> "Table":
    """A table without lines."""
    from rich.table import Table

    made = Table(box=None, pad_edge=pad_edge, header_style="dim")
    for heading in headings:
        made.add_column(heading, overflow=overflow)
    return made


def show_rows(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print texts from outside as a table; what a narrow terminal has no room for is cut off."""
    shown = table(*headings, overflow="ellipsis")
    for row in rows:
        shown.add_row(*map(plain, row))
    Terminal().print(shown)


def progress_bar(*, quiet: bool) -> "Progress":
    """A bar on standard error, which goes away at the end."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Terminal(stderr=True, quiet=quiet), transient=True)


def clean_what_python_prints() -> None:
    """Have warnings that no handler logs, and unforeseen errors, printed in the same way."""
    logging.lastResort = _LastResort(logging.WARNING)
    sys.excepthook = _print_error


class _LastResort(logging.StreamHandler[Any]):
    """Python's own, which writes to the standard error of now."""

    def __init__(self, level: int) -> None:
        logging.Handler.__init__(self, level)

    @property
    def stream(self) -> Any:
        """Not the one of the import."""
        return sys.stderr

    def format(self, record: logging.LogRecord) -> str:
        """One line of a log."""
        return unsteered(super().format(record))


def _print_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(unsteered("".join(traceback.format_exception(kind, error, trace))))
