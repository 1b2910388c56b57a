"""Values between steps: JSON files that hold data alone, read back as the type that the step's output is declared as.

`<base>/values/<run>/<step>/<output>.json`, where the base is the setting PROVISIONING_TABLES_PATH. It may be an object
store that others reach, too: nothing that lies there is ever executed.
"""

import json
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
from pydantic import TypeAdapter, ValidationError

from provisioning_pipeline.clients.files import NotWritten, write_whole
from provisioning_pipeline.defs.tables import SETTING, place, settings_now

if TYPE_CHECKING:
    from upath import UPath

VALUES: Final = "values"
_IN_PROCESS = frozenset({"in_process", "execute_in_process_executor"})
"""Executors whose steps share one process."""
_MOST_BYTES: Final = 256 * 1024 * 1024
"""A chunk of 1,000 tenants with 100 members each, who all need something, takes a quarter of it."""


class Values(dg.UPathIOManager):
    """Hands values from step to step as files, one per run, step and output.

    Where one process runs all steps, a value that cannot be written stays in its memory: tenants need not wait for a
    disk. The run then fails at its end, because it can never be executed again from the middle.
    """

    extension = ".json"

    def __init__(self) -> None:
        """Nothing is read yet, so the base class, which wants to know the place now, is not asked."""
        self._in_memory: dict[str, bytes] = {}

    def make_directory(self, path: "UPath") -> None:
        """Made with the file, whose errors are sentences."""

    @cached_property
    def _base_path(self) -> "UPath":  # type: ignore[override]  # the base class has it from the beginning
        return place() / VALUES

    def dump_to_path(self, context: dg.OutputContext, obj: Any, path: "UPath") -> None:
        """Write a value.

        Raises:
            dagster.Failure: when it is too large, or cannot be written where each step has a process of its own.
            TypeError: when nothing says of which type it is.
        """
        content = _written(_adapter(context), obj)
        if len(content) > _MOST_BYTES:
            raise dg.Failure(
                f"What this step hands on is larger than {_MOST_BYTES} bytes. Set PROVISIONING_TENANTS_PER_CHUNK "
                "lower, and execute the job from the beginning.",
                allow_retries=False,
            )
        try:
            write_whole(path, content, setting=SETTING, readers=settings_now().files_readable_by)
        except NotWritten as refusal:
            if context.step_context.job_def.executor_def.name not in _IN_PROCESS:
                raise dg.Failure(
                    f"{refusal} Steps in processes of their own hand their values on there.", allow_retries=False
                ) from None
            context.log.warning(f"{refusal} The value stays in memory, and the run goes on.")
            self._in_memory[str(path)] = content

    def load_from_path(self, context: dg.InputContext, path: "UPath") -> Any:
        """Read a value that a step of ours wrote.

        Raises:
            dagster.Failure: when there is none, or what is there is no such value.
        """
        assert context.upstream_output is not None
        adapter = _adapter(context.upstream_output)
        content = self._in_memory.get(str(path))
        try:
            return adapter.validate_json(_content(path) if content is None else content)
        except FileNotFoundError:
            why = f"There is no {path}: it was removed, or written by an older version of this program"
        except OSError as error:
            why = f"{path} cannot be read: {(error.strerror or type(error).__name__).lower()}"
        except ValidationError as error:
            # its words quote what was read
            why = f"{path} does not hold what the step before hands on ({error.error_count()} faults): another version "
            why += "of this program wrote it, or somebody else did"
        # not in the handler: what was read hangs on the exception that is handled there
        raise dg.Failure(
            f"{why}. Nothing of it was used. Execute the job from the beginning: that does only what is still to be "
            "done.",
            allow_retries=False,
        )


@dg.io_manager(
    description="Values between steps as JSON below PROVISIONING_TABLES_PATH, so that any machine can go on."
)
def values_io_manager(_context: dg.InitResourceContext) -> dg.IOManager:
    """One for each run, so that the settings are those of the run."""
    return Values()


def _adapter(output: dg.OutputContext) -> TypeAdapter[Any]:
    """What writes and reads the values of this output, by the type that its definition says and nothing else."""
    declared = output.dagster_type.typing_type
    if declared is Any:
        message = f"The output {output.name} of {output.step_key} says no type, so its values cannot be kept"
        raise TypeError(message)
    return _adapter_for(declared)


@cache
def _adapter_for(declared: Any) -> TypeAdapter[Any]:
    return TypeAdapter(declared)


def _written(adapter: TypeAdapter[Any], value: Any) -> bytes:
    plain = adapter.dump_python(value, mode="json", warnings=False, fallback=_plain)
    # half a surrogate pair, which a name from outside may hold and no system of ours takes, becomes a question mark
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _plain(value: Any) -> Any:
    """A number or truth of a frame as Python's own.

    Raises:
        TypeError: when it is anything else: no value between steps holds objects.
    """
    import numpy as np

    if isinstance(value, np.generic):
        return value.item()
    message = f"A value between steps holds a {type(value).__name__}, which is no data"
    raise TypeError(message)


def _content(path: "UPath") -> bytes:
    """What is in the file, or more than any value has."""
    with path.open("rb") as opened:
        content: bytes = opened.read(_MOST_BYTES + 1)
    return content
