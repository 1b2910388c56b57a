"""What of Twenty's onboarding is pending, and what members would see. Materialized by hand they read; each whole run
records them too."""

from collections import Counter
from typing import Any

import dagster as dg

from provisioning_pipeline.defs.members import twenty_members
from provisioning_pipeline.defs.recording import about, table
from provisioning_pipeline.report import markdown
from provisioning_pipeline.views.onboarding_tables import OnboardingNow, counted

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
