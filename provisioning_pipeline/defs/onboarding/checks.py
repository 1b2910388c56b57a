"""What of Twenty's onboarding is pending, what members would see, and what should be true of it.

Materialized by hand the assets read; each run over all tenants records them too.
"""

from collections import Counter
from datetime import datetime
from typing import Any

import dagster as dg

from provisioning_pipeline.defs.members import twenty_members
from provisioning_pipeline.defs.recording import Recorded, about, check, check_result, evaluation, table
from provisioning_pipeline.report import markdown
from provisioning_pipeline.views.onboarding_tables import LoginProofs, OnboardingNow, counted, login_proofs

_ONBOARDING = about("onboarding")
_WHOSE = {True: "ours", False: "others"}

onboarding_flags = dg.AssetSpec(
    "onboarding_flags",
    **_ONBOARDING,
    kinds={"postgres"},
    description="Every row of every Twenty server that holds a step of the wizard as pending, with its user; and "
    "what the last inspections of the tenants' own databases found.",
)
onboarding_status = dg.AssetSpec(
    "onboarding_status",
    **_ONBOARDING,
    kinds={"postgres"},
    deps=[onboarding_flags, twenty_members],
    description="What every member of the tenants' workspaces would see on opening them, as Twenty's rows say it; the "
    "service account is one of them.",
)


def flags_metadata(found: OnboardingNow) -> dict[str, Any]:
    """What to show of the pending rows."""
    counts = [(server, key, level, _WHOSE[ours], str(n)) for server, key, level, ours, n in counted(found.pending)]
    rows = [
        (
            row.server,
            row.slug or "",
            row.key,
            row.level,
            row.email or row.user_id or "every user",
            row.workspace_id or "every workspace",
            _WHOSE[row.ours],
        )
        for row in sorted(found.pending, key=lambda row: (not row.ours, row.server, row.slug or "", row.key))
    ]
    return {
        "dagster/row_count": len(found.pending),
        "of_ours": sum(row.ours for row in found.pending),
        "counts": table(("server", "step", "level", "whose", "rows"), counts),
        "rows": table(("server", "tenant", "step", "level", "user", "workspace", "whose"), rows),
        "not_read": not_read(found),
        "databases": _databases(found),
    }


def status_metadata(found: OnboardingNow) -> dict[str, Any]:
    """What to show of what members would see."""
    counts = sorted(found.statuses.items(), key=lambda item: (-item[1], item[0]))
    rows = [(one.slug, one.person, one.status, ", ".join(one.keys), _WHOSE[one.ours]) for one in found.shown]
    return {
        "dagster/row_count": sum(found.statuses.values()),
        "not_completed": len(found.shown),
        "statuses": table(("status", "members"), [(status, str(count)) for status, count in counts]),
        "who": table(("tenant", "member", "status", "pending steps", "whose"), rows),
        "not_read": not_read(found),
    }


def _databases(found: OnboardingNow) -> dg.MarkdownMetadataValue:
    """How many of the tenants' own databases have which trouble, and which."""
    reasons = Counter(str(database.reason) for database in found.databases).most_common()
    counts = markdown.table(("reason", "databases"), [(reason, str(count)) for reason, count in reasons])
    rows = [(database.slug, database.reason, database.message) for database in found.databases]
    listed = table(("tenant", "reason", "what was found"), rows)
    return dg.MetadataValue.md(f"{counts}\n\n{listed.value}") if rows else listed


def not_read(found: OnboardingNow) -> str:
    """Why which servers could not be read."""
    return " ".join(found.unread.values()) or "None."


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
    yield evaluation(no_pending_onboarding, pending_result(found))
    yield evaluation(login_proved, proved_result(proofs))


def _age(at: datetime, now: datetime) -> str:
    minutes = int((now - at).total_seconds() // 60)
    if minutes < 60:
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days ago"
