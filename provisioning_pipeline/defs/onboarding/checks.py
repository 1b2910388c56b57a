"""What should be true of onboarding after a reconciliation."""

from datetime import datetime
from typing import Any

import dagster as dg

from provisioning_pipeline.defs.onboarding.assets import onboarding_flags, onboarding_status
from provisioning_pipeline.defs.resources import Systems
from provisioning_pipeline.report import markdown
from provisioning_pipeline.views.onboarding_tables import LoginProofs, OnboardingNow

_MOST_LISTED = 50


no_pending_onboarding = dg.AssetCheckSpec(
    "no_pending_onboarding",
    asset=onboarding_flags.key,
    description="No step of the wizard is pending for anybody of ours, in a tenant's workspace or in its own database.",
)


@dg.asset_check(
    asset=onboarding_status.key,
    description="The last real login of every admin and of whoever else was looked at read COMPLETED.",
)
def login_proved(systems: Systems) -> dg.AssetCheckResult:
    """Passes when every stored proof is good and every admin has one."""
    from provisioning_pipeline.views.onboarding_tables import login_proofs

    return proved_result(systems.read(login_proofs))


def pending_result(found: OnboardingNow) -> dg.AssetCheckResult:
    """The check over what is pending: it passes when every server was read and nothing is pending for people of ours,
    there or in tenants' databases."""
    ours = [one for one in found.shown if one.ours and one.keys]
    rows = [(one.slug, one.person, ", ".join(one.keys)) for one in ours[:_MOST_LISTED]]
    databases = [(database.slug, database.message) for database in found.databases if database.has_rows]
    return dg.AssetCheckResult(
        check_name="no_pending_onboarding",
        passed=not (ours or databases or found.unread),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "members": len(ours),
            "tenants": len({one.slug for one in ours}),
            "who": dg.MetadataValue.md(
                markdown.table(("tenant", "member", "pending steps"), rows) if rows else "Nobody."
            ),
            "databases_with_rows": len(databases),
            "databases": dg.MetadataValue.md(
                markdown.table(("tenant", "what was found"), databases[:_MOST_LISTED]) if databases else "None."
            ),
            "not_read": " ".join(found.unread.values()) or "None.",
        },
    )


def proved_result(found: LoginProofs) -> dg.AssetCheckResult:
    """The check over the proofs of logins."""
    failed = [proof for proof in found.proofs if not proof.completed]
    rows = [(proof.slug, proof.email, proof.status, _age(proof.proved_at, found.now)) for proof in failed]
    rows += [(slug, "its admin", "never looked at", "") for slug in found.unproved]
    oldest = found.oldest_of_admin
    age: dict[str, Any] = (
        {
            "oldest_admin_proof": f"{_age(oldest.proved_at, found.now)}, of tenant {oldest.slug}",
            "oldest_admin_proof_hours": round((found.now - oldest.proved_at).total_seconds() / 3600, 2),
        }
        if oldest
        else {"oldest_admin_proof": "None."}
    )
    return dg.AssetCheckResult(
        check_name="login_proved",
        passed=not rows,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "proofs": len(found.proofs),
            "failed": len(failed),
            "admins_without_proof": len(found.unproved),
            "who": dg.MetadataValue.md(
                markdown.table(("tenant", "person", "what they saw", "when"), rows[:_MOST_LISTED])
                if rows
                else "Nobody."
            ),
            **age,
        },
    )


def _age(at: datetime, now: datetime) -> str:
    minutes = int((now - at).total_seconds() // 60)
    if minutes < 60:
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days ago"
