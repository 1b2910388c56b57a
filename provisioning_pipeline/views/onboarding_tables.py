"""What is known about onboarding, for assets and their checks; and the part of a plan that is about it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pandas as pd

from provisioning_pipeline.clients.concurrency import both
from provisioning_pipeline.clients.postgres import Row
from provisioning_pipeline.ledger.members import Proof, Proofs
from provisioning_pipeline.model.change import Where
from provisioning_pipeline.model.condition import SET_ASIDE, ConditionType, Reason, Status
from provisioning_pipeline.model.frames import TwentySnapshot, records
from provisioning_pipeline.model.onboarding import COMPLETED, Flag, Level
from provisioning_pipeline.model.tenant import Plan, TenantPlan
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.steps.databases import changes as in_databases
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.onboarding import changes as of_onboarding
from provisioning_pipeline.steps.onboarding.plan import member_statuses
from provisioning_pipeline.steps.workspaces.changes import MAKING

# --- the part of a plan that is about onboarding --------------------------------------------------------------------

_ONBOARDING_CHANGES = frozenset({*in_databases.CHANGES, *of_onboarding.CHANGES, PROVE_LOGIN})


@dataclass(frozen=True, slots=True)
class OnboardingPart:
    """The onboarding part of a plan, and slugs of tenants for which it does nothing.

    Args:
        plan: of every tenant with a workspace what is about onboarding; no changes where nothing is to be done. Of
            those without one, what is to be done in their own databases.
        without_workspace: they have none to repair anything in.
        nothing_pending: their rows were read, and nothing is to be done.
        not_looked_at: their rows could not be read, or nothing is wanted of them.
    """

    plan: Plan
    without_workspace: tuple[str, ...] = ()
    nothing_pending: tuple[str, ...] = ()
    not_looked_at: tuple[str, ...] = ()


def onboarding_part(plan: Plan) -> OnboardingPart:
    """The plan with the tenants that have a workspace, and of their changes those about onboarding alone.

    Where nothing is to be done we store no condition. Pending reviews stay: the run does nothing for members.
    """
    kept = tuple(
        _database_of(entry) if _has_no_workspace(entry) else _onboarding_of(entry)
        for entry in plan.tenants
        if not _has_no_workspace(entry) or (entry.database and entry.database.needs_work)
    )
    idle = {entry.tenant.database_name for entry in kept if not entry.changes}
    at_rest = [entry for entry in plan.tenants if entry.tenant.database_name in idle]
    return OnboardingPart(
        replace(plan, tenants=kept, looked_at=None, waiting=None, notes=()),
        without_workspace=tuple(entry.tenant.slug for entry in plan.tenants if _has_no_workspace(entry)),
        nothing_pending=tuple(entry.tenant.slug for entry in at_rest if _is_cleared(entry)),
        not_looked_at=tuple(entry.tenant.slug for entry in at_rest if not _is_cleared(entry)),
    )


def _has_no_workspace(entry: TenantPlan) -> bool:
    return entry.workspace_id is None or bool(MAKING & set(entry.changes))


def _database_of(entry: TenantPlan) -> TenantPlan:
    """Of a tenant without a workspace only what is to be done in its own database."""
    return replace(
        entry,
        adopt=False,
        server=None,
        changes=tuple(change for change in entry.changes if change.where is Where.OWN_DATABASE),
        conditions=tuple(known for known in entry.conditions if known.type is ConditionType.TENANT_DATABASE),
        members=(),
        findings=(),
        store_organization=None,
    )


def _is_cleared(entry: TenantPlan) -> bool:
    return any(
        known.type is ConditionType.ONBOARDING_COMPLETE and known.status is Status.TRUE for known in entry.conditions
    )


def _onboarding_of(entry: TenantPlan) -> TenantPlan:
    changes = tuple(change for change in entry.changes if change in _ONBOARDING_CHANGES)
    if not changes:
        return replace(entry, adopt=False, changes=(), conditions=(), members=(), findings=(), database=None)
    return replace(
        entry,
        adopt=False,
        changes=changes,
        # says what this run will do for members, and it does nothing for them
        conditions=tuple(known for known in entry.conditions if known.type is not ConditionType.MEMBERS_SYNCED),
    )


# --- what is there --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PendingRow:
    """One onboarding row that holds `true`.

    Args:
        key, level: the step, and what the row is about: a user, a workspace, or both.
        user_id, workspace_id: of that level; else None.
        slug: tenant of that workspace; None where no tenant has it, or the row is of a user in all workspaces.
        ours: it is about a member of ours, or about a whole workspace of a tenant.
    """

    server: str
    key: str
    level: Level
    user_id: str | None
    workspace_id: str | None
    slug: str | None
    ours: bool
    email: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """What one member of a tenant's workspace would see, other than COMPLETED.

    `person` is their e-mail, or their user id where it is not known. `ours`: this program keeps wizards away from them.
    """

    slug: str
    person: str
    status: str
    keys: tuple[str, ...]
    ours: bool


@dataclass(frozen=True, slots=True)
class OwnDatabase:
    """A tenant whose condition TenantDatabase is not true, by the last inspection of its own database."""

    slug: str
    status: Status
    reason: Reason
    message: str

    @property
    def has_rows(self) -> bool:
        """Rows of members of ours are pending there, and by policy stay."""
        return self.status is Status.FALSE and self.reason is Reason.ROWS_REPORTED


@dataclass(frozen=True)
class OnboardingNow:
    """Onboarding as the servers' rows say it, and as the last inspections of the tenants' own databases say it.

    Args:
        statuses: how many members of the tenants' workspaces would see which status.
        shown: those who would see another one than COMPLETED.
        unread: server → why it could not be read; we do not know what is pending there.
        databases: the tenants whose own database is not known to have nothing pending, by slug.
    """

    pending: tuple[PendingRow, ...]
    statuses: Mapping[str, int]
    shown: tuple[Shown, ...]
    unread: Mapping[str, str]
    databases: tuple[OwnDatabase, ...] = ()


@dataclass(frozen=True, slots=True)
class LoginProof:
    """What the last real login of one member saw. `status` is COMPLETED, another status, or why there was none."""

    slug: str
    email: str
    status: str
    proved_at: datetime
    admin: bool

    @property
    def completed(self) -> bool:
        """Whether that member came in and saw no wizard."""
        return self.status == COMPLETED


@dataclass(frozen=True)
class LoginProofs:
    """The proofs of members of ours in tenants that are not excluded; `now` by the clock of the ledger's database.

    `unproved` are slugs of tenants with an admin who has no proof.
    """

    proofs: tuple[LoginProof, ...]
    unproved: tuple[str, ...]
    now: datetime

    @property
    def oldest_of_admin(self) -> LoginProof | None:
        """The admin whose proof is the oldest."""
        return min((proof for proof in self.proofs if proof.admin), key=lambda proof: proof.proved_at, default=None)


async def onboarding_in(twenty: TwentySnapshot, connections: Connections) -> OnboardingNow:
    """What is pending on all servers, and what the members of the tenants' workspaces would see."""
    settings = connections.settings
    (tenants, people), databases = await both(
        both(_tenants(connections), _people(connections)), _own_databases(connections)
    )
    slugs = {(str(row["server"]), str(row["workspace_id"])): str(row["slug"]) for row in tenants}
    places = pd.DataFrame(
        [(*place, slug) for place, slug in slugs.items()], columns=[*_WORKSPACE, "slug"], dtype=object
    )
    linked = member_statuses(twenty.workspaces, twenty.members, twenty.flags).merge(places, on=_WORKSPACE)
    ours = _ours(tenants, people, twenty.service_users)
    if settings.onboarding_people == "everyone":
        ours |= set(zip(linked["server"], linked["workspace_id"], linked["user_id"], strict=True))
    odd = linked[linked["status"] != COMPLETED].merge(twenty.users, on=["server", "user_id"], how="left")
    unread = twenty.servers[twenty.servers["reason"].notna()]
    return OnboardingNow(
        pending=tuple(
            _pending_rows(twenty.flags.merge(twenty.users, on=["server", "user_id"], how="left"), slugs, ours)
        ),
        statuses={str(status): int(count) for status, count in linked["status"].value_counts().items()},
        shown=tuple(
            Shown(
                row["slug"],
                row["email"] or row["user_id"],
                row["status"],
                row["keys"],
                (row["server"], row["workspace_id"], row["user_id"]) in ours,
            )
            for row in records(odd.sort_values(["slug", "user_id"]))
        ),
        unread=dict(zip(unread["server"], unread["message"], strict=True)),
        databases=databases,
    )


async def login_proofs(connections: Connections) -> LoginProofs:
    """What the ledger knows of real logins."""
    now = await connections.reviews.now()
    tenants, (people, proofs) = await both(
        _tenants(connections), both(_people(connections), Proofs(connections.ledger.database).of())
    )
    admins = {(row["database_name"], row["admin_user_id"]) for row in tenants if row["admin_user_id"]}
    slugs = {row["database_name"]: str(row["slug"]) for row in tenants}
    ours = admins | people
    ours_proved = [
        LoginProof(slugs[proof.database_name], proof.email, proof.status, proof.proved_at, _key(proof) in admins)
        for proof in proofs
        if proof.database_name in slugs and proof.proved_at and _key(proof) in ours
    ]
    proved = {_key(proof) for proof in proofs}
    return LoginProofs(
        proofs=tuple(sorted(ours_proved, key=lambda proof: (proof.slug, proof.email))),
        unproved=tuple(sorted(slugs[name] for name, user in admins if (name, user) not in proved)),
        now=now,
    )


def _key(proof: Proof) -> tuple[str, str]:
    return proof.database_name, proof.twenty_user_id


# --- reading and counting -------------------------------------------------------------------------------------------

_WORKSPACE = ["server", "workspace_id"]
_Place = tuple[str, str]
_At = tuple[str, str, str]
"""Server, workspace, user."""


async def _tenants(connections: Connections) -> list[Row]:
    """The ledger's rows of tenants that have a workspace and are not excluded."""
    rows = await connections.ledger.tenant_rows()
    return [row for row in rows if row["workspace_id"] and row["reason"] not in SET_ASIDE]


async def _own_databases(connections: Connections) -> tuple[OwnDatabase, ...]:
    """What the ledger says of databases of tenants that are not excluded, with or without a workspace."""
    rows, stored = await both(connections.ledger.tenant_rows(), connections.ledger.conditions())
    slugs = {row["database_name"]: str(row["slug"]) for row in rows if row["reason"] not in SET_ASIDE}
    found = [
        OwnDatabase(slugs[entry.database_name], known.status, known.reason, known.message)
        for entry in stored
        if (known := entry.condition).type is ConditionType.TENANT_DATABASE
        and known.status is not Status.TRUE
        and entry.database_name in slugs
    ]
    return tuple(sorted(found, key=lambda database: database.slug))


async def _people(connections: Connections) -> set[tuple[str, str]]:
    """Database name and Twenty user id of every member that we linked or took over."""
    links, taken = await both(connections.members.member_links(), connections.members.taken_over())
    linked = zip(links["database_name"], links["twenty_user_id"], strict=True)
    return {*linked, *((row["database_name"], row["twenty_user_id"]) for row in taken)}


def _ours(
    tenants: Iterable[Row], people: Iterable[tuple[str, str]], service_users: Mapping[str, Sequence[str]]
) -> set[_At]:
    """Accounts that we keep from wizards, and where: service account, admin, and members linked or taken over."""
    places = {row["database_name"]: (str(row["server"]), str(row["workspace_id"])) for row in tenants}
    found = {(*places[name], user) for name, user in people if name in places}
    for row in tenants:
        place = places[row["database_name"]]
        found |= {(*place, user) for user in service_users.get(place[0], ())}
        if row["admin_user_id"]:
            found.add((*place, row["admin_user_id"]))
    return found


def _pending_rows(flags: pd.DataFrame, slugs: Mapping[_Place, str], ours: set[_At]) -> Iterable[PendingRow]:
    on_server = {(server, user) for server, _, user in ours}
    for row in records(flags):
        flag = Flag(row["key"], row["user_id"], row["workspace_id"], row["value"])
        if not flag.is_step or flag.value is not True or flag.level is None:
            continue
        server, slug = str(row["server"]), slugs.get((row["server"], flag.workspace_id or ""))
        concerned = {
            Level.WORKSPACE: slug is not None,
            Level.USER: (server, flag.user_id) in on_server,
            Level.USER_AND_WORKSPACE: (server, flag.workspace_id, flag.user_id) in ours,
        }
        yield PendingRow(
            server, flag.key, flag.level, flag.user_id, flag.workspace_id, slug, concerned[flag.level], row["email"]
        )


def counted(rows: Iterable[PendingRow]) -> list[tuple[str, str, str, bool, int]]:
    """Server, step, level, whether ours, and how many rows; the most first."""
    counts = Counter((row.server, row.key, str(row.level), row.ours) for row in rows)
    return [(*about, count) for about, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
