"""Containers of the image without an engine: its user and a root that cannot be written to, by bubblewrap.

`.ci/image` builds the image and names its mounted root and its configuration in `IMAGE_ROOT` and `IMAGE_CONFIG`.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Image:
    """The mounted root of an image, and its configuration as the image has it."""

    root: Path
    config: Mapping[str, Any]

    @property
    def environment(self) -> dict[str, str]:
        return dict(variable.split("=", 1) for variable in self.config["Env"])

    @property
    def as_its_user(self) -> list[str]:
        """What an engine does before the command: the image's user, no capabilities, and none to be had."""
        user, group = self.config["User"].split(":")
        dropped = ["--clear-groups", "--inh-caps", "-all", "--bounding-set", "-all", "--no-new-privs"]
        return ["setpriv", "--reuid", user, "--regid", group, *dropped]


@dataclass
class Container:
    """A command of the image that runs, as its first process.

    Args:
        mounts: folder on this machine → where it stands in the container, not to be written to.
    """

    image: Image
    command: tuple[str, ...]
    data: Path
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[Path, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._variables = self.image.environment | self.environment
        mounts = [part for source, target in self.mounts.items() for part in ("--ro-bind", str(source), target)]
        contained = [
            *("bwrap", "--unshare-pid", "--as-pid-1", "--die-with-parent", "--clearenv"),
            *("--ro-bind", str(self.image.root), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/run"),
            *("--perms", "1777", "--tmpfs", "/dev/shm", "--perms", "1777", "--tmpfs", "/tmp"),
            *("--bind", str(self.data), self.image.config["WorkingDir"]),
            *("--ro-bind", "/etc/hosts", "/etc/hosts", *mounts, "--chdir", self.image.config["WorkingDir"]),
            *(part for name, value in self._variables.items() for part in ("--setenv", name, value)),
        ]
        entrypoint = self.image.config["Entrypoint"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                # as an engine begins: where SIGINT is ignored, as behind a shell, Dagster ignores SIGTERM, too
                [
                    "env",
                    "--default-signal=INT,QUIT",
                    *contained,
                    "--",
                    *self.image.as_its_user,
                    *entrypoint,
                    *self.command,
                ],
                stdout=log,
                stderr=log,
            )

    @property
    def first_process(self) -> int:
        """Its process 1, by its number on this machine."""
        assert self.has_begun()
        return int(self._children())

    def has_begun(self) -> bool:
        """Whether there is a process 1 yet."""
        assert self.process.poll() is None, self.said()
        return bool(self._children())

    def _children(self) -> str:
        return Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()

    def processes(self) -> list[int]:
        """All of its processes."""
        space = Path(f"/proc/{self.first_process}/ns/pid").readlink()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if (folder / "ns/pid").readlink() == space:
                    found.append(int(folder.name))
            except OSError:
                continue  # it has just ended
        return found

    def execute(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """What `docker exec` does: a command beside the first process, as the same user, with the same variables."""
        variables = [f"{name}={value}" for name, value in self._variables.items()]
        inside = ["nsenter", "--target", str(self.first_process), "--mount", "--pid", "--root", "--wd"]
        return subprocess.run(
            [*inside, "env", "-i", *variables, *self.image.as_its_user, *command],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def is_healthy(self) -> bool:
        """Whether the image's own health check says so."""
        kind, *command = self.image.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self.has_begun() and self.execute(*command).returncode == 0

    def end(self) -> int:
        """SIGTERM to the first process, as an engine sends it; the exit code of the container."""
        os.kill(self.first_process, signal.SIGTERM)
        return self.process.wait(timeout=300)

    def said(self) -> str:
        return self.log.read_text(errors="replace")


def environments(processes: Iterable[int]) -> str:
    """The variables of these processes, as anyone who may look at them finds them."""
    return "\n".join(Path(f"/proc/{number}/environ").read_text().replace("\0", "\n") for number in processes)


def image_of_ci() -> Image | None:
    """The image that `.ci/image` has built; None: it has not."""
    if "IMAGE_ROOT" not in os.environ:
        return None
    inspected = json.loads(Path(os.environ["IMAGE_CONFIG"]).read_text())
    return Image(Path(os.environ["IMAGE_ROOT"]), inspected["Docker"]["config"])
