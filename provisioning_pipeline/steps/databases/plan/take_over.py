"""Which members of workspaces inserted by SQL come over: their rows are the word of the database's owner."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from provisioning_pipeline.model.approval import name_for_approval
from provisioning_pipeline.model.names import first_few
from provisioning_pipeline.model.tenant_database import FoundMember, FoundWorkspace

MOST_CONSIDERED: Final = 500
"""People of one tenant database who are looked at in one run, and asked for at Clerk."""
_MOST_NAMED: Final = 3
_ADDRESS: Final = re.compile(
    r"(?=.{3,254}\Z)(?=[^@]{1,64}@)[a-z0-9_%+'-]+(\.[a-z0-9_%+'-]+)*@([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}"
)
"""Plain addresses, which Twenty takes (2.21.0 refuses others with `email must be an email`)."""
PUBLIC_DOMAINS: Final = frozenset(
    {
        *("gmail.com", "googlemail.com", "outlook.com", "hotmail.com", "live.com", "msn.com", "yahoo.com", "ymail.com"),
        *("icloud.com", "me.com", "mac.com", "aol.com", "proton.me", "protonmail.com", "pm.me", "tutanota.com"),
        *("gmx.com", "gmx.net", "gmx.de", "web.de", "mail.com", "zoho.com", "fastmail.com", "hey.com", "yandex.com"),
        *("yandex.ru", "mail.ru", "qq.com", "163.com", "126.com", "orange.fr", "free.fr", "t-online.de", "libero.it"),
    }
)
"""Providers where anyone may have a mailbox: one person's address there says nothing about another's."""


@dataclass(frozen=True, slots=True)
class TakeOverPolicy:
    """What the operator decided about people that only a tenant database names.

    Args:
        domains: in lower case; addresses there may come over into any tenant.
        managers: roles of PostgreSQL that are the tenant manager's; from a database of another role no one comes over.
        per_tenant: people who may come over into one tenant by themselves, over all time.
        most: people that one run takes over by itself.
        approved: those beyond it that an operator approved by name, or None.
    """

    wanted: bool = True
    domains: frozenset[str] = frozenset()
    managers: frozenset[str] = frozenset()
    per_tenant: int = 10
    most: int = 50
    approved: str | None = None


@dataclass(frozen=True, slots=True)
class Candidates:
    """The people that one tenant database offers.

    Args:
        people: members of its workspaces inserted by SQL that Clerk does not know and who are not inside.
        owners: roles that own the database or what was read of it, superusers left out.
        domains: in lower case; those that the tenant is known by.
        before: how many came over into this tenant so far.
    """

    people: Sequence[FoundMember]
    owners: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    before: int = 0


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Who comes over into one tenant.

    Args:
        told: who stays out and why, as sentences; empty when all come.
    """

    people: tuple[FoundMember, ...] = ()
    waits: bool = False
    told: str = ""


@dataclass(frozen=True, slots=True)
class TakeOvers:
    """Who comes over in one run.

    Args:
        waiting: name of what waits for approval, or None.
        approved: those beyond the budget are in it, because an operator approved them by name.
    """

    by_database: Mapping[str, TakeOver] = field(default_factory=dict)
    waiting: str | None = None
    people: int = 0
    approved: bool = False

    @property
    def named(self) -> list[str]:
        """Some of the databases whose people wait, for a sentence."""
        names = sorted(name for name, found in self.by_database.items() if found.waits)
        more = len(names) - _MOST_NAMED
        return [*names[:_MOST_NAMED], *([f"{more} more"] if more > 0 else [])]


def known_domains(emails: Iterable[str]) -> frozenset[str]:
    """The domains of these addresses, in lower case, without those where anyone may have a mailbox."""
    found = {email.lower().rpartition("@")[2] for email in emails if _ADDRESS.fullmatch(email.lower())}
    return frozenset(found - PUBLIC_DOMAINS)


def take_over(offered: Mapping[str, Candidates], policy: TakeOverPolicy) -> TakeOvers:
    """Weigh what all tenant databases offer: first whose word counts and which addresses, then the budget."""
    if not policy.wanted:
        return TakeOvers()
    sifted = {name: _sift(candidates, policy) for name, candidates in offered.items()}
    total = sum(len(people) for people, _ in sifted.values())
    over = {
        name: people
        for name, (people, _) in sifted.items()
        if people and (total > policy.most or len(people) + offered[name].before > policy.per_tenant)
    }
    lines = sorted(f"{name} {member.email}" for name, members in over.items() for member in members)
    waiting = name_for_approval(["people of hand-made workspaces", *lines])
    held = over if over and waiting != policy.approved else {}
    return TakeOvers(
        {
            name: TakeOver(
                () if name in held else people,
                name in held,
                " ".join([*told, *([_held_back(people, policy, waiting)] if name in held else [])]),
            )
            for name, (people, told) in sifted.items()
        },
        waiting if held else None,
        sum(map(len, held.values())),
        approved=bool(over) and not held,
    )


def _sift(candidates: Candidates, policy: TakeOverPolicy) -> tuple[tuple[FoundMember, ...], list[str]]:
    """Who may come over as far as this database alone says, and who may not and why."""
    strangers = candidates.owners - policy.managers
    if candidates.people and strangers:
        return (), [
            f"{_named(candidates.people)} of it are not taken over: the database, or tables in it, belong to "
            f"{', '.join(sorted(strangers))} and not to the tenant manager. Add them at Clerk, or name that role in "
            "PROVISIONING_TENANT_MANAGER_ROLES.",
        ]
    allowed = candidates.domains | policy.domains
    people, malformed, elsewhere = [], [], []
    for member in candidates.people[:MOST_CONSIDERED]:
        if not _ADDRESS.fullmatch(member.email):
            malformed.append(member)
        elif member.email.rpartition("@")[2] in allowed:
            people.append(member)
        else:
            elsewhere.append(member)
    told = []
    if malformed:
        told.append(f"{_named(malformed)} of it are not taken over: they are no addresses that Twenty takes.")
    if elsewhere:
        told.append(
            f"{_named(elsewhere)} of it are not taken over: the tenant is not known by the domains of these addresses. "
            "Add them at Clerk, or name the domains in PROVISIONING_TAKE_OVER_DOMAINS.",
        )
    beyond = len(candidates.people) - MOST_CONSIDERED
    if beyond > 0:
        told.append(f"{beyond} more people of it were not looked at.")
    return tuple(people), told


def _held_back(people: Sequence[FoundMember], policy: TakeOverPolicy, name: str) -> str:
    return (
        f"{_named(people)} of it wait, because more than {policy.per_tenant} people of this tenant, or more than "
        f"{policy.most} in one run, would come over. Look at `provisioning plan`, then run `provisioning apply "
        f"--approve {name}`."
    )


def _named(people: Sequence[FoundMember]) -> str:
    return first_few([member.email for member in people], _MOST_NAMED)


class Check(StrEnum):
    """What every workspace has that Twenty itself made, in words for what is missing."""

    OBJECT_METADATA = "no object metadata"
    SCHEMA = "no schema of its own"
    ROLES = "roles of another workspace"
    MEMBER_RECORDS = "people without a member record"


def failed_checks(workspace: FoundWorkspace) -> tuple[Check, ...]:
    """What is missing in this workspace; empty when Twenty could have made it."""
    holds = {
        Check.OBJECT_METADATA: workspace.has_metadata,
        Check.SCHEMA: workspace.has_schema,
        Check.ROLES: workspace.has_own_roles,
        Check.MEMBER_RECORDS: all(member.has_record for member in workspace.members),
    }
    return tuple(check for check in Check if not holds[check])


def members_to_take_over(
    workspaces: Sequence[FoundWorkspace], at_clerk: Collection[str], inside: Collection[str]
) -> tuple[FoundMember, ...]:
    """Members of workspaces inserted by SQL that Clerk does not know and who are not inside yet, each e-mail once.

    A person that Clerk knows is a member by Clerk's word or not at all: after leaving there, old rows must not bring
    them back. `at_clerk` and `inside` are e-mails in lower case.
    """
    found: dict[str, FoundMember] = {}
    for workspace in workspaces:
        if failed_checks(workspace):
            for member in workspace.members:
                if "@" in member.email and member.email not in at_clerk and member.email not in inside:
                    found.setdefault(member.email, member)
    return tuple(found.values())
