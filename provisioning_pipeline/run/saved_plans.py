"""Plans that are saved under a name, so that exactly what an operator saw can be applied."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from provisioning_pipeline.clients.files import write_whole
from provisioning_pipeline.model.fault import BadInput
from provisioning_pipeline.model.names import visible
from provisioning_pipeline.model.tenant import Admin, Plan, TenantPlan
from provisioning_pipeline.report.plan_lines import done_lines
from provisioning_pipeline.settings import PREFIX, Settings

PLAN_ID = re.compile(r"plan-[0-9a-f]{12}")
_MOST_SHOWN = 40
_POLICY = (
    "members_foreign_password",
    "members_unproven",
    "members_gone_api_keys",
    "onboarding_people",
    "tenant_databases",
    "mend_hand_made",
    "clerk_store_workspace_id",
    "clerk_store_external_id",
    "registry_ready_status",
    "registry_pending_statuses",
    "service_member_name",
)
"""Settings that say how a plan is carried out; what they make of the plan itself stands in it."""


class UnknownSavedPlan(BadInput):
    """No plan is saved under this name."""


class PlanChanged(BadInput):
    """The world or the settings are not what they were when the plan was made; no tenant was worked on."""


@dataclass(frozen=True)
class SavedPlan:
    """A plan as an operator saw it.

    Args:
        id: made from what it would do, so that the same plan has the same name.
        made_at: when it was first saved.
        asked: the names that it was made for; empty: all tenants.
        policy: the settings by which it would be carried out.
        lines: database name → its diff, for people.
        facts: database name → everything that would be done, for comparing.
    """

    id: str
    made_at: datetime
    asked: tuple[str, ...]
    policy: Mapping[str, str]
    lines: Mapping[str, Sequence[str]]
    facts: Mapping[str, Any]


def saved_plan(plan: Plan, settings: Settings) -> SavedPlan:
    """The plan in the form in which it is saved."""
    policy = {f"{PREFIX}{name.upper()}": str(getattr(settings, name)) for name in _POLICY}
    places = {server.name: server.base_url for server in settings.servers}
    facts = {entry.tenant.database_name: _facts(entry, places) for entry in plan.work}
    lines = {entry.tenant.database_name: [str(line) for line in done_lines(entry)] for entry in plan.work}
    asked = tuple(sorted(plan.asked))
    text = json.dumps([asked, policy, facts], sort_keys=True, ensure_ascii=False)
    name = f"plan-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    return SavedPlan(name, datetime.now(UTC), asked, policy, lines, facts)


def save(plan: SavedPlan, settings: Settings) -> None:
    """Write it where tables are stored. A plan with the same name is the same plan, made again.

    Raises:
        NotWritten: when that place cannot be written to.
    """
    document = asdict(plan) | {"made_at": plan.made_at.isoformat()}
    content = json.dumps(document, ensure_ascii=False, indent=1).encode()
    write_whole(_path(plan.id, settings), content, setting=f"{PREFIX}TABLES_PATH", readers=settings.files_readable_by)


def load(plan_id: str, settings: Settings) -> SavedPlan:
    """The plan of this name.

    Raises:
        UnknownSavedPlan: when there is none, or it cannot be read.
    """
    path = _path(plan_id, settings)
    try:
        content = path.read_bytes() if PLAN_ID.fullmatch(plan_id) and path.exists() else None
    except (OSError, ImportError) as error:
        why = getattr(error, "strerror", None) or (error if isinstance(error, ImportError) else type(error).__name__)
        raise UnknownSavedPlan(f"{path} cannot be read: {why}. {PREFIX}TABLES_PATH names that place.") from None
    if content is None:
        raise UnknownSavedPlan(
            f"No plan called {plan_id} is saved in {settings.tables}/plans. `provisioning plan` makes one and shows "
            f"its name; plans are retained for {settings.keep_reports_days} days. A tenant of this name is applied "
            "by its database name."
        )
    try:
        document = json.loads(content)
        made_at, asked = datetime.fromisoformat(document["made_at"]), tuple(document["asked"])
        return SavedPlan(**document | {"made_at": made_at, "asked": asked})
    except (ValueError, TypeError, KeyError):
        raise UnknownSavedPlan(
            f"{plan_id} was saved by another version of this program, or its file is damaged. Make it anew with "
            "`provisioning plan`."
        ) from None


def must_be_as_saved(saved: SavedPlan, now: SavedPlan) -> None:
    """Refuse to go on when what would be done now is not what an operator saw.

    Raises:
        PlanChanged: with every difference, as a diff from the plan to now.
    """
    if saved.id == now.id:
        return
    found = differences(saved, now)
    more = len(found) - _MOST_SHOWN
    shown = [*found[:_MOST_SHOWN], *([f"…and {more} more differences"] if more > 0 else [])]
    raise PlanChanged(
        f"{saved.id} of {saved.made_at:%Y-%m-%d %H:%M UTC} no longer fits, so nothing was done. Since then "
        "(- was in the plan, + is new):\n"
        + "\n".join(f"  {visible(line)}" for line in shown)
        + "\nLook at it with `provisioning plan`, which shows the name of the plan as it is now."
    )


def differences(saved: SavedPlan, now: SavedPlan) -> list[str]:
    """What is not the same any more, one line each."""
    found = [
        f"{name} was {was}, is {now.policy.get(name)}"
        for name, was in saved.policy.items()
        if now.policy.get(name) != was
    ]
    for name in sorted(saved.facts.keys() | now.facts.keys()):
        found += _differences_of(name, saved, now)
    if saved.asked != now.asked:
        found.append(f"~ made for {', '.join(saved.asked) or 'all tenants'}, now {', '.join(now.asked) or 'all'}")
    return found


def _differences_of(name: str, saved: SavedPlan, now: SavedPlan) -> list[str]:
    """The same for one tenant."""
    before, after = saved.facts.get(name), now.facts.get(name)
    if before == after:
        return []
    slug = (after or before or {})["slug"]
    was, is_now = saved.lines.get(name, ()), now.lines.get(name, ())
    gone, new = [line for line in was if line not in is_now], [line for line in is_now if line not in was]
    changed = [f"{sign} {slug}: {'; '.join(lines)}" for sign, lines in (("-", gone), ("+", new)) if lines]
    if changed or before is None or after is None:
        return changed or [f"~ {slug}: {name} is {'new' if before is None else 'no longer in it'}"]
    fields = [key for key, value in before.items() if after.get(key) != value]
    return [f"~ {slug}: the same changes, but other {', '.join(fields)}"]


def _facts(entry: TenantPlan, places: Mapping[str, str]) -> dict[str, Any]:
    """What would be done, to the last detail that decides anything; times and sentences are left out.

    `places`: server → its base URL.
    """
    database = entry.database
    facts = {
        "slug": entry.tenant.slug,
        "name": entry.tenant.name,
        "changes": list(entry.changes),
        "moved from": [entry.moved_from, entry.organization_before],
        "adoption": entry.adopt,
        "server": entry.server,
        "address of the server": places.get(entry.server or ""),
        "subdomains": list(entry.subdomains),
        "workspace": entry.workspace_id,
        "admin": asdict(entry.admin) if isinstance(entry.admin, Admin) else None,
        "members": [_without(asdict(member), "why", "changed_at") for member in entry.members],
        "withdrawn invitations": [withdrawal.email for withdrawal in entry.withdrawals],
        "pending steps": entry.pending,
        "organization": entry.store_organization,
        "rows": sorted(str(flag.row_id) for flag in database.rows) if database else [],
        "activation": list(database.activate) if database else [],
    }
    found: dict[str, Any] = json.loads(json.dumps(facts, default=str))
    return found


def _without(facts: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name not in names}


def _path(plan_id: str, settings: Settings) -> Any:
    from upath import UPath

    return UPath(settings.tables) / "plans" / f"{plan_id}.json"
