"""Tenants, the Twenty servers they live on, and what is to be done for each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid4

from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import Condition, Reason
from provisioning_pipeline.model.forecast import AgingWorkspace
from provisioning_pipeline.model.history import Waiting
from provisioning_pipeline.model.offboarding import Return
from provisioning_pipeline.model.onboarding import Flag


@dataclass(frozen=True, slots=True)
class Tenant:
    """One customer. `database_name` is its identity everywhere: slugs are cut and parsed names lie."""

    database_name: str
    slug: str
    name: str
    clerk_org_id: str | None = None


@dataclass(frozen=True, slots=True)
class Admin:
    """The person who becomes the first admin of a tenant's workspace. `clerk_user_id` is None without Clerk."""

    email: str
    first_name: str
    last_name: str
    clerk_user_id: str | None = None


@dataclass(frozen=True, slots=True)
class AdminUnknown:
    """Why no admin could be named, in words."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class MemberPlan:
    """What is to be done for one person in one workspace.

    Args:
        clerk_user_id: who, at Clerk; None for a member of a workspace inserted by SQL that Clerk does not know.
        email: of their Twenty account, lower case; the one Clerk verified, where they have no account yet.
        first_name, last_name: as Clerk has them; may both be empty.
        role: label of the role that they are to have.
        changes: in order; never empty.
        why: for a harmful change, what Clerk said, for a person to read; for another, on what it depends.
        changed_at: when Clerk says that it changed, in milliseconds since 1970; None when that is not known.
        undoes_our_join: a demotion takes back only what our own join gave, or what another person had before them,
            which is no harm.
        departed: Clerk has them as an active member no more; else it is their role that changed.
        new_email: what the e-mail of their account is to be from now on; empty: it stays.
        succeeds: the user, deleted at Clerk since, whose account it was before; None: no other person's.
    """

    clerk_user_id: str | None
    email: str
    first_name: str
    last_name: str
    role: str
    twenty_user_id: str | None
    changes: tuple[Change, ...]
    why: str = ""
    changed_at: int | None = None
    undoes_our_join: bool = False
    departed: bool = False
    new_email: str = ""
    succeeds: str | None = None

    @property
    def harmful_changes(self) -> tuple[Change, ...]:
        """Those that take something away from the person."""
        return tuple(change for change in self.changes if change.harmful)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """An open invitation of ours that is to end.

    `email` is that of the invited person; `why` is a clause; `departed`: no active member at Clerk has that address.
    """

    email: str
    why: str
    departed: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one tenant's members that no run could or may mend by itself.

    `person` is an e-mail, or an id where there is none; `message` says what to do. With `blocks=False` it is reported,
    and the tenant is ready all the same: no member lacks anything.
    """

    reason: Reason
    person: str
    message: str
    blocks: bool = True


@dataclass(frozen=True, slots=True)
class InsertedWorkspace:
    """A workspace in a tenant database that was inserted by SQL, and what it lacks, in words."""

    workspace_id: str
    display_name: str
    failed_checks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DatabasePlan:
    """What the inspection of the tenant's own database found, and what is to be done there by SQL.

    Args:
        evidence, looked_at: of the look; they go into the ledger.
        settled: nothing is to be done, so that the database needs no inspection until it is written to.
        rows: onboarding rows to remove.
        activate: workspaces to set to ACTIVE.
        known_at_clerk: e-mails of their members that Clerk knows.
        after: what holds once this is done.
        told: which of its members are not taken over, and why; in sentences, empty where there are none.
    """

    evidence: str
    looked_at: datetime
    settled: bool
    rows: tuple[Flag, ...]
    activate: tuple[str, ...]
    hand_made: tuple[InsertedWorkspace, ...]
    known_at_clerk: tuple[str, ...]
    after: Condition
    told: str = ""

    @property
    def needs_work(self) -> bool:
        return bool(self.rows or self.activate)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a workspace is reached since it was renamed in Twenty. `url` is None where only Twenty can say it."""

    subdomain: str
    url: str | None


@dataclass(frozen=True, slots=True)
class Retirement:
    """A workspace that was marked as deleted by SQL while it has members, so that these cannot sign in to the server.

    Args:
        database_name: of the tenant whose workspace it was, or None.
        ours: it is a tenant's, or our own account is among its members: its memberships are retired.
    """

    server: str
    workspace_id: str
    subdomain: str
    members: int
    database_name: str | None
    ours: bool


@dataclass(frozen=True, slots=True)
class TenantPlan:
    """Everything that acting for one tenant needs; small, and free of secrets.

    Args:
        changes: what will be done, for a person to read; empty means nothing is to be done.
        adopt: the registry has no row for this database yet.
        server: name of the Twenty server, or None when none can take it.
        subdomains: candidates in order of preference, each valid under Twenty's rules.
        workspace_id: the stored workspace, when there is one.
        admin: who is to be its admin, or why that is not known.
        findings: what about its members needs a person.
        withdrawals: invitations of ours to its workspace that are to end.
        store_organization: the Clerk organization in whose metadata the workspace id is to be kept, or None.
        database: what its own database needs; None when it was not inspected.
        pending: the names of pending onboarding steps, one tuple for each person of ours who has any.
        name_note: why its workspace is not called what the registry says, as a clause; empty where it is.
        address: where its workspace is reached since it was renamed in Twenty; None when it was not.
        look_again_seconds: after how long there is something to be done; None: after the usual wait.
        lost_admin: Twenty user id of the stored admin, who does not stand for the tenant any more; None: they do.
        renamed_from: what its database was called when its workspace was made; None: it was not renamed.
        moved_from: the database name by which the ledger still knows it; None: its own.
        organization_before: the Clerk organization that it had until now, if it has another one; else None.
    """

    tenant: Tenant
    changes: tuple[Change, ...]
    adopt: bool
    server: str | None
    subdomains: tuple[str, ...]
    workspace_id: str | None
    admin: Admin | AdminUnknown
    conditions: tuple[Condition, ...]
    members: tuple[MemberPlan, ...] = ()
    findings: tuple[Finding, ...] = ()
    withdrawals: tuple[Withdrawal, ...] = ()
    store_organization: str | None = None
    database: DatabasePlan | None = None
    pending: tuple[tuple[str, ...], ...] = ()
    name_note: str = ""
    address: Address | None = None
    look_again_seconds: float | None = None
    lost_admin: str | None = None
    renamed_from: str | None = None
    moved_from: str | None = None
    organization_before: str | None = None

    @property
    def needs_work(self) -> bool:
        return bool(self.changes)


@dataclass(frozen=True, slots=True)
class ClerkRead:
    """How much of Clerk a run read.

    Args:
        whole: the whole instance, not only the organizations of some tenants.
        doubt: why the reading is not proved whole, or failed; None when all is well.
    """

    whole: bool
    organizations: int
    memberships: int
    users: int
    doubt: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do: one entry per tenant that it read.

    Args:
        tenants: in order of their database names.
        looked_at: when reading began, by the clock of the ledger's database.
        asked: the names that the run was asked for; empty: all tenants.
        unread: database names of tenants whose members Clerk would not tell.
        waiting: the removals and demotions that wait for approval, or None.
        approved: removals and demotions beyond the budget are in it, because an operator approved them by name.
        notes: what about the whole run a person should know.
        dropped: databases that were inspected once and are no more.
        left: (database name, Twenty user id) of people of workspaces inserted by SQL who are members no more.
        given_up: (database name, Clerk user) of intents that brought no one into a workspace.
        unactivated: workspaces that were never activated or never paid for, ours or not.
        room: server → workspaces that it could still take before this plan; None: no limit of ours.
        retirements: workspaces that were deleted by SQL although they have members.
        registry_doubt: why a registry that lost rows is not believed, in one sentence; None: it is.
        registered: database names of tenants whose registry row the ledger does not know of yet.
        row_gone: those whose row is missing for the first time.
        row_settled: those of which it is settled now that their row was taken away.
        kept_rows: those whose row is missing, which is not believed yet.
        came_back: the offboardings that end before their workspaces are deleted.
        registry_ids: (database name, id of its registry row) where the ledger does not know that id yet.
        database_oids: (database name, the cluster's number for it) likewise.
        asked_admins: (database name, e-mail) of admins who were named over HTTP and do not stand in the registry yet.
    """

    tenants: tuple[TenantPlan, ...]
    looked_at: datetime | None = None
    asked: tuple[str, ...] = ()
    unread: frozenset[str] = frozenset()
    waiting: Waiting | None = None
    approved: bool = False
    notes: tuple[str, ...] = ()
    clerk: ClerkRead | None = None
    dropped: frozenset[str] = frozenset()
    left: tuple[tuple[str, str], ...] = ()
    given_up: tuple[tuple[str, str], ...] = ()
    unactivated: tuple[AgingWorkspace, ...] = ()
    room: Mapping[str, int | None] = field(default_factory=dict)
    retirements: tuple[Retirement, ...] = ()
    registry_doubt: str | None = None
    registered: tuple[str, ...] = ()
    row_gone: tuple[str, ...] = ()
    row_settled: tuple[str, ...] = ()
    came_back: tuple[Return, ...] = ()
    kept_rows: frozenset[str] = frozenset()
    asked_admins: tuple[tuple[str, str], ...] = ()
    registry_ids: tuple[tuple[str, str], ...] = ()
    database_oids: tuple[tuple[str, int], ...] = ()

    @property
    def work(self) -> tuple[TenantPlan, ...]:
        return tuple(tenant for tenant in self.tenants if tenant.needs_work)


class OutcomeStatus(StrEnum):
    """How an attempted change stands. CUT: it was sent and cut off, so that it may have been made or not."""

    BEGUN = "begun"
    DONE = "done"
    FAILED = "failed"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempted change and how it stands. `seconds` is wall-clock time; `key` is the same at its begin and end."""

    database_name: str
    change: Change
    status: OutcomeStatus
    detail: str
    seconds: float
    key: UUID = field(default_factory=uuid4, compare=False)
