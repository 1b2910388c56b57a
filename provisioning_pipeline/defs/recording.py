"""How assets and checks show what was found, and how an op records a check's result."""

from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypedDict, TypeVar

import dagster as dg

from provisioning_pipeline.defs.resources import Systems
from provisioning_pipeline.report import markdown
from provisioning_pipeline.run.connections import Connections

T = TypeVar("T")

MOST_LISTED = 50
Recorded = Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation]
"""What an op yields of what it found."""


class About(TypedDict):
    """What every asset of a capability says of itself."""

    group_name: str
    owners: Sequence[str]
    tags: Mapping[str, str]


def about(capability: str) -> About:
    """For the assets of this capability."""
    return {"group_name": capability, "owners": ["team:platform"], "tags": {"capability": capability}}


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, most: int = MOST_LISTED, rest: str = ".", none: str = "None."
) -> dg.MarkdownMetadataValue:
    """A table of at most so many rows, with how many more there are; `none` where there is no row."""
    return dg.MetadataValue.md(markdown.table(head, rows, most=most, rest=rest) or none)


def check_result(
    *, passed: bool, metadata: dict[str, Any], severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN
) -> dg.AssetCheckResult:
    """The result of a check; `evaluation` and `result_of` say of which."""
    return dg.AssetCheckResult(passed=passed, severity=severity, metadata=metadata)


def check(
    asset: str,
    name: str,
    read: Callable[[Connections], Coroutine[Any, Any, T]],
    result: Callable[[T], dg.AssetCheckResult],
    description: str,
) -> dg.AssetChecksDefinition:
    """A check that runs record, and that reads for itself when it is launched by hand."""

    @dg.asset_check(asset=dg.AssetKey(asset), name=name, description=description)
    def evaluated(systems: Systems) -> dg.AssetCheckResult:
        return result(systems.read(read))

    return evaluated


def result_of(check: dg.AssetCheckSpec, result: dg.AssetCheckResult) -> dg.AssetCheckResult:
    """The result as this check's, for what evaluates several."""
    return result._replace(asset_key=check.asset_key, check_name=check.name)


def evaluation(
    check: dg.AssetCheckSpec | dg.AssetChecksDefinition, result: dg.AssetCheckResult
) -> dg.AssetCheckEvaluation:
    """The result of this check as an event, for an op to yield."""
    spec = check if isinstance(check, dg.AssetCheckSpec) else next(iter(check.check_specs))
    return dg.AssetCheckEvaluation(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=result.passed,
        severity=result.severity,
        metadata=result.metadata,
    )
