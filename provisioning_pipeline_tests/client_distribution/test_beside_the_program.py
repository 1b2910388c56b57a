"""Both distributions have the same modules, so one environment takes one of them; preflight says so."""

from pathlib import Path

import pytest

from provisioning_pipeline.tasks.preflight import CLIENT_DISTRIBUTION, installed_twice


def test_preflight_warns_of_the_client_distribution_in_the_same_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert installed_twice() is None

    folder = tmp_path / "provisioning_pipeline_client-0.1.9.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {CLIENT_DISTRIBUTION}\nVersion: 0.1.9\n")
    monkeypatch.syspath_prepend(tmp_path)

    check = installed_twice()
    assert check is not None
    assert (check.ok, check.warning) == (True, True)
    assert "provisioning-pipeline-client 0.1.9 is installed in the same environment" in check.found
