"""A complete environment, and the faults of one that is changed."""

from collections.abc import Callable

import pytest

from provisioning_pipeline.settings import Settings, SettingsError

CANARY = "c4nary-s3cret"
COMPLETE = {
    "REGISTRY_URL": f"postgresql://u:{CANARY}@db:5432/registry",
    "TENANT_CLUSTER_URL": f"postgresql://u:{CANARY}@db:5432/postgres",
    "TWENTY_BASE_URL": "https://crm.example.com/",
    "TWENTY_DATABASE_URL": f"postgresql://u:{CANARY}@db/twenty",
    "TWENTY_SERVICE_EMAIL": "provisioner@example.com",
    "TWENTY_SERVICE_PASSWORD": CANARY,
    "CLERK_SECRET_KEY": f"sk_live_{CANARY}",
    "MEMBER_PASSWORD_KEY": f"{CANARY}{CANARY}",
}
Load = Callable[..., Settings]
"""Loads the settings from the complete environment with changes; None takes a variable away."""


def faults_of(load: Load, **changes: str | None) -> tuple[str, ...]:
    """The lines about this environment; no line may show a secret or break."""
    with pytest.raises(SettingsError) as refused:
        load(**changes)
    faults = refused.value.faults
    shown = str(refused.value) + repr(refused.value) + repr(refused.value.__cause__)
    assert CANARY not in shown
    for fault in faults:
        assert len(fault.splitlines()) == 1
        assert "pydantic" not in fault
    return faults
