"""Settings from an environment that holds nothing but what a test sets."""

import os
from pathlib import Path
from typing import Any

import pytest

from provisioning_pipeline.settings import PREFIX, Settings, load_settings
from provisioning_pipeline_tests.settings.complete import COMPLETE


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing but what a test sets: no `.env`, no variables of the machine."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load settings from a complete environment with these changes; None takes a variable away."""

    def load_with(**changes: str | None) -> Settings:
        for name, value in {**COMPLETE, **changes}.items():
            if value is not None:
                monkeypatch.setenv(PREFIX + name, value)
        return load_settings()

    return load_with
