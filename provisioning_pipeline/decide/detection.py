"""Which tenants there are: the databases of the cluster joined with the registry and our own links."""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pandas as pd

from provisioning_pipeline.model.condition import Condition, ConditionType, Reason, is_false, is_true
from provisioning_pipeline.model.frames import records
from provisioning_pipeline.model.tenant import Tenant, registry_status

_REGISTERED = is_true(ConditionType.REGISTERED, Reason.REGISTRY_ROW, "The registry has a row for it.")
_NAMED = re.compile(r"^twenty_tenant_(?P<slug>.+?)(?:_(?P<hash>[0-9a-f]{8}))?$")


@dataclass(frozen=True, slots=True)
class DetectionPolicy:
    """What counts as a tenant that we may work on."""

    adopt_databases: bool
    excluded_statuses: Collection[str]


@dataclass(frozen=True, slots=True)
class Detected:
    """One tenant that is somewhere: on the cluster, in the registry, or in our links.

    Args:
        tenant: who it is.
        adopt: it has a database and no registry row, and policy allows to add one.
        eligible: whether it may be worked on at all.
        conditions: Detected and Registered.
        registry: its registry row as a dictionary, or None.
        link: our own row as a dictionary, or None.
    """

    tenant: Tenant
    adopt: bool
    eligible: bool
    conditions: tuple[Condition, ...]
    registry: dict[str, Any] | None
    link: dict[str, Any] | None


def detect(
    databases: pd.DataFrame, registry: pd.DataFrame, links: pd.DataFrame, policy: DetectionPolicy
) -> list[Detected]:
    """Join the three frames on `database_name`, in order of that name. Duplicated rows do not multiply."""
    twice = set(registry.loc[registry["database_name"].duplicated(keep=False), "database_name"])
    named = registry[registry["database_name"].notna() & (registry["database_name"] != "")]
    rows = named.drop_duplicates("database_name").assign(in_registry=True)
    here = databases.drop_duplicates("database_name").assign(on_cluster=True)
    ours = links.drop_duplicates("database_name").assign(linked=True)
    joined = (
        here.merge(rows, on="database_name", how="outer")
        .merge(ours, on="database_name", how="outer", suffixes=("", "_link"))
        .sort_values("database_name")
    )
    slugs = {row["slug"] for row in records(rows) if row["slug"]}
    unnamed = Counter(slug_of(name, ()) for name in set(here["database_name"]) - set(rows["database_name"]))
    slugs |= {slug for slug, count in unnamed.items() if count > 1}
    return [_detected(row, row["database_name"] in twice, slugs, policy) for row in records(joined)]


def _detected(row: dict[str, Any], twice: bool, slugs: set[str], policy: DetectionPolicy) -> Detected:
    database_name = str(row["database_name"])
    registered, present, linked = bool(row["in_registry"]), bool(row["on_cluster"]), bool(row["linked"])
    slug = (row["slug"] if registered else None) or row["slug_link"] or slug_of(database_name, slugs)
    tenant = Tenant(
        database_name=database_name,
        slug=slug,
        name=(row["name"] or slug) if registered else name_of(slug),
        clerk_org_id=row["clerk_org_id"] or None,
    )
    detected = _database_condition(database_name, registered=registered, present=present)
    registration, may_work = (
        _registration(row, registered, twice, policy)
        if registered or present
        else (is_false(ConditionType.REGISTERED, Reason.TENANT_GONE, "Its registry row is gone."), False)
    )
    return Detected(
        tenant=tenant,
        adopt=present and not registered and policy.adopt_databases,
        eligible=present and may_work,
        conditions=(detected, registration),
        registry={name: row[name] for name in ("status", "workspace_id", "admin_email", "admin_name")}
        if registered
        else None,
        link={
            "server": row["server"],
            "subdomain": row["subdomain"],
            "workspace_id": row["workspace_id_link"],
            "admin_user_id": row["admin_user_id"],
            "admin_email": row["admin_email_link"],
            "login_proved": bool(row["login_proved"]),
            "open_intent": bool(row["open_intent"]),
            "clerk_org_id": row["clerk_org_id_link"],
            "invite_link_opened": bool(row["invite_link_opened"]),
            "default_role_lent": bool(row["default_role_lent"]),
            "members_seen": bool(row["members_seen"]),
            "asked_admin_email": row["asked_admin_email"] or None,
            "workspace_url": row["workspace_url"],
            "restarts": int(row["restarts"] or 0),
        }
        if linked
        else None,
    )


def _database_condition(name: str, *, registered: bool, present: bool) -> Condition:
    if present:
        return is_true(ConditionType.DETECTED, Reason.DATABASE_PRESENT, f"Database {name} is on the cluster.")
    if registered:
        return is_false(
            ConditionType.DETECTED,
            Reason.DATABASE_MISSING,
            f"The registry has a row, but there is no database {name}: its creation broke off or has not ended. "
            "Let the tenant manager create it again, or remove the row.",
        )
    return is_false(
        ConditionType.DETECTED,
        Reason.TENANT_GONE,
        f"Database {name} and its registry row are gone. If it had a workspace, that was left as it is; remove it in "
        "Twenty if the customer left.",
    )


def _registration(
    row: dict[str, Any], registered: bool, twice: bool, policy: DetectionPolicy
) -> tuple[Condition, bool]:
    registered_type = ConditionType.REGISTERED
    if twice:
        return (
            is_false(
                registered_type,
                Reason.REGISTRY_AMBIGUOUS,
                "Several registry rows name this database. Keep one of them.",
            ),
            False,
        )
    if registered:
        status = registry_status(row["status"])
        if status in policy.excluded_statuses:
            return (
                is_false(
                    registered_type,
                    Reason.TENANT_SUSPENDED,
                    f"The registry says {status}, so nothing is done for this tenant.",
                ),
                False,
            )
        return _REGISTERED, True
    if policy.adopt_databases:
        return (
            is_true(registered_type, Reason.ADOPTED, "It had no registry row and was adopted into the registry."),
            True,
        )
    return (
        is_false(
            registered_type,
            Reason.NOT_REGISTERED,
            "The database has no registry row, and PROVISIONING_ADOPT_DATABASES is off. Register it, or turn "
            "adoption on.",
        ),
        False,
    )


def slug_of(database_name: str, taken: Collection[str]) -> str:
    """A slug for a database that nobody named, free among `taken`. Only for adoption: parsed names may be cut."""
    match = _NAMED.match(database_name)
    slug = (match.group("slug") if match else database_name).strip("_-").lower() or database_name
    if slug not in taken:
        return slug
    tail = (match.group("hash") if match else None) or database_name[-8:]
    return f"{slug}-{tail}"


def name_of(slug: str) -> str:
    """A display name for a tenant that nobody named."""
    return re.sub(r"[-_]+", " ", slug).strip().title() or slug
