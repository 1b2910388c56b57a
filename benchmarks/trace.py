"""Which files a reader meets who follows the run of one new tenant through the product.

    python -m benchmarks.trace [--files]

A sandbox of two tenants starts, and one of them is provisioned, so that ledger, service account and imports are there.
Then one run for the other tenant, from `apply` to its report, goes on under `sys.setprofile`, in every thread that it
starts. What counts:

- product files: every file of `provisioning_pipeline` of which a function, or an expression inside one, runs; module
  bodies, class bodies, the sandbox and the client for others' programs do not count;
- functions: distinct code objects in them, comprehensions and lambdas left out, however often each runs;
- rooms: the packages right below `provisioning_pipeline`; a module there counts as a room of its own;
- changes of layer: how often a reader who opens the files one after the other, each where it is first needed, goes from
  one room to another.

The figures vary by a few from run to run, since what waits for what does.
"""

import asyncio
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import provisioning_pipeline
from benchmarks.stand_in import only_settings
from provisioning_pipeline.run.run import apply
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions

_ROOT = Path(provisioning_pipeline.__file__).parent
_NOT_OURS = ("sandbox", "client")
_INSIDE_OTHERS = frozenset({"<module>", "<lambda>", "<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"})


@dataclass
class Trace:
    """What was entered, in the order in which it was first met.

    Args:
        functions: code objects, each with its file below the package.
    """

    functions: dict[CodeType, str] = field(default_factory=dict)

    @property
    def files(self) -> list[str]:
        """Each once."""
        return list(dict.fromkeys(self.functions.values()))

    @property
    def changes(self) -> int:
        """How often two files that are met one after the other are in different rooms."""
        return sum(room(before) != room(after) for before, after in pairwise(self.files))

    def by_room(self) -> dict[str, tuple[int, int]]:
        """Room → files and functions."""
        files: defaultdict[str, set[str]] = defaultdict(set)
        functions = Counter(map(room, self.functions.values()))
        for file in self.functions.values():
            files[room(file)].add(file)
        return {name: (len(files[name]), functions[name]) for name in sorted(files)}

    def enter(self, frame: FrameType, event: str, _: Any) -> None:
        """What `sys.setprofile` calls."""
        if event != "call" or frame.f_code in self.functions:
            return
        file = file_of(frame.f_code)
        if file is None:
            return
        code = frame.f_code
        if code.co_name not in _INSIDE_OTHERS and "__qualname__" not in code.co_names:
            self.functions[code] = file


_FILES: dict[str, str | None] = {}


def file_of(code: CodeType) -> str | None:
    """The file below the package; None where it is none of the product's."""
    name = code.co_filename
    if name not in _FILES:
        path = Path(name)
        inside = (
            path.suffix == ".py" and path.is_relative_to(_ROOT) and path.relative_to(_ROOT).parts[0] not in _NOT_OURS
        )
        _FILES[name] = path.relative_to(_ROOT).as_posix() if inside else None
    return _FILES[name]


def room(file: str) -> str:
    """The package right below the product's."""
    return file.split("/")[0]


@contextmanager
def traced() -> Iterator[Trace]:
    """Everything that this thread, and threads that it starts, enters meanwhile."""
    trace = Trace()
    threading.setprofile(trace.enter)
    sys.setprofile(trace.enter)
    try:
        yield trace
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def trace_one_new_tenant() -> Trace:
    """Run it in a sandbox of its own."""
    with Sandbox(SandboxOptions(tenants=2)) as sandbox, only_settings(sandbox.environment()) as settings:
        first, second = (tenant.slug for tenant in sandbox.tenants)
        asyncio.run(apply(settings, [first]))
        with traced() as trace:
            applied = asyncio.run(apply(settings, [second]))
        assert applied.count("ready") == 1, "the tenant is not ready, so this is not the trace of its run"
    return trace


def main() -> None:
    """Print it."""
    trace = trace_one_new_tenant()
    print(f"{'room':<16}{'files':>7}{'functions':>11}")
    for name, (files, functions) in trace.by_room().items():
        print(f"{name:<16}{files:>7}{functions:>11}")
    print(f"{'together':<16}{len(trace.files):>7}{len(trace.functions):>11}")
    print(f"{trace.changes} changes of layer")
    if "--files" in sys.argv:
        for file in trace.files:
            print(file)


if __name__ == "__main__":
    main()
