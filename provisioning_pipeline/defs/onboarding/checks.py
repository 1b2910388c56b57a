"""What should be true of onboarding after a reconciliation, and what a run records of it."""

from datetime import datetime
from typing import Any

import dagster as dg

from provisioning_pipeline.defs.onboarding.assets import (
    flags_metadata,
    not_read,
    onboarding_flags,
    status_metadata,
)
from provisioning_pipeline.defs.recording import Recorded, check, check_result, evaluation, table
from provisioning_pipeline.views.onboarding_tables import LoginProofs, OnboardingNow, login_proofs

no_pending_onboarding = dg.AssetCheckSpec(
    "no_pending_onboarding",
    asset=onboarding_flags.key,
    description="No step of the wizard is pending for members of ours, in a tenant's workspace or its own database.",
)


def pending_result(found: OnboardingNow) -> dg.AssetCheckResult:
    """The check over what is pending: it passes when every server was read and nothing is pending for members of ours,
    there or in tenants' databases."""
    ours = [one for one in found.shown if one.ours and one.keys]
    databases = [(database.slug, database.message) for database in found.databases if database.has_rows]
    return check_result(
        "onboarding_flags",
        "no_pending_onboarding",
        passed=not (ours or databases or found.unread),
        metadata={
            "members": len(ours),
            "tenants": len({one.slug for one in ours}),
            "who": table(
                ("tenant", "member", "pending steps"), [(one.slug, one.person, ", ".join(one.keys)) for one in ours]
            ),
            "databases_with_rows": len(databases),
            "databases": table(("tenant", "what was found"), databases),
            "not_read": not_read(found),
        },
    )


def proved_result(found: LoginProofs) -> dg.AssetCheckResult:
    """The check over the proofs of logins."""
    failed = [proof for proof in found.proofs if not proof.completed]
    rows = [(proof.slug, proof.email, proof.status, _age(proof.proved_at, found.now)) for proof in failed]
    rows += [(slug, "its admin", "never checked", "") for slug in found.unproved]
    oldest = found.oldest_of_admin
    age: dict[str, Any] = {"oldest_admin_proof": "None."}
    if oldest:
        age = {
            "oldest_admin_proof": f"{_age(oldest.proved_at, found.now)}, of tenant {oldest.slug}",
            "oldest_admin_proof_hours": round((found.now - oldest.proved_at).total_seconds() / 3600, 2),
        }
    return check_result(
        "onboarding_status",
        "login_proved",
        passed=not rows,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "proofs": len(found.proofs),
            "failed": len(failed),
            "admins_without_proof": len(found.unproved),
            "who": table(("tenant", "person", "what they saw", "when"), rows),
            **age,
        },
    )


login_proved = check(
    "onboarding_status",
    "login_proved",
    login_proofs,
    proved_result,
    "The last real login of every admin, and of each other member who was checked, read COMPLETED.",
)


def onboarding_recorded(found: OnboardingNow, proofs: LoginProofs) -> Recorded:
    """The assets about onboarding, then the results of their checks, for an op of a run over all tenants to yield."""
    yield dg.AssetMaterialization("onboarding_flags", metadata=flags_metadata(found))
    yield dg.AssetMaterialization("onboarding_status", metadata=status_metadata(found))
    yield evaluation(pending_result(found))
    yield evaluation(proved_result(proofs))


def _age(at: datetime, now: datetime) -> str:
    minutes = int((now - at).total_seconds() // 60)
    if minutes < 60:
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days ago"
