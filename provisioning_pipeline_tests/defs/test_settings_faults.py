"""Settings and an environment that cannot be used: definitions load, runs fail with the sentence, no secret shows."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from provisioning_pipeline.definitions import build_defs
from provisioning_pipeline.defs.launching import clerk_changes, new_tenant_databases
from provisioning_pipeline.settings import PREFIX, SettingsError
from provisioning_pipeline_tests.settings.complete import CANARY, COMPLETE

FAULTS = {
    "a raw character in a password": (f"{PREFIX}REGISTRY_URL", f"postgresql://u:12/{CANARY}@db/x", "write @ as %40"),
    "a proxy that is not spoken": ("ALL_PROXY", f"socks://u:{CANARY}@127.0.0.1:1", "names a SOCKS proxy"),
    "a store that is not there": ("SSL_CERT_FILE", "/nowhere/ca.pem", "cannot be read"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_run_fails_with_the_sentence_and_a_tick_too(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    variable, value, words = FAULTS[what]
    monkeypatch.chdir(tmp_path)
    for name, text in COMPLETE.items():
        monkeypatch.setenv(PREFIX + name, text)
    monkeypatch.setenv(variable, value)

    shown = [str(error) for error in _ticks(instance)]
    result = (
        build_defs().resolve_job_def("reconcile_tenants").execute_in_process(instance=instance, raise_on_error=False)
    )
    events = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    shown += [str(event.event_specific_data) for event in events]
    assert len(shown) == 3
    for text in shown:
        assert f"{variable}: " in text
        assert words in text
    written = [str(record.event_log_entry) for record in instance.get_records_for_run(result.run_id).records]
    assert CANARY not in "".join([*shown, *written])


def _ticks(instance: dg.DagsterInstance) -> list[Any]:
    found: list[Any] = []
    for sensor in (new_tenant_databases, clerk_changes):
        with dg.build_sensor_context(instance=instance) as context, pytest.raises(SettingsError) as raised:
            sensor(context)
        assert raised.value.__context__ is None
        found.append(raised.value)
    return found
