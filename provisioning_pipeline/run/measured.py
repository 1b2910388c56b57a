"""What a run was like, for the ledger: calls, phases, what it was made with."""

import json
import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from pydantic import SecretStr

from provisioning_pipeline.model.history import Versions
from provisioning_pipeline.model.run_record import RunRecord
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.run.totals import PHASES, Totals
from provisioning_pipeline.settings import PREFIX, Settings


def measured(record: RunRecord, connections: Connections, totals: Totals) -> RunRecord:
    """The record with what was counted until now."""
    settings = connections.settings
    return replace(
        record,
        calls=dict(totals.calls.most_common()),
        clerk_calls=totals.clerk_calls,
        twenty_calls=totals.twenty_calls,
        clerk_calls_allowed=int(settings.clerk_requests_per_10_seconds * settings.clerk_share),
        mutating_calls=totals.mutating_calls,
        phases=tuple((phase, totals.phases[phase]) for phase in PHASES if phase in totals.phases),
        refusals=tuple(totals.refusals),
        defects=tuple(totals.defects),
        versions=_versions(connections),
        settings=shown(settings),
    )


def shown(settings: Settings) -> dict[str, str]:
    """The settings by variable, for people to read; secrets, and URLs that hold a password, are left out."""
    found: dict[str, str] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if not isinstance(value, SecretStr) and name != "twenty_servers":
            found[f"{PREFIX}{name.upper()}"] = _as_set(value)
    for server in settings.servers:
        rules = f", capacity {server.capacity or 'unlimited'}" + (
            f", tenants {server.tenants}" if server.tenants else ""
        )
        found[f"Twenty server {server.name}"] = f"{server.base_url}{rules}"
    return found


def _as_set(value: object) -> str:
    """A setting as one writes it into the environment."""
    if value is None:
        return ""
    return str(value) if isinstance(value, str | Path) else json.dumps(value)


def _versions(connections: Connections) -> Versions:
    return Versions(
        program=version("provisioning-pipeline"),
        dagster=version("dagster"),
        python=platform.python_version(),
        servers={name: server.client.version for name, server in connections.servers.items()},
    )
