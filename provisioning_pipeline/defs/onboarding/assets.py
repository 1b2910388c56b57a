"""What of Twenty's onboarding is pending, and what members would see. Materialized by hand they read; each whole run
records them too."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import dagster as dg

from provisioning_pipeline.defs.members.assets import twenty_members
from provisioning_pipeline.report import markdown
from provisioning_pipeline.views.onboarding_tables import OnboardingNow, counted

GROUP = "onboarding"
OWNERS = ["team:platform"]
TAGS = {"capability": "onboarding"}
_MOST_LISTED = 50


onboarding_flags = dg.AssetSpec(
    "onboarding_flags",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres"},
    tags=TAGS,
    description="Every row of every Twenty server that holds a step of the wizard as pending, and whom it concerns; "
    "and what the last looks into the tenants' own databases told.",
)
onboarding_status = dg.AssetSpec(
    "onboarding_status",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres"},
    tags=TAGS,
    deps=[onboarding_flags, twenty_members],
    description="What every member of the tenants' workspaces would see on opening them, as Twenty's rows say it; the "
    "service account is one of them.",
)


def flags_metadata(found: OnboardingNow) -> dict[str, Any]:
    """What to show of the pending rows."""
    counts = [(server, key, level, _whose(ours=ours), str(n)) for server, key, level, ours, n in counted(found.pending)]
    rows = [
        (
            row.server,
            row.slug or "",
            row.key,
            row.level,
            row.email or row.user_id or "everybody",
            row.workspace_id or "every workspace",
            _whose(ours=row.ours),
        )
        for row in sorted(found.pending, key=lambda row: (not row.ours, row.server, row.slug or "", row.key))
    ]
    return {
        "dagster/row_count": len(found.pending),
        "of_ours": sum(row.ours for row in found.pending),
        "counts": _table(("server", "step", "level", "whose", "rows"), counts),
        "rows": _table(("server", "tenant", "step", "level", "user", "workspace", "whose"), rows),
        "not_read": _not_read(found),
        "databases": _databases(found),
    }


def status_metadata(found: OnboardingNow) -> dict[str, Any]:
    """What to show of what members would see."""
    counts = sorted(found.statuses.items(), key=lambda item: (-item[1], item[0]))
    rows = [(one.slug, one.person, one.status, ", ".join(one.keys), _whose(ours=one.ours)) for one in found.shown]
    return {
        "dagster/row_count": sum(found.statuses.values()),
        "not_completed": len(found.shown),
        "statuses": _table(("status", "members"), [(status, str(count)) for status, count in counts]),
        "who": _table(("tenant", "member", "status", "pending steps", "whose"), rows),
        "not_read": _not_read(found),
    }


def _databases(found: OnboardingNow) -> dg.MarkdownMetadataValue:
    """How many of the tenants' own databases have which trouble, and which."""
    reasons = Counter(str(database.reason) for database in found.databases).most_common()
    counts = markdown.table(("reason", "databases"), [(reason, str(count)) for reason, count in reasons])
    rows = [(database.slug, database.reason, database.message) for database in found.databases]
    listed = _table(("tenant", "reason", "what was found"), rows)
    return dg.MetadataValue.md(f"{counts}\n\n{listed.value}") if rows else listed


def _whose(*, ours: bool) -> str:
    return "ours" if ours else "others"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> dg.MarkdownMetadataValue:
    more = f"\n\n…and {len(rows) - _MOST_LISTED} more." if len(rows) > _MOST_LISTED else ""
    return dg.MetadataValue.md(markdown.table(head, rows[:_MOST_LISTED]) + more if rows else "None.")


def _not_read(found: OnboardingNow) -> str:
    return " ".join(found.unread.values()) or "None."
