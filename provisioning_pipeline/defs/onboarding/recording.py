"""What a run over all tenants, and a verification, record about onboarding."""

from collections.abc import Iterator

import dagster as dg

from provisioning_pipeline.defs.onboarding import assets, checks
from provisioning_pipeline.defs.recording import evaluation
from provisioning_pipeline.views.onboarding_tables import LoginProofs, OnboardingAfter


def onboarding_recorded(found: OnboardingAfter) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
    """The assets about onboarding, then the results of their checks, for an op to yield."""
    yield dg.AssetMaterialization("onboarding_flags", metadata=assets.flags_metadata(found.now))
    yield dg.AssetMaterialization("onboarding_status", metadata=assets.status_metadata(found.now))
    yield evaluation("onboarding_flags", checks.pending_result(found.now))
    yield proofs_recorded(found.proofs)


def proofs_recorded(found: LoginProofs) -> dg.AssetCheckEvaluation:
    """The result of the check over proofs of logins, for an op to yield."""
    return evaluation("onboarding_status", checks.proved_result(found))
