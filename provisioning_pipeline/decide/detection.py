"""Which tenants there are: the databases of the cluster joined with the registry and our own links."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from provisioning_pipeline.decide.moves import Moves
from provisioning_pipeline.decide.registry_loss import RegistryLoss
from provisioning_pipeline.model.condition import (
    Condition,
    ConditionType,
    Reason,
    Status,
    is_false,
    is_true,
    is_unknown,
)
from provisioning_pipeline.model.frames import CLOSED, INVALID, records
from provisioning_pipeline.model.lifecycle import Life
from provisioning_pipeline.model.names import name_of, namesakes_of, slug_of, slugs_of
from provisioning_pipeline.model.people import Claim
from provisioning_pipeline.model.registry import folded_name, registry_status
from provisioning_pipeline.model.tenant import Tenant
from provisioning_pipeline.settings import Settings

_REGISTERED = is_true(ConditionType.REGISTERED, Reason.REGISTRY_ROW, "The registry has a row for it.")
_OF_REGISTRY = ("status", "workspace_id", "admin_email", "admin_name", "twenty_admin_email", "registry_id")


_YES_OR_NO = (
    *("login_proved", "open_intent", "invite_link_opened", "default_role_lent", "members_seen"),
    *("registered", "registry_row_settled"),
)
_NOTHING_LOST = RegistryLoss()
_NOTHING_MOVED = Moves()


@dataclass(frozen=True, slots=True)
class DetectionPolicy:
    """What counts as a tenant that we may work on."""

    adopt_databases: bool
    excluded_statuses: Collection[str]

    @classmethod
    def of(cls, settings: Settings) -> "DetectionPolicy":
        return cls(settings.adopt_databases, settings.excluded_statuses)


@dataclass(frozen=True, slots=True)
class Detected:
    """One tenant that is somewhere: on the cluster, in the registry, or in our links.

    Args:
        adopt: it has a database and no registry row, and policy allows to add one.
        eligible: whether it may be worked on at all.
        registry, link: its registry row and our own row, by column name.
        oid: the cluster's number for its database; None: it is not there.
        life: where it is in its life, once that is decided.
        moved_from: the database name by which the ledger still knows it; None: this one.
    """

    tenant: Tenant
    adopt: bool
    eligible: bool
    conditions: tuple[Condition, ...]
    registry: dict[str, Any] | None
    link: dict[str, Any] | None
    oid: int | None = None
    life: Life | None = None
    moved_from: str | None = None

    @property
    def in_doubt(self) -> bool:
        """Which tenant has this name is not known."""
        return any(known.reason is Reason.MOVE_IN_DOUBT for known in self.conditions)

    @property
    def is_gone(self) -> bool:
        """Neither a database nor a registry row has its name any more."""
        return any(known.reason is Reason.TENANT_GONE for known in self.conditions)


def detect(
    databases: pd.DataFrame,
    registry: pd.DataFrame,
    links: pd.DataFrame,
    policy: DetectionPolicy,
    loss: RegistryLoss = _NOTHING_LOST,
    moves: Moves = _NOTHING_MOVED,
) -> list[Detected]:
    """Join the three frames on `database_name`, in order of that name. Duplicated rows do not multiply.

    Args:
        links: as they will be once the ledger has followed the `moves`.
        loss: what the registry has lost since a run last looked.
    """
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
    found = records(joined)
    withdrawn = _withdrawn(found, policy)
    known = {str(row["database_name"]): _known_slug(row) for row in found}
    # one that is gone takes its slug with it
    living = {_known_slug(row) for row in found if row["in_registry"] or row["on_cluster"]}
    taken = {slug for slug in living if slug} | withdrawn.keys()
    slugs = slugs_of([name for name, slug in known.items() if not slug], taken)
    otherwise = _written_otherwise(set(here["database_name"]), set(rows["database_name"]))
    doubts = _renamed_without_row(here, rows, ours) | dict(moves.doubts)
    fleet = _Fleet(twice, slugs, withdrawn, otherwise, policy, loss, doubts, moves.before)
    return [_detected(row, fleet) for row in found]


@dataclass(frozen=True, slots=True)
class _Fleet:
    """What deciding about one tenant needs to know of all.

    Args:
        twice: database names that several registry rows have.
        slugs: database name → slug, for those that have none.
        withdrawn: slug, as it is and as one is derived now, → database name of a tenant that was registered and is
            suspended or without its row now.
        otherwise: a database without a row → the same name in the row of no database, and the other way round.
        doubts: database name → why it is not known whose it is.
        before: database name → the one by which the ledger still knows the tenant.
    """

    twice: set[str]
    slugs: Mapping[str, str]
    withdrawn: dict[str, str]
    otherwise: dict[str, str]
    policy: DetectionPolicy
    loss: RegistryLoss
    doubts: Mapping[str, str]
    before: Mapping[str, str]


def _written_otherwise(present: set[str], registered: set[str]) -> dict[str, str]:
    rows = {folded_name(name): name for name in registered - present}
    pairs = [(name, rows[found]) for name in present - registered if (found := folded_name(name)) in rows]
    return dict(pairs) | {row: name for name, row in pairs}


def _renamed_without_row(here: pd.DataFrame, rows: pd.DataFrame, ours: pd.DataFrame) -> dict[str, str]:
    """Databases without a row that are another tenant's, by the cluster's number for them: name → why we wait."""
    present = set(here["database_name"])
    known = zip(ours["database_oid"], ours["database_name"], strict=True)
    renamed = {oid: name for oid, name in known if pd.notna(oid) and name not in present}
    if not renamed:
        return {}
    registered = set(rows["database_name"])
    # a name that a run has only seen is no tenant's own
    taken = registered | set(ours[ours["registered"] == True]["database_name"])  # noqa: E712  # a column of objects
    found: dict[str, str] = {}
    for oid, name in zip(here["oid"], here["database_name"], strict=True):
        if oid not in renamed or name in taken:
            continue
        found[name] = (
            f"This is the database that was called {renamed[oid]}, and no registry row names it now. Have the tenant "
            "manager write the new name into that tenant's row; the next run follows it."
        )
        if renamed[oid] not in registered:
            found[renamed[oid]] = f"Its registry row is missing, and its database is called {name} now."
    return found


def _known_slug(row: dict[str, Any]) -> str | None:
    """What the registry calls it, else what our link does: a tenant keeps its earlier name."""
    return (row["slug"] if row["in_registry"] else None) or row["slug_link"] or None


def _withdrawn(rows: Iterable[dict[str, Any]], policy: DetectionPolicy) -> dict[str, str]:
    gone = (
        row
        for row in rows
        if row["registered"]
        and row["slug_link"]
        and (not row["in_registry"] or registry_status(row["status"]) in policy.excluded_statuses)
    )
    return {slug: str(row["database_name"]) for row in gone for slug in (slug_of(row["slug_link"]), row["slug_link"])}


def _detected(row: dict[str, Any], fleet: _Fleet) -> Detected:
    database_name = str(row["database_name"])
    registered, present, linked = bool(row["in_registry"]), bool(row["on_cluster"]), bool(row["linked"])
    # while it is not known whose a row is, its slug is no news of the tenant
    kept = row["slug_link"] if database_name in fleet.doubts else None
    slug = kept or _known_slug(row) or fleet.slugs[database_name]
    tenant = Tenant(
        database_name=database_name,
        slug=slug,
        name=(row["name"] or slug) if registered else name_of(slug),
        clerk_org_id=row["clerk_org_id"] or None,
    )
    conditions, may_work = _conditions(row, registered=registered, present=present, fleet=fleet)
    return Detected(
        tenant=tenant,
        adopt=may_work and not registered,
        eligible=may_work,
        conditions=conditions,
        registry={name: row[name] for name in _OF_REGISTRY} if registered else None,
        link=_link(row) if linked else None,
        oid=row["oid"],
        moved_from=fleet.before.get(database_name),
    )


def _link(row: dict[str, Any]) -> dict[str, Any]:
    return {
        **{name: row[name] for name in ("server", "subdomain", "admin_user_id", "workspace_url")},
        # what the registry's row has, too, under the same name
        **{name: row[f"{name}_link"] for name in ("workspace_id", "admin_email", "clerk_org_id", "registry_id")},
        **{name: bool(row[name]) for name in _YES_OR_NO},
        "asked_admin_email": row["asked_admin_email"] or None,
        "left_for": row["left_for"] or None,
        "registry_row_gone_at": row["registry_row_gone_at"] or None,
        "database_oid": row["database_oid"],
        "restarts": int(row["restarts"] or 0),
    }


def _conditions(
    row: dict[str, Any], *, registered: bool, present: bool, fleet: _Fleet
) -> tuple[tuple[Condition, ...], bool]:
    """Detected and Registered, and whether the tenant may be worked on."""
    name = str(row["database_name"])
    doubt = fleet.doubts.get(name)
    known = registered or doubt is not None
    detected = _database_condition(name, row["trouble"], known, present, fleet.otherwise.get(name))
    if doubt is not None:
        in_doubt = is_unknown(ConditionType.REGISTERED, Reason.MOVE_IN_DOUBT, doubt)
        return ((detected, in_doubt) if present or registered else (in_doubt,)), False
    if not registered and row["left_for"]:
        left = _no(
            Reason.DATABASE_LEFT,
            f"The tenant that had this database has {row['left_for']} now, so it is not adopted. Drop it when nothing "
            "there is needed any more; or register it, if it is to be another tenant's.",
        )
        return ((detected, left) if present else (left,)), False
    if not registered and name in fleet.loss.kept:
        # what was known of it stays, until it is known whether its row was taken away
        return ((detected,) if present else ()), False
    if registered:
        registration = _registration(row, twice=name in fleet.twice, policy=fleet.policy)
    elif not present:
        registration = _no(Reason.TENANT_GONE, "Its registry row is gone.")
    else:
        registration = _without_row(row, fleet)
        if detected.status is not Status.TRUE and registration.status is Status.TRUE:
            message = "It has no registry row, and is not adopted while nothing can connect to it."
            registration = _no(Reason.NOT_REGISTERED, message)
    return (detected, registration), registration.status is Status.TRUE and detected.status is Status.TRUE


def _database_condition(
    name: str, trouble: str | None, registered: bool, present: bool, otherwise: str | None
) -> Condition:
    if present and trouble == INVALID:
        reason, message = (
            Reason.DATABASE_INVALID,
            f"Database {name} is what an interrupted DROP DATABASE left: nothing can ever connect to it again. Drop it "
            "(DROP DATABASE, as its owner), and create it anew if the tenant is to stay.",
        )
    elif present and trouble == CLOSED:
        reason, message = (
            Reason.DATABASE_CLOSED,
            f"Database {name} takes no connections (ALLOW_CONNECTIONS false, or CONNECTION LIMIT 0), so nothing is "
            f"done for its tenant. Have its owner open it: ALTER DATABASE ... WITH ALLOW_CONNECTIONS true.",
        )
    elif present:
        return is_true(ConditionType.DETECTED, Reason.DATABASE_PRESENT, f"Database {name} is on the cluster.")
    elif registered and otherwise:
        reason, message = (
            Reason.DATABASE_MISSING,
            f"The registry has a row, but there is no database {name!r}. There is {otherwise}, which PostgreSQL makes "
            "of that name. Have the tenant manager write it so into the row.",
        )
    elif registered:
        reason, message = (
            Reason.DATABASE_MISSING,
            f"The registry has a row, but there is no database {name} (or it is marked as a template): its creation "
            "broke off or has not ended. Let the tenant manager create it again, or remove the row.",
        )
    else:
        reason, message = (
            Reason.TENANT_GONE,
            f"Database {name} and its registry row are gone. If it had a workspace, that stays until an offboarding is "
            "approved.",
        )
    return is_false(ConditionType.DETECTED, reason, message)


def _registration(row: dict[str, Any], *, twice: bool, policy: DetectionPolicy) -> Condition:
    """What a registry row says; true where its tenant may be worked on."""
    if twice:
        return _no(Reason.REGISTRY_AMBIGUOUS, "Several registry rows name this database. Keep one of them.")
    status = registry_status(row["status"])
    if status in policy.excluded_statuses:
        return _no(Reason.TENANT_SUSPENDED, f"The registry says {status}, so the tenant is excluded.")
    return _REGISTERED


def _without_row(row: dict[str, Any], fleet: _Fleet) -> Condition:
    """A database without a registry row is adopted only if it never had one, and no row has or had its name."""
    name = str(row["database_name"])
    otherwise = fleet.otherwise.get(name)
    if otherwise is not None:
        return _no(
            Reason.REGISTRY_AMBIGUOUS,
            f"The registry has no row for this database, but one for {otherwise!r}: that name in small letters, cut to "
            "PostgreSQL's 63 bytes, is this one's. So it is not adopted. Have the tenant manager correct database_name "
            "in that row.",
        )
    if row["registered"]:
        return _no(
            Reason.REGISTRY_ROW_GONE,
            "Its registry row was taken away, so it counts as suspended although its database is there. Have the "
            "tenant manager put the row back if the customer is to come back; else drop the database.",
        )
    if fleet.loss.doubt is not None:
        return is_unknown(ConditionType.REGISTERED, Reason.REGISTRY_IN_DOUBT, fleet.loss.doubt)
    namesake = next((fleet.withdrawn[slug] for slug in namesakes_of(name) if slug in fleet.withdrawn), None)
    if namesake is not None:
        return _no(
            Reason.NOT_REGISTERED,
            f"The database has no registry row and the name of a tenant that is suspended or was taken out of the "
            f"registry ({namesake}), so it is not adopted by itself. Register it if it is to be worked on.",
        )
    if fleet.policy.adopt_databases:
        adopted = "It had no registry row and was adopted into the registry."
        return is_true(ConditionType.REGISTERED, Reason.ADOPTED, adopted)
    return _no(
        Reason.NOT_REGISTERED,
        "The database has no registry row, and PROVISIONING_ADOPT_DATABASES is off. Register it, or turn adoption on.",
    )


def _no(reason: Reason, message: str) -> Condition:
    return is_false(ConditionType.REGISTERED, reason, message)


@dataclass(frozen=True, slots=True)
class Claimant:
    """A tenant that may have an organization.

    Args:
        registered: what the registry says, or None.
        linked: what our own link says, or None.
        given_up: the registry said once what our link says, and says nothing any more.
    """

    database_name: str
    slug: str
    registered: str | None
    linked: str | None
    workspace_id: str | None
    given_up: bool = False


def claimants_of(detected: Iterable[Detected], claims: Iterable[Claim] = ()) -> list[Claimant]:
    """The tenants that may be worked on, each with what is known of its organization."""
    given_up = {claim.database_name for claim in claims if claim.given_up}
    return [
        Claimant(
            found.tenant.database_name,
            found.tenant.slug,
            found.tenant.clerk_org_id,
            (found.link or {}).get("clerk_org_id"),
            (found.link or {}).get("workspace_id"),
            found.tenant.database_name in given_up,
        )
        for found in detected
        if found.eligible
    ]
