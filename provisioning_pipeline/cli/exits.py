"""Exit codes, and how commands end that fail, are not agreed to, or are told to stop."""

import asyncio
import signal
import sys
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from provisioning_pipeline.cli import terminal
from provisioning_pipeline.cli.terminal import say
from provisioning_pipeline.model.fault import TOO_LITTLE_MEMORY, BadInput, Fault, RunFault

if TYPE_CHECKING:
    from provisioning_pipeline.settings import Settings

T = TypeVar("T")
ALL_READY = 0
RUN_FAILED = 1
BAD_INPUT = 2
SOME_UNWELL = 3
_STOPPED = "Stopped. What was done is recorded, and the next run goes on from there; `provisioning status` says more."


def fail(message: str | Iterable[str], code: int) -> typer.Exit:
    """Say it, or each of several, on a line of standard error, and return what to raise."""
    say(*((message,) if isinstance(message, str) else message), err=True)
    return typer.Exit(code)


def agreed(question: str, *, undone: str) -> bool:
    """Ask; where there is no terminal to ask at, end the program and say that nothing was `undone`."""
    if not at_a_terminal():
        raise fail(f"There is no terminal to ask at, so nothing was {undone}. Give --yes to agree.", BAD_INPUT)
    return terminal.agreed(question)


def at_a_terminal() -> bool:
    """Whether there is a terminal to ask at."""
    return sys.stdin.isatty()


@contextmanager
def configured() -> "Iterator[Settings]":
    """The settings for a command, whose failures are turned into one sentence and an exit code.

    A fault in the settings ends the program with one line per fault. What is misspelt is said first. Traces begin here,
    where the environment asks for them.
    """
    from provisioning_pipeline.clients import tracing
    from provisioning_pipeline.settings import SettingsError, load_settings
    from provisioning_pipeline.settings.variables import unknown_variables

    for line in unknown_variables():
        say(line, err=True)
    try:
        settings = load_settings()
    except SettingsError as error:
        lines = [*error.faults, "See docs/configuration.md, or `provisioning sandbox up --env-file FILE` to try."]
        raise fail(lines, BAD_INPUT) from None
    if untraced := tracing.begin():
        say(untraced, err=True)
    with one_sentence():
        yield settings


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn failures of the run into one sentence and an exit code."""
    from psycopg import Error

    from provisioning_pipeline.clients.postgres_refusals import first_line
    from provisioning_pipeline.run.saved_plans import PlanChanged
    from provisioning_pipeline.settings import SettingsError

    try:
        yield
    except (SettingsError, PlanChanged) as fault:
        raise fail(str(fault).split("\n"), BAD_INPUT) from None
    except BadInput as fault:
        raise fail(str(fault), BAD_INPUT) from None
    except RunFault as fault:
        raise fail(str(fault), RUN_FAILED) from None
    except Fault as fault:
        raise fail(fault.message, RUN_FAILED) from None
    except Error as error:
        raise fail(f"PostgreSQL refused: {first_line(error)}.", RUN_FAILED) from None
    except MemoryError:
        raise fail(TOO_LITTLE_MEMORY, RUN_FAILED) from None
    except OSError as error:
        # a file of ours, most likely
        named = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise fail(named, RUN_FAILED) from None


def run_to_an_end(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` for work that changes something, and records what was done; a second Ctrl-C ends it at once.

    Raises:
        typer.Exit: when it was told to stop.
    """
    try:
        return asyncio.run(until_told_to_stop(work))
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise fail(_STOPPED, RUN_FAILED) from None


async def until_told_to_stop(work: Coroutine[Any, Any, T]) -> T:
    """Ctrl-C cancels by itself; being stopped by a service manager or losing the terminal does so, too."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, partial(task.cancel, f"It was told to stop ({number.name})."))
    return await work
