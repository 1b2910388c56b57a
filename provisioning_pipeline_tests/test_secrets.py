"""No secret reaches a log, an event, a report, the ledger, the terminal or an error: all of them are searched."""

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from upath import UPath

from provisioning_pipeline.clients.twenty.accounts import derived_password
from provisioning_pipeline.definitions import defs
from provisioning_pipeline.defs.tables import read
from provisioning_pipeline.ledger.schema import ledger_database
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.views.tenant_timeline import timeline
from provisioning_pipeline_tests.world import World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with Sandbox(SandboxOptions(tenants=2, members=3, broken=True)) as sandbox:
        for name, value in (sandbox.environment() | CANARIES).items():
            monkeypatch.setenv(name, value)
        yield World(sandbox)


CANARIES = {
    "PROVISIONING_REPORT_PASSWORD": "canary-report-password",
    "PROVISIONING_ALERT_WEBHOOK_URL": "http://127.0.0.1:9/canary-hook",
    "PROVISIONING_ALERT_URLS": '["json://canary-user:canary-notified@127.0.0.1:9/canary"]',
    "PROVISIONING_WEBHOOK_URLS": '["http://127.0.0.1:9/canary-announced"]',
    "PROVISIONING_WEBHOOK_SECRET": "whsec_Y2FuYXJ5LW9mLXRoZS1zaWduaW5nLXNlY3JldA==",
}


def secrets_of(world: World) -> set[str]:
    """Every secret that is in play: settings, passwords in URLs, derived passwords, the registry's database_url."""
    environment = world.sandbox.environment()
    found = {
        environment["PROVISIONING_TWENTY_SERVICE_PASSWORD"],
        environment["PROVISIONING_CLERK_SECRET_KEY"],
        environment["PROVISIONING_MEMBER_PASSWORD_KEY"],
        environment["PROVISIONING_CLERK_WEBHOOK_SECRET"],
        environment["PROVISIONING_REGISTRY_URL"].split(":")[2].split("@")[0],
    }
    emails = [row[0] for row in world.twenty('SELECT email FROM core."user"')]
    found |= {derived_password(world.settings.member_password_key, email).get_secret_value() for email in emails}
    return found


A_TOKEN = "eyJhbGciOi"
"""Every JSON Web Token begins so: those of Twenty, and those of Clerk."""


async def timeline_of(world: World, slug: str) -> object:
    async with ledger_database(world.settings, read_only=True) as ledger:
        found = await timeline(ledger, slug)
    assert found is not None
    assert found.events
    return found


@pytest.mark.slow
def test_no_secret_is_written_anywhere(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    world.registry(
        "UPDATE tenant_registry SET database_url = 'postgresql://boss:canary-url-password@db/x' RETURNING id"
    )
    # trouble too: errors are where secrets slip out
    world.sandbox.twenty[0].faults.scripted += [
        ScriptedFault("signUpInWorkspace", "drop"),
        ScriptedFault("updateWorkspaceMemberRole", "error", times=8),
    ]
    (tmp_path / "dagster").mkdir()
    with dg.instance_for_test(temp_dir=str(tmp_path / "dagster")) as instance:
        job = defs.resolve_job_def("reconcile_tenants")
        for _ in range(2):
            job.execute_in_process(instance=instance, raise_on_error=False)
        job.execute_in_process(instance=instance, run_config={"ops": {"detect_tenants": {"config": {"dry_run": True}}}})
        by_hand = defs.resolve_implicit_global_asset_job_def()
        assert by_hand.execute_in_process(instance=instance, raise_on_error=False).success
        world.apply()
        events = [
            str(record.event_log_entry)
            for run in instance.get_runs()
            for record in instance.get_records_for_run(run.run_id).records
        ]
    assert world.conditions("acme")["Ready"] == ("True", "AllTrue")

    written: dict[str, str] = {"log": caplog.text, "events": "\n".join(events)}
    out, err = capfd.readouterr()
    written |= {"stdout": out, "stderr": err, "settings": repr(world.settings) + str(world.settings.servers)}
    tables = [row[0] for row in world.registry("SELECT tablename FROM pg_tables WHERE schemaname = 'provisioning'")]
    assert {"outcome", "run", "condition_change", "drift"} <= set(tables)
    for table in tables:
        rows = world.registry(f"SELECT to_jsonb(t) FROM provisioning.{table} t")
        written[table] = json.dumps([row[0] for row in rows])
    for path in [*Path(world.settings.report_path).rglob("*"), *(tmp_path / "dagster").rglob("*")]:
        if path.is_file():
            written[str(path)] = path.read_bytes().decode("utf-8", "replace")
        if path.suffix == ".parquet":
            # its values are compressed
            written[f"{path} read"] = read(UPath(path)).to_json(orient="records", date_format="iso")
    for slug in ("acme", "brightwave", "half-made"):
        written[f"timeline of {slug}"] = repr(asyncio.run(timeline_of(world, slug)))
    assert len(written["events"]) > 1000
    for kind in (".html", "tenant_timeline.parquet read", ".json"):
        assert any(name.endswith(kind) for name in written), kind
    secrets = secrets_of(world) | set(CANARIES.values())
    secrets |= {"canary-url-password", "canary-hook", "canary-announced", A_TOKEN}
    assert len(secrets) >= 7

    leaks = {(secret[:4] + "…", where) for secret in secrets for where, text in written.items() if secret in text}

    assert leaks == set()
