"""What deciding is given: everything that was read, and the answers to what it asks in between. Values only."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pandas as pd

from provisioning_pipeline import steps
from provisioning_pipeline.decide.detection import Detected, DetectionPolicy, LossBudget, RegistryLoss
from provisioning_pipeline.decide.ownership import AccountKey
from provisioning_pipeline.model.condition import ConditionType, Status
from provisioning_pipeline.model.frames import ClerkSnapshot, TwentySnapshot
from provisioning_pipeline.model.people import Claim, Departure, Evidence
from provisioning_pipeline.model.tenant import TenantPlan
from provisioning_pipeline.model.tenant_database import Look, RoleRights
from provisioning_pipeline.settings import GatewaySettings, Settings
from provisioning_pipeline.steps.databases.plan.take_over import TakeOverPolicy
from provisioning_pipeline.steps.databases.plan.tenant_databases import DatabasePolicy
from provisioning_pipeline.steps.members.plan.decisions import MemberPolicy
from provisioning_pipeline.steps.members.plan.tenant_members import workspace_usable
from provisioning_pipeline.steps.step import Held


@dataclass(frozen=True, slots=True)
class RegistryTable:
    """What the registry's table lets us do.

    Args:
        owner: the role that owns it; empty when there is no such table.
        stores_workspaces: it has a column for the workspace id, and we may write to it.
        status_writable: we may write a tenant's status.
    """

    owner: str = ""
    stores_workspaces: bool = False
    status_writable: bool = False


@dataclass(frozen=True)
class Seen:
    """Everything that was read, before anything is decided.

    Args:
        detected: the tenants to plan for.
        registry, member_links, user_links: frames of our own side.
        intents: frame; whom runs began to let in and have not linked.
        taken_over: our rows about people of hand-made workspaces, also of those who left since.
        looks: database name → look, of the tenant databases that were worth one.
        looked_at: when reading began, by the clock of the ledger's database.
        dropped: databases that were looked into once and are no more; nobody knows when only some tenants are read.
        loss: what the registry has lost since a run last looked.
        claims: which tenants have the organizations in question, also tenants that are not planned for.
        tenant_role: what may be done by the role that opens tenant databases.
        table: what the registry's table lets us do.
        made_by_others: every account that is known to have a password that is not ours.
        once_at_clerk: (database name, e-mail) of people of those databases whom Clerk was once seen to know.
    """

    detected: Sequence[Detected]
    registry: pd.DataFrame
    twenty: TwentySnapshot
    clerk: ClerkSnapshot
    member_links: pd.DataFrame
    user_links: pd.DataFrame
    intents: pd.DataFrame
    taken_over: Sequence[Mapping[str, Any]]
    looks: Mapping[str, Look]
    looked_at: datetime
    dropped: frozenset[str] = frozenset()
    loss: RegistryLoss = field(default_factory=RegistryLoss)
    claims: Sequence[Claim] = ()
    tenant_role: RoleRights | None = None
    table: RegistryTable = RegistryTable()
    made_by_others: frozenset[AccountKey] = frozenset()
    once_at_clerk: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Demotion:
    """An Admin who is to be something else: how they came in says whether that takes anything away from them.

    `role` is the label of what they are to be.
    """

    database_name: str
    server: str
    workspace_id: str
    account: str
    email: str
    role: str


@dataclass(frozen=True)
class Questions:
    """What deciding needs to know before it can go on; what is empty is not asked.

    Args:
        accounts: what do these accounts at Twenty prove about their addresses?
        departures: (organization, Clerk user): is this person really gone from there?
        invitations: (database name, e-mail): did a run of ours send this invitation?
        emails: does anybody at Clerk have this address?
        demotions: how did they come in?
        held: what did the ledger hold true of these tenants (database names)?
    """

    accounts: frozenset[AccountKey] = frozenset()
    departures: Sequence[tuple[str, str]] = ()
    invitations: Sequence[tuple[str, str]] = ()
    emails: frozenset[str] = frozenset()
    demotions: Sequence[Demotion] = ()
    held: Sequence[str] = ()


@dataclass(frozen=True)
class Answers:
    """What was said to `Questions`. Of what could not be asked now there is no answer, which removes nobody.

    Args:
        accounts: those that are there, with what they prove.
        departures: those of whom a direct look says that they are gone.
        invitations: those that a run of ours sent.
        emails: those that somebody at Clerk has; None: Clerk could not be asked.
        joins: (server, workspace id, account) → when they joined, and when their role was given and last changed.
        added: (database name, e-mail) of those whom a run of ours added with the role that they are to have.
        watched_since: database name → since when the ledger has known the tenant.
        held: database name → the conditions that were true by the ledger.
    """

    accounts: Mapping[AccountKey, Evidence] = field(default_factory=dict)
    departures: Mapping[tuple[str, str], Departure] = field(default_factory=dict)
    invitations: frozenset[tuple[str, str]] = frozenset()
    emails: frozenset[str] | None = frozenset()
    joins: Mapping[tuple[str, str, str], tuple[datetime, datetime, datetime]] = field(default_factory=dict)
    added: frozenset[tuple[str, str]] = frozenset()
    watched_since: Mapping[str, datetime] = field(default_factory=dict)
    held: Mapping[str, frozenset[ConditionType]] = field(default_factory=dict)


def detection_policy(settings: Settings) -> DetectionPolicy:
    """Which databases are tenants."""
    return DetectionPolicy(settings.adopt_databases, frozenset(settings.registry_excluded_statuses))


def loss_budget(settings: GatewaySettings, approved: str | None = None) -> LossBudget:
    """How many lost registry rows are believed."""
    return LossBudget(settings.registry_lost_share, settings.registry_lost_most, approved)


def standing_claims(settings: Settings, kept: Collection[str] = ()) -> Callable[[Claim], bool]:
    """Which claims to organizations stand; `kept` are database names whose registry rows were lost for a moment."""
    aside = frozenset(settings.registry_excluded_statuses)
    return lambda claim: claim.stands(aside, kept)


def member_policy(settings: Settings) -> MemberPolicy:
    """Who gets which role, and what becomes of those who left."""
    return MemberPolicy(
        roles=settings.member_roles,
        default_role=settings.member_default_role,
        gone=settings.members_gone,
        trusts_accounts=settings.members_unproven == "trust",
        store_external_id=settings.clerk_store_external_id and len(settings.servers) == 1,
    )


def database_policy(settings: Settings, registry_owner: str, approved: str | None = None) -> DatabasePolicy:
    """What may be done by SQL in tenant databases, and who comes over from hand-made workspaces.

    The settings say which roles are the tenant manager's, else it is `registry_owner`, the role that owns the
    registry's table (empty where there is none).
    """
    managers = settings.tenant_manager_roles or ((registry_owner,) if registry_owner else ())
    return DatabasePolicy(
        rows=settings.tenant_databases,
        everyone=settings.onboarding_people == "everyone",
        mend=settings.mend_hand_made,
        take_over=TakeOverPolicy(
            wanted=settings.take_over_members,
            domains=frozenset(domain.lower() for domain in settings.take_over_domains),
            managers=frozenset(managers),
            per_tenant=settings.take_over_per_tenant,
            most=settings.take_over_most,
            approved=approved,
        ),
        default_role=settings.member_default_role,
        most_rows=settings.tenant_database_rows,
    )


def may_be_due(entries: Iterable[TenantPlan]) -> tuple[str, ...]:
    """Database names of the tenants for which a step may find something due; none where no step plans for itself."""
    if all(step.plan is None for step in steps.STEPS):
        return ()
    return tuple(entry.tenant.database_name for entry in entries if _can_be_worked_in(entry))


def with_due(entry: TenantPlan, held: Mapping[str, Held]) -> TenantPlan:
    """A tenant's plan with what is due by the conditions that held before, if a run can work in its workspace."""
    if _can_be_worked_in(entry):
        for step in steps.STEPS:
            if step.plan is not None:
                entry = step.plan(entry, held.get(entry.tenant.database_name, frozenset()))
    return entry


def _can_be_worked_in(entry: TenantPlan) -> bool:
    wanted = all(
        known.status is Status.TRUE
        for known in entry.conditions
        if known.type in (ConditionType.DETECTED, ConditionType.REGISTERED)
    )
    return wanted and entry.server is not None and workspace_usable(entry)
