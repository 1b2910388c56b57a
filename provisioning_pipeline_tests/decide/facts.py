"""Rows of snapshots with everything in them that a test does not talk about."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from provisioning_pipeline.decide.detection import Detected, DetectionPolicy, detect
from provisioning_pipeline.decide.organizations import Match
from provisioning_pipeline.decide.placement import Placement
from provisioning_pipeline.model import frames
from provisioning_pipeline.model.condition import Condition, ConditionType
from provisioning_pipeline.model.tenant import TenantPlan
from provisioning_pipeline.model.tenant_database import FoundWorkspace, Inspection
from provisioning_pipeline.steps.databases.plan.tenant_databases import old_names
from provisioning_pipeline.steps.workspaces.plan.planner import Observed, Planner

EXCLUDED = ("suspended", "deleted")
WORKSPACE = "11111111-1111-4111-8111-111111111111"
SERVICE, ADMIN = "aaaaaaaa-0000-4000-8000-000000000000", "bbbbbbbb-0000-4000-8000-000000000000"


def row(database_name: str | None, **other: Any) -> dict[str, Any]:
    """A registry row."""
    given = {"database_name": database_name, "slug": "acme", "name": "Acme", "status": "active", "registry_id": "r1"}
    return given | other


def link(database_name: str, **other: Any) -> dict[str, Any]:
    """Our own row, of a tenant whose workspace is whole and whose login is proved."""
    given = {
        "database_name": database_name,
        "slug": "acme",
        "server": "eu",
        "subdomain": "acme",
        "workspace_id": WORKSPACE,
        "admin_user_id": ADMIN,
        "admin_email": "ada@acme.test",
        "login_proved": True,
        "open_intent": False,
        "invite_link_opened": False,
        "members_seen": False,
    }
    return given | other


def server(name: str = "eu", **other: Any) -> dict[str, Any]:
    """A server that can be read."""
    return {"server": name, "database_name": name, "dedicated": False, "workspaces": 0} | other


def workspace(**other: Any) -> dict[str, Any]:
    """An active workspace, made by Twenty itself."""
    given = {"server": "eu", "workspace_id": WORKSPACE, "subdomain": "acme", "activation_status": "ACTIVE"}
    return given | {"deleted": False, "has_metadata": True} | other


def flag(key: str, user_id: str | None, workspace_id: str | None = WORKSPACE, value: Any = True) -> dict[str, Any]:
    """An onboarding row."""
    return {"server": "eu", "key": key, "user_id": user_id, "workspace_id": workspace_id, "value": value}


LOOKED_AT = datetime(2026, 1, 1, tzinfo=UTC)


def look(database_name: str, **other: Any) -> Inspection:
    """A database that was looked into and holds Twenty's schema."""
    return Inspection(database_name, evidence="seen", looked_at=LOOKED_AT, **other)


def found_workspace(workspace_id: str, display_name: str = "", **other: Any) -> FoundWorkspace:
    """A workspace in a tenant database, as Twenty itself would have made it unless something else is said."""
    whole: dict[str, Any] = {"has_metadata": True, "has_schema": True, "has_own_roles": True}
    return FoundWorkspace(workspace_id, display_name, **({"activation_status": "ACTIVE"} | whole | other))


def find(
    databases: Iterable[str] = (),
    registry: Iterable[dict[str, Any]] = (),
    links: Iterable[dict[str, Any]] = (),
    *,
    adopt: bool = True,
) -> list[Detected]:
    """Detection over these."""
    return detect(
        frames.frame(frames.DATABASES, [{"database_name": name} for name in databases]),
        frames.frame(frames.REGISTRY, registry),
        frames.frame(frames.LINKS, links),
        DetectionPolicy(adopt_databases=adopt, excluded_statuses=EXCLUDED),
    )


def servers(*rows: dict[str, Any]) -> pd.DataFrame:
    """The frame of servers."""
    return frames.frame(frames.SERVERS, rows)


def access(*rows: dict[str, Any]) -> pd.DataFrame:
    """The frame of what our account may do; without any row it manages the usual workspace."""
    whole = {"server": "eu", "workspace_id": WORKSPACE, "member": True, "manages": True, "role": "Admin"}
    return frames.frame(
        frames.SERVICE_ACCESS, [whole | {"invited": False, "kept_out": None} | row for row in rows or ({},)]
    )


def observed(
    *,
    servers: Sequence[dict[str, Any]] = (server(),),
    workspaces: Sequence[dict[str, Any]] = (workspace(),),
    flags: Sequence[dict[str, Any]] = (),
    inspections: Sequence[Inspection] = (),
    **other: Any,
) -> Observed:
    """What was observed; by default one server with one whole workspace."""
    given: dict[str, Any] = {
        "service_users": {"eu": (SERVICE,)},
        "service_emails": {"eu": "ops@provisioning.test"},
        "service_access": access(),
        "organizations": {},
        "holders": {},
        "users": {},
        "member_links": frames.frame(frames.MEMBER_LINKS, ()),
        "taken_over": (),
        "everyone": False,
        "twenty_members": frames.frame(frames.TWENTY_MEMBERS, ()),
        "registry_stores": True,
        "admin_roles": "org:admin",
    }
    return Observed(
        servers=frames.frame(frames.SERVERS, servers),
        workspaces=frames.frame(frames.WORKSPACES, workspaces),
        flags=frames.frame(frames.FLAGS, flags),
        inspections={found.database_name: found for found in inspections},
        **(given | other),
    )


def plans(found: Sequence[Detected], **what: Any) -> list[TenantPlan]:
    """The plan of each tenant; whose organization is whose is as the registry says, unless `what` says otherwise."""
    registered = {each.tenant.database_name: Match(each.tenant.clerk_org_id or None) for each in found if each.eligible}
    inspections = {look.database_name: look for look in what.get("inspections", ())}
    names = old_names(inspections, {each.tenant.database_name for each in found if each.registry is not None})
    seen = observed(**({"organizations": registered, "old_names": names} | what))
    links = [each.link for each in found if each.link]
    under_way = (str(link["server"]) for link in links if link["open_intent"] and not link["workspace_id"])
    planner = Planner(found, seen, Placement(seen.servers, under_way))
    return [planner.tenant(each) for each in found]


def member_link(database_name: str, clerk_user_id: str, twenty_user_id: str, **other: Any) -> dict[str, Any]:
    """Our own row: a member who was linked."""
    given = {"database_name": database_name, "clerk_user_id": clerk_user_id, "twenty_user_id": twenty_user_id}
    return given | {"email": "", "first_name": "", "last_name": "", "created_at": 0} | other


def condition(of: Detected | TenantPlan, type_: ConditionType) -> Condition:
    """The one condition of this type."""
    (found,) = (condition for condition in of.conditions if condition.type is type_)
    return found
