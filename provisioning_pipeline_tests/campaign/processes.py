"""Runs of the program in processes of their own: the real command line, killed where the script says."""

import json
import multiprocessing
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provisioning_pipeline_tests.steps.killed import When, die_at

_FORK_SERVER = multiprocessing.get_context("forkserver")
_FORK_SERVER.set_forkserver_preload([f"{__package__}.preloaded"])
_MOST_SECONDS = 240.0
"""A real server on a busy machine takes minutes for what a stand-in does in one second."""


@dataclass(frozen=True)
class Cut:
    """Where a run kills itself: at a boundary, counted from 0."""

    boundary: int
    when: When


@dataclass
class Run:
    """One run of the program. Its output is in `folder`, in two files called after `name`."""

    name: str
    slot: str
    arguments: tuple[str, ...]
    folder: Path
    process: Any
    begun: float = field(default_factory=time.monotonic)
    killed: bool = False
    hung: bool = False

    @property
    def alive(self) -> bool:
        """Whether it is still at work."""
        return bool(self.process.is_alive())

    @property
    def code(self) -> int | None:
        """How it ended: 0 to 3 as documented, negative for a signal; None while it works."""
        return None if self.process.exitcode is None else int(self.process.exitcode)

    @property
    def output(self) -> str:
        """What it wrote on standard output."""
        return (self.folder / f"{self.name}.out").read_text("utf-8", "replace")

    @property
    def errors(self) -> str:
        """What it wrote on standard error."""
        return (self.folder / f"{self.name}.err").read_text("utf-8", "replace")

    @property
    def document(self) -> dict[str, Any]:
        """The JSON that it printed; empty where it printed none."""
        try:
            found = json.loads(self.output)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal, if it is still there."""
        if self.process.is_alive():
            self.killed = True
            os.kill(self.process.pid, number)

    def wait(self, seconds: float = _MOST_SECONDS) -> None:
        """Return once it has ended. One that takes too long is killed, and counts as hung."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.hung = True
            self.process.kill()
            self.process.join()


def warm_up() -> None:
    """Start the process that all others are forked from: that takes seconds, in which no script should be running."""
    process = _FORK_SERVER.Process(target=_nothing)
    process.start()
    process.join()


def _nothing() -> None:
    return None


def start(
    name: str,
    slot: str,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    folder: Path,
    *,
    cut: Cut | None = None,
    defect: str | None = None,
) -> Run:
    """Begin `provisioning` with these arguments and nothing in its environment but these settings.

    `defect` names one of the planted defects of the program.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for ending in (".out", ".err"):
        (folder / f"{name}{ending}").touch()
    process = _FORK_SERVER.Process(
        target=_child, args=(name, arguments, environment, str(folder), cut, defect), daemon=True
    )
    process.start()
    return Run(name, slot, arguments, folder, process)


def _child(
    name: str,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    folder: str,
    cut: Cut | None,
    defect: str | None,
) -> None:
    os.chdir(folder)
    for ending, stream in ((".out", 1), (".err", 2)):
        with Path(folder, name + ending).open("wb") as file:
            os.dup2(file.fileno(), stream)
    for variable in [variable for variable in os.environ if variable.startswith("PROVISIONING_")]:
        del os.environ[variable]
    os.environ |= environment | {"COLUMNS": "200"}
    if cut is not None:
        die_at(cut.boundary, cut.when, lambda label: Path(folder, name + ".cut").write_text(label, "utf-8"))
    if defect is not None:
        from provisioning_pipeline_tests.campaign.planted import DEFECTS_OF_THE_PROGRAM

        DEFECTS_OF_THE_PROGRAM[defect]()
    from provisioning_pipeline.cli.main import app

    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # the process ends with it
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # as above
    app(list(arguments))
