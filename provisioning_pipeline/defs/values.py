"""Values between steps: JSON files that hold data alone, read back as the type that the step's output is declared as.

`<base>/values/<run>/<step>/<output>.json`, where the base is the setting PROVISIONING_TABLES_PATH. It may be an object
store that others reach, too: nothing that lies there is ever executed.
"""

import json
from collections.abc import Iterator
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
from dagster._core.execution.context.system import StepExecutionContext
from pydantic import TypeAdapter, ValidationError

from provisioning_pipeline.clients.files import NotWritten, write_whole
from provisioning_pipeline.defs.tables import SETTING, place, settings_now

if TYPE_CHECKING:
    from upath import UPath

VALUES: Final = "values"
_MOST_BYTES: Final = 256 * 1024 * 1024
"""A chunk of 1,000 tenants with 100 members each, who all need something, takes a quarter of it."""


class Values(dg.IOManager):
    """Hands values from step to step as files, one per run, step and output.

    A value that cannot be written stays in memory: where one process runs all steps, tenants need not wait for a disk.
    In another process the step that needs it fails and says so.
    """

    def __init__(self) -> None:
        self._in_memory: dict[str, bytes] = {}

    @cached_property
    def _base(self) -> "UPath":
        return place() / VALUES

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write a value.

        Raises:
            dagster.Failure: when it is too large.
            TypeError: when nothing says of which type it is.
        """
        content = _written(_adapter(context), obj)
        if len(content) > _MOST_BYTES:
            raise dg.Failure(
                f"What this step hands on is larger than {_MOST_BYTES} bytes. Set PROVISIONING_TENANTS_PER_CHUNK "
                "lower, and execute the job from the beginning.",
                allow_retries=False,
            )
        path = self._path(context.run_id, context)
        try:
            write_whole(path, content, setting=SETTING, readers=settings_now().files_readable_by)
        except NotWritten as refusal:
            context.log.warning(f"{refusal} The value stays in this process's memory, and the run goes on.")
            self._in_memory[str(path)] = content

    def load_input(self, context: dg.InputContext) -> Any:
        """Read the value that a step of this run wrote, or else of the run that this one goes on with, and so on.

        After a cancel Dagster does not know which run wrote it, so it is looked for.

        Raises:
            dagster.Failure: when there is none, or what is there is no such value.
        """
        written = context.upstream_output
        assert written is not None
        adapter = _adapter(written)
        newest = None
        for run_id in _lineage(context.step_context):
            path = self._path(run_id, written)
            newest = newest or path
            try:
                content = self._in_memory.get(str(path))
                return adapter.validate_json(_content(path) if content is None else content)
            except FileNotFoundError:
                continue
            except OSError as error:
                why = f"{path} cannot be read: {(error.strerror or type(error).__name__).lower()}"
            except ValidationError as error:
                # its words quote what was read
                why = f"{path} does not hold what the step before hands on ({error.error_count()} faults): another "
                why += "version of this program wrote it, or another program did"
            break
        else:
            why = f"There is no {newest}: the step before could not write it, wrote it on another machine that has a "
            why += f"folder of its own there ({SETTING}), or under an older version of this program, or it was removed"
        # not in the handler: what was read hangs on the exception that is handled there
        raise dg.Failure(
            f"{why}. Nothing of it was used. Execute the job from the beginning: that does only what is still to be "
            "done.",
            allow_retries=False,
        )

    def _path(self, run_id: str, output: dg.OutputContext) -> "UPath":
        names = [run_id, output.step_key, output.name, *([output.mapping_key] if output.mapping_key else [])]
        return self._base.joinpath(*names[:-1], f"{names[-1]}.json")


def _lineage(step: StepExecutionContext) -> Iterator[str]:
    """The run, then the run that it goes on with, up to the first one."""
    run: dg.DagsterRun | None = step.dagster_run
    root = step.dagster_run.root_run_id
    seen: set[str] = set()
    while run is not None and run.run_id not in seen:
        seen.add(run.run_id)
        yield run.run_id
        run = step.instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
    # one in between may have been deleted
    if root is not None and root not in seen:
        yield root


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
