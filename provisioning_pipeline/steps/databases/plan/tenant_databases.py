"""Puts what the inspection of a tenant database found into the plan of its tenant."""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import pandas as pd

from provisioning_pipeline.model.condition import (
    Condition,
    ConditionType,
    Reason,
    is_false,
    is_true,
    is_unknown,
    with_newer,
)
from provisioning_pipeline.model.names import first_few
from provisioning_pipeline.model.onboarding import Flag, rows_in_the_way
from provisioning_pipeline.model.people import ADMIN_ROLE
from provisioning_pipeline.model.tenant import DatabasePlan, InsertedWorkspace, MemberPlan, TenantPlan
from provisioning_pipeline.model.tenant_database import FoundMember, FoundWorkspace, Inspection, LastInspection
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.steps.databases.changes import MEND_WORKSPACE
from provisioning_pipeline.steps.databases.plan.take_over import (
    Candidates,
    TakeOver,
    TakeOverPolicy,
    TakeOvers,
    failed_checks,
    known_domains,
    members_to_take_over,
    take_over,
)
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.members.changes import ADD_MEMBER, SET_NAME, SET_ROLE
from provisioning_pipeline.steps.members.plan.people import People
from provisioning_pipeline.steps.members.plan.tenant_members import workspace_usable
from provisioning_pipeline.steps.onboarding.changes import CLEAR_ONBOARDING, REMOVE_ROWS


def evidence_under(policy: str, evidence: str) -> str:
    """What is to be stored of an inspection: while it is the same, another one would come to the same end."""
    return f"{evidence} {policy}"


def due(
    names: Sequence[str],
    evidence: Mapping[str, str],
    inspections: Mapping[str, LastInspection],
    policy: str,
    now: datetime,
    full_look_seconds: float,
) -> list[str]:
    """Those of these databases that must be inspected, in the order of the names.

    Those are: never inspected; the last inspection left something to be done, is too old, or was under another policy;
    written to since, or perhaps written to (there is no evidence).

    Args:
        evidence: by name, of now.
        inspections: by name; their evidence is that of `evidence_under`.
        policy: what of the operator's policy an inspection depends on.
        now: by the clock that the inspections' `looked_at` is of.
        full_look_seconds: how long an inspection is good for at most.
    """

    def is_good(name: str) -> bool:
        last = inspections.get(name)
        return (
            last is not None
            and last.settled
            and name in evidence
            and last.evidence == evidence_under(policy, evidence[name])
            # an inspection from the future is good for nothing: the clock was set back
            and 0 <= (now - last.looked_at).total_seconds() < full_look_seconds
        )

    return [name for name in names if not is_good(name)]


_ACTIVATING = frozenset({"PENDING_CREATION", "ONGOING_CREATION"})
_MOST_NAMED = 3
_LONGEST_ID = 40
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MOST_REMOVED = 1_000
"""Rows of one tenant database that one run removes; the next one goes on."""
_UNREAD = frozenset({Reason.DATABASE_UNREACHABLE, Reason.TENANT_DATABASE_UNSAFE, Reason.TENANT_DATABASE_TOO_LARGE})
"""Nothing of it was read. The first may pass by itself; the others stay until the database is written to."""


@dataclass(frozen=True)
class DatabasePolicy:
    """What the operator decided about tenant databases.

    Args:
        rows: onboarding rows are removed, or only reported.
        everyone: also rows of people who are not ours.
        mend: a whole workspace that was left in PENDING_CREATION is set to ACTIVE.
        take_over: which members of a workspace inserted by SQL, unknown to Clerk, become members of the proper one.
        most_rows: of one table that are read in each.
    """

    rows: Literal["repair", "report"]
    everyone: bool
    mend: bool
    take_over: TakeOverPolicy
    default_role: str
    most_rows: int = 10_000

    @classmethod
    def of(cls, settings: Settings, registry_owner: str, approved: str | None = None) -> "DatabasePolicy":
        """The settings say which roles are the tenant manager's, else it is the role that owns the registry's table.

        Args:
            registry_owner: that role; empty where there is no such table.
        """
        managers = settings.tenant_manager_roles or ((registry_owner,) if registry_owner else ())
        return cls(
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

    @property
    def text(self) -> str:
        """What of the policy an inspection depends on; another text makes every database worth another one."""
        over = self.take_over
        return (
            f"rows={self.rows} everyone={self.everyone} mend={self.mend} take_over={over.wanted} "
            f"{sorted(over.domains)} {sorted(over.managers)} {over.per_tenant} {over.most} most_rows={self.most_rows}"
        )


def old_names(inspections: Mapping[str, Inspection], registered: Collection[str]) -> dict[str, str]:
    """Database name → what the database itself says that its tenant is called.

    A hand-made workspace keeps its name; where the registry has no row, whatever workspace is there tells it.
    """
    found = {
        name: old_display_name(
            [place for place in inspection.workspaces if name not in registered or failed_checks(place)]
        )
        for name, inspection in inspections.items()
    }
    return {name: called for name, called in found.items() if called}


def old_display_name(workspaces: Sequence[FoundWorkspace]) -> str | None:
    """What a tenant database says that its tenant is called; None when it does not say, or says two names."""
    names = {workspace.display_name for workspace in workspaces if workspace.display_name}
    return names.pop() if len(names) == 1 else None


@dataclass(frozen=True)
class PeopleOfDatabase:
    """The people that a tenant database may speak of; e-mails in lower case.

    Args:
        ours: members at Clerk, linked and taken-over people, admins.
        at_clerk: those that Clerk knows at all; None when Clerk could not be asked.
        inside: who is in the tenant's workspace, was taken over once, or was once known to Clerk; and our own accounts.
        unread: who the tenant's members at Clerk are could not be read.
        known_by: its members at Clerk, its linked members and its admins: the tenant is known by their domains.
        taken_over: how many came over from it so far.
    """

    ours: frozenset[str] = frozenset()
    at_clerk: frozenset[str] | None = frozenset()
    inside: frozenset[str] = frozenset()
    unread: bool = False
    known_by: frozenset[str] = frozenset()
    taken_over: int = 0


def people_of_databases(
    inspections: Mapping[str, Inspection],
    entries: Sequence[TenantPlan],
    people: People,
    admins: Sequence[tuple[str, str]],
    taken_over: Sequence[tuple[str, str]],
    never: Sequence[tuple[str, str]],
) -> dict[str, PeopleOfDatabase]:
    """Database name → people, of every database that was inspected.

    Args:
        admins: (database name, e-mail) of the tenants' admins.
        taken_over: the same of those who came over before from workspaces inserted by SQL, and may have left since.
        never: the same of those who are not to be taken over whatever Clerk says.
    """
    columns = ["database_name", "email"]
    inspected = [entry for entry in entries if entry.tenant.database_name in inspections]
    places = pd.DataFrame(
        [(e.tenant.database_name, e.tenant.clerk_org_id, e.server, e.workspace_id) for e in inspected],
        columns=["database_name", "organization_id", "server", "workspace_id"],
        dtype=object,
    )
    known = people.clerk_users[people.clerk_users["email"].notna()][["user_id", "email"]]
    at_clerk = places.merge(people.memberships, on="organization_id").merge(known, on="user_id")[columns]
    inside = places.merge(people.twenty_members, on=["server", "workspace_id"])
    inside = inside.merge(people.twenty_users, on=["server", "user_id"])[columns]
    vouched = [at_clerk, people.member_links[columns], pd.DataFrame(admins, columns=columns, dtype=object)]
    before = pd.DataFrame(taken_over, columns=columns, dtype=object)
    known_by, ours = _by_database(vouched, inspections), _by_database([*vouched, before], inspections)
    insiders = _by_database([inside, before, pd.DataFrame(never, columns=columns, dtype=object)], inspections)
    at_clerk_at_all = frozenset(known["email"])
    none: frozenset[str] = frozenset()
    return {
        name: PeopleOfDatabase(
            ours.get(name, none),
            at_clerk_at_all,
            insiders.get(name, none),
            known_by=known_by.get(name, none),
            taken_over=int((before["database_name"] == name).sum()),
        )
        for name in inspections
    }


def _by_database(frames: Sequence[pd.DataFrame], inspections: Mapping[str, Inspection]) -> dict[str, frozenset[str]]:
    rows = pd.concat(frames, ignore_index=True)
    rows = rows[rows["database_name"].isin(list(inspections))]
    return {str(name): frozenset(emails) for name, emails in rows.groupby("database_name")["email"]}


def with_databases(
    entries: Sequence[TenantPlan],
    inspections: Mapping[str, Inspection],
    people: Mapping[str, PeopleOfDatabase],
    policy: DatabasePolicy,
    served: Collection[str] = (),
) -> tuple[tuple[TenantPlan, ...], TakeOvers]:
    """The plans, with the part of those databases that were inspected, and who comes over from all of them.

    `served` are Twenty servers' own databases.
    """
    inspected = [entry for entry in entries if entry.tenant.database_name in inspections]
    offered = {
        name: Candidates(found, inspections[name].owners, known_domains(people[name].known_by), people[name].taken_over)
        for entry in inspected
        if (name := entry.tenant.database_name) not in served
        and _may_come_over(entry, people[name])
        and (found := _candidates(entry, inspections[name], people[name]))
    }
    overs = take_over(offered, policy.take_over) if offered else TakeOvers()
    planned = {}
    for entry in inspected:
        name = entry.tenant.database_name
        over = overs.by_database.get(name, TakeOver())
        planned[name] = _with_database(entry, inspections[name], people[name], policy, over, served=name in served)
    return tuple(planned.get(entry.tenant.database_name, entry) for entry in entries), overs


def _with_database(
    entry: TenantPlan,
    inspection: Inspection,
    people: PeopleOfDatabase,
    policy: DatabasePolicy,
    over: TakeOver,
    *,
    served: bool,
) -> TenantPlan:
    """The tenant's plan with what is to be done in its database, and by reason of what is there.

    Where a Twenty server works on this very database (`served`), all of it is Twenty's: a workspace without metadata
    may be one that Twenty has begun, and its people are Twenty's accounts. We only report what was inserted by SQL.
    """
    workspaces = _workspaces(entry, inspection, served=served)
    rows = () if served else _rows(workspaces, inspection.flags, people, everyone=policy.everyone)
    left_pending = [
        found for found in workspaces if found.activation_status == "PENDING_CREATION" and not failed_checks(found)
    ]
    hand_made = tuple(
        InsertedWorkspace(found.workspace_id, found.display_name, tuple(map(str, failed_checks(found))))
        for found in workspaces
        if failed_checks(found)
    )
    # each is kept for an undo: an owner who writes them anew each time must not fill the ledger
    repaired = rows[:_MOST_REMOVED] if policy.rows == "repair" else ()
    mended = tuple(found.workspace_id for found in left_pending) if policy.mend else ()
    members = tuple(_member(found, entry, policy) for found in over.people)
    # also those who may not come over in this run: Clerk does not say, or there is no workspace for them
    may_come = served or _may_come_over(entry, people)
    waits = over.waits or (policy.take_over.wanted and not may_come and bool(_candidates(entry, inspection, people)))
    uncertain = people.unread and any(flag.value is True for flag in inspection.flags)
    later = len(rows) - len(repaired) if repaired else 0
    after = (
        is_false(_TYPE, Reason.WAITING, f"{later} more onboarding rows are pending in the tenant's database.")
        if later
        else _at_rest(inspection, hand_made, left_pending if not policy.mend else [], () if repaired else rows)
    )
    now = _to_do(repaired, mended) if repaired or mended else after
    if over.told:
        after, now = (replace(each, message=f"{each.message} {over.told}") for each in (after, now))
    plan = DatabasePlan(
        evidence=evidence_under(policy.text, inspection.evidence),
        looked_at=inspection.looked_at,
        settled=not (repaired or mended or members or waits or uncertain)
        and inspection.reason is not Reason.DATABASE_UNREACHABLE,
        rows=repaired,
        activate=mended,
        hand_made=hand_made,
        known_at_clerk=tuple(
            sorted({member.email for found in workspaces for member in found.members} & (people.at_clerk or set()))
        ),
        after=after,
        told=over.told,
    )
    changes = [*entry.changes, *([REMOVE_ROWS] if repaired else []), *([MEND_WORKSPACE] if mended else [])]
    if members:
        changes += [change for member in members for change in member.changes]
        changes += [CLEAR_ONBOARDING, PROVE_LOGIN]
    newer = (now, _to_come(members)) if members else (now,)
    return replace(
        entry,
        changes=tuple(dict.fromkeys(changes)),
        members=(*entry.members, *members),
        database=plan,
        conditions=with_newer(entry.conditions, *newer),
    )


def _rows(
    workspaces: Sequence[FoundWorkspace], flags: Sequence[Flag], people: PeopleOfDatabase, *, everyone: bool
) -> tuple[Flag, ...]:
    of_places: defaultdict[str | None, list[Flag]] = defaultdict(list)
    of_people: defaultdict[str | None, dict[str, Flag]] = defaultdict(dict)
    for flag in flags:
        if flag.workspace_id is None:
            # the first of a step is the one that counts, and every workspace of a person looks at all of theirs
            of_people[flag.user_id].setdefault(flag.key, flag)
        else:
            of_places[flag.workspace_id].append(flag)
    found: dict[str | None, Flag] = {}
    for workspace in workspaces:
        users = {member.user_id for member in workspace.members if everyone or member.email in people.ours}
        # only what may concern it: the owner of a database may write very many of both
        near = [
            *of_places.get(workspace.workspace_id, ()),
            *(flag for user in users for flag in of_people.get(user, {}).values()),
        ]
        for flag in rows_in_the_way(users, workspace.workspace_id, near):
            found.setdefault(flag.row_id, flag)
    return tuple(found.values())


def _workspaces(entry: TenantPlan, inspection: Inspection, *, served: bool) -> list[FoundWorkspace]:
    workspaces = [found for found in inspection.workspaces if not served or found.activation_status not in _ACTIVATING]
    # its own workspace is Twenty's to repair, also where Twenty works on this very database
    return [found for found in workspaces if found.workspace_id != entry.workspace_id]


def _candidates(entry: TenantPlan, inspection: Inspection, people: PeopleOfDatabase) -> tuple[FoundMember, ...]:
    workspaces = _workspaces(entry, inspection, served=False)
    if not workspaces:
        return ()
    planned = {member.email for member in entry.members}
    return members_to_take_over(workspaces, people.at_clerk or (), people.inside | planned)


def _may_come_over(entry: TenantPlan, people: PeopleOfDatabase) -> bool:
    return people.at_clerk is not None and entry.server is not None and workspace_usable(entry)


def _member(found: FoundMember, entry: TenantPlan, policy: DatabasePolicy) -> MemberPlan:
    # where there is an organization, who is admin is Clerk's word
    admin = found.role == ADMIN_ROLE and entry.tenant.clerk_org_id is None
    named = (SET_NAME,) if found.first_name or found.last_name else ()
    return MemberPlan(
        clerk_user_id=None,
        email=found.email,
        first_name=found.first_name,
        last_name=found.last_name,
        role=ADMIN_ROLE if admin else policy.default_role,
        twenty_user_id=None,
        changes=(ADD_MEMBER, *named, SET_ROLE),
        why="of the hand-made workspace; Clerk does not know them",
    )


# --- what is told -------------------------------------------------------------------------------------------------

_TYPE = ConditionType.TENANT_DATABASE


def _to_come(members: Sequence[MemberPlan]) -> Condition:
    named = first_few([member.email for member in members], _MOST_NAMED)
    told = f"{named} of the hand-made workspace are to be taken over by this run."
    return is_false(ConditionType.MEMBERS_SYNCED, Reason.WAITING, told)


def _to_do(rows: Sequence[Flag], mended: Sequence[str]) -> Condition:
    parts = [f"{_rows_in_words(rows)} are to be removed"] if rows else []
    parts += [f"workspace {_short(workspace_id)} is to be set to ACTIVE" for workspace_id in mended]
    return is_false(_TYPE, Reason.WAITING, f"In the tenant's database, {' and '.join(parts)} by this run.")


def _at_rest(
    inspection: Inspection,
    hand_made: Sequence[InsertedWorkspace],
    left_pending: Sequence[FoundWorkspace],
    rows: Sequence[Flag],
) -> Condition:
    if inspection.reason in _UNREAD or inspection.vanished:
        return is_unknown(_TYPE, inspection.reason or Reason.DATABASE_VANISHED, inspection.message)
    if inspection.reason is Reason.NO_SCHEMA_YET:
        return is_true(_TYPE, inspection.reason, inspection.message)
    if rows:
        return is_false(
            _TYPE,
            Reason.ROWS_REPORTED,
            f"{_rows_in_words(rows)} are pending in the tenant's database. Set PROVISIONING_TENANT_DATABASES=repair to "
            "have them removed.",
        )
    if hand_made:
        return is_true(_TYPE, Reason.HAND_MADE_WORKSPACE, _hand_made_in_words(hand_made))
    if left_pending:
        named = ", ".join(_short(found.workspace_id) for found in left_pending[:_MOST_NAMED])
        return is_true(
            _TYPE,
            Reason.HAND_MADE_WORKSPACE,
            f"Workspace {named} in the tenant's database is whole but was left in PENDING_CREATION. Set "
            "PROVISIONING_MEND_HAND_MADE=true to have it set to ACTIVE.",
        )
    if inspection.reason is not None:
        return is_unknown(_TYPE, inspection.reason, inspection.message)
    return is_true(
        _TYPE, Reason.NOTHING_PENDING, "No onboarding row of our people is pending in the tenant's database."
    )


def _rows_in_words(rows: Sequence[Flag]) -> str:
    return f"{len(rows)} onboarding rows ({first_few(sorted({flag.key for flag in rows}), _MOST_NAMED)})"


def _short(workspace_id: str) -> str:
    return workspace_id if _UUID.fullmatch(workspace_id) else repr(workspace_id[:_LONGEST_ID])


def _hand_made_in_words(hand_made: Sequence[InsertedWorkspace]) -> str:
    named = [
        # the id is a text of its owner's, who may write a sentence there
        f"workspace {found.display_name!r} ({_short(found.workspace_id)}) has {', '.join(found.failed_checks)}"
        for found in hand_made
    ]
    told = first_few(named, _MOST_NAMED, by="; ", more="; and ")
    return (
        f"In the tenant's database, {told}: inserted by SQL, and no one can open it. The tenant's proper workspace "
        "is made in Twenty; the old rows are left as they are."
    )
