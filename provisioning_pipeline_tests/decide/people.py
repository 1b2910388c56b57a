"""Small worlds of members: rows to begin with, and what applying a decision makes of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from provisioning_pipeline.model import frames
from provisioning_pipeline.model.people import Departure
from provisioning_pipeline.model.tenant import MemberPlan
from provisioning_pipeline.steps.members.changes import (
    ADD_MEMBER,
    DEMOTE_MEMBER,
    DROP_LINK,
    LINK_MEMBER,
    REMOVE_MEMBER,
    SET_NAME,
    SET_ROLE,
    STORE_AT_CLERK,
)
from provisioning_pipeline.steps.members.plan.decisions import MemberDecision, MemberPolicy, decide_members
from provisioning_pipeline.steps.members.plan.people import WORKPLACES, People, missing_at_clerk

SERVICE_ACCOUNT = "svc"
ROLES = {"org:admin": "Admin", "org:sales": "Salesperson"}
NEW = (ADD_MEMBER, LINK_MEMBER, SET_NAME)
"""What is done for somebody whom nobody knows yet."""


def policy(**other: Any) -> MemberPolicy:
    """The mapping that the tests use."""
    return MemberPolicy(**({"roles": ROLES, "default_role": "Member"} | other))


class Town:
    """Tenants, people and accounts, one row after another. Each tenant has the service account as an Admin."""

    def __init__(self, *servers: str) -> None:
        self.servers = servers or ("eu",)
        self.workplaces: dict[str, tuple[str, str, str, str | None]] = {}
        self.memberships: list[tuple[str, str, str, int]] = []
        self.clerk_users: list[tuple[str, str | None, str, str, bool, str | None]] = []
        self.twenty_users: list[tuple[str, str, str]] = []
        self.twenty_members: list[tuple[str, str | None, str, str | None]] = []
        self.user_links: list[tuple[str, str, str]] = []
        self.member_links: list[tuple[str, str, str, str, str, str, int]] = []
        for server in self.servers:
            self.account(SERVICE_ACCOUNT, "service@ours.test", server)

    def tenant(self, name: str, server: str = "eu", *, made: bool = True) -> None:
        """A tenant whose organization was read."""
        self.workplaces[name] = (name, f"org_{name}", server, f"ws-{name}" if made else None)
        if made:
            self.inside(SERVICE_ACCOUNT, name, "Admin")

    def person(
        self,
        user: str,
        email: str | None = "",
        *,
        first: str = "Ada",
        last: str = "L",
        banned: bool = False,
        external_id: str | None = None,
    ) -> None:
        """Somebody at Clerk; without a word about it, their e-mail is verified and named like them."""
        self.clerk_users.append((user, f"{user}@x.test" if email == "" else email, first, last, banned, external_id))

    def belongs(self, user: str, tenant: str, role: str = "org:member") -> None:
        """They are a member of the tenant's organization."""
        self.memberships.append((f"org_{tenant}", user, role, len(self.memberships)))

    def account(self, account: str, email: str, server: str = "eu") -> None:
        """An account at Twenty."""
        self.twenty_users.append((server, account, email))

    def inside(self, account: str, tenant: str, role: str | None = "Member") -> None:
        """The account belongs to the tenant's workspace."""
        _, _, server, workspace = self.workplaces[tenant]
        self.twenty_members.append((server, workspace, account, role))

    def is_account(self, user: str, account: str, server: str = "eu") -> None:
        """Our own row: that Clerk user is that account."""
        self.user_links.append((server, user, account))

    def linked(
        self, user: str, tenant: str, account: str, *, first: str = "Ada", last: str = "L", email: str = "", at: int = 0
    ) -> None:
        """Our own row: that Clerk user is a member of the tenant."""
        self.member_links.append((tenant, user, account, email or f"{user}@x.test", first, last, at))

    def at_rest(self, user: str, tenant: str, role: str = "org:member", *, at: int = 0) -> str:
        """Somebody about whom nothing is to be done; their account."""
        server = self.workplaces[tenant][2]
        account = f"acc-{user}"
        if user not in {row[0] for row in self.clerk_users}:
            self.person(user)
        if (server, user, account) not in self.user_links:
            self.account(account, f"{user}@x.test", server)
            self.is_account(user, account, server)
        self.belongs(user, tenant, role)
        self.inside(account, tenant, ROLES.get(role, "Member"))
        self.linked(user, tenant, account, at=at)
        return account

    def leaves(self, user: str, *, deleted: bool = False) -> None:
        """They are a member of nothing at Clerk any more, or not even there."""
        self.memberships = [row for row in self.memberships if row[1] != user]
        if deleted:
            self.clerk_users = [row for row in self.clerk_users if row[0] != user]

    def people(self, **other: Any) -> People:
        """As it was observed."""
        given: dict[str, Any] = {
            "workplaces": frames.frame(WORKPLACES, self.workplaces.values()),
            "memberships": frames.frame(frames.MEMBERSHIPS, self.memberships),
            "clerk_users": frames.frame(frames.CLERK_USERS, self.clerk_users),
            "twenty_users": frames.frame(frames.TWENTY_USERS, self.twenty_users),
            "twenty_members": frames.frame(frames.TWENTY_MEMBERS, self.twenty_members),
            "user_links": frames.frame(frames.USER_LINKS, self.user_links),
            "member_links": frames.frame(frames.MEMBER_LINKS, self.member_links),
            "service_users": dict.fromkeys(self.servers, (SERVICE_ACCOUNT,)),
        }
        return People(**(given | other))


def witnessed(people: People, fates: Mapping[str, str | None]) -> People:
    """With a direct look at everybody who is missing; `fates` says what it finds, None for: still there or unknown."""
    pairs = missing_at_clerk(people)
    kinds: dict[tuple[str, str], Any] = {pair: fates.get(pair[1]) for pair in pairs}
    return replace(people, departures={pair: Departure(kind, 1_000) for pair, kind in kinds.items() if kind})


def decided(town: Town, fates: dict[str, str | None] | None = None, **options: Any) -> dict[str, MemberDecision]:
    """What is decided; `fates` says what a direct look at somebody finds."""
    return decide_members(witnessed(town.people(), fates or {}), policy(**options))


def acme(town: Town, fates: dict[str, str | None] | None = None, **options: Any) -> MemberDecision:
    """What is decided for the one tenant."""
    return decided(town, fates, **options).get("acme", MemberDecision())


@dataclass
class _State:
    """What a run can change, by key."""

    workspaces: dict[str, str]
    servers: dict[str, str]
    accounts: dict[tuple[str, str], str]
    members: dict[tuple[str, str, str], str | None]
    user_links: dict[tuple[str, str], str]
    member_links: dict[tuple[str, str], tuple[Any, ...]]
    external: dict[str, str | None]


def applied(people: People, decisions: Mapping[str, MemberDecision]) -> People:
    """The world after a run did all of it, as the steps do it: people come first, then others go."""
    state = _state(people)
    for database, decision in sorted(decisions.items()):
        staying = [member for member in decision.members if not _LEAVING & set(member.changes)]
        for member in staying:
            _stay(state, database, member)
        for member in decision.members:
            if member not in staying:
                _leave(state, database, member)
    return _observed(people, state)


_LEAVING = frozenset({DROP_LINK, REMOVE_MEMBER})


def _state(people: People) -> _State:
    places = frames.records(people.workplaces)
    return _State(
        {row["database_name"]: row["workspace_id"] or f"made-{row['database_name']}" for row in places},
        {row["database_name"]: row["server"] for row in places},
        {(row["server"], row["user_id"]): row["email"] for row in frames.records(people.twenty_users)},
        {
            (row["server"], row["workspace_id"], row["user_id"]): row["role"]
            for row in frames.records(people.twenty_members)
        },
        {(row["server"], row["clerk_user_id"]): row["twenty_user_id"] for row in frames.records(people.user_links)},
        {
            (row["database_name"], row["clerk_user_id"]): tuple(row.values())[2:]
            for row in frames.records(people.member_links)
        },
        {row["user_id"]: row["external_id"] for row in frames.records(people.clerk_users)},
    )


def _stay(state: _State, database: str, member: MemberPlan) -> None:
    server, workspace = state.servers[database], state.workspaces[database]
    account = member.twenty_user_id or _account_of(state, server, member.email)
    place = (server, workspace, account)
    changes = set(member.changes)
    if ADD_MEMBER in changes and place not in state.members:
        state.accounts.setdefault((server, account), member.email)
        state.members[place] = member.role
    assert place in state.members, f"{member} is settled without being inside"
    lowering = state.members[place] == "Admin" != member.role
    if changes & {SET_ROLE, DEMOTE_MEMBER, ADD_MEMBER} and (not lowering or DEMOTE_MEMBER in changes):
        state.members[place] = member.role
    if changes & {ADD_MEMBER, LINK_MEMBER, SET_NAME}:
        # lowering somebody who is gone says nothing about whose account it is now
        _store(state, database, member, account)
    if STORE_AT_CLERK in changes:
        state.external[member.clerk_user_id] = account


def _account_of(state: _State, server: str, email: str) -> str:
    found = [account for (on, account), known in state.accounts.items() if (on, known) == (server, email)]
    assert len(found) < 2, f"{email} is ambiguous on {server}"
    return found[0] if found else f"new-{email}"


def _store(state: _State, database: str, member: MemberPlan, account: str) -> None:
    """Links of another Clerk user to the same account are replaced."""
    server, user = state.servers[database], member.clerk_user_id
    for link in [link for link, known in state.user_links.items() if link[0] == server and known == account]:
        del state.user_links[link]
    state.user_links[server, user] = account
    links = state.member_links
    for key in [key for key, known in links.items() if key[0] == database and key[1] != user and known[0] == account]:
        del links[key]
    created_at = links[database, user][-1] if (database, user) in links else 9_000
    email = state.accounts[server, account]
    links[database, user] = (account, email, member.first_name, member.last_name, created_at)


def _leave(state: _State, database: str, member: MemberPlan) -> None:
    if REMOVE_MEMBER in member.changes:
        del state.members[state.servers[database], state.workspaces[database], str(member.twenty_user_id)]
    # taking the same account over has dropped it already
    state.member_links.pop((database, member.clerk_user_id), None)


def _observed(people: People, state: _State) -> People:
    places = frames.records(people.workplaces)
    return replace(
        people,
        workplaces=frames.frame(
            WORKPLACES, [row | {"workspace_id": state.workspaces[row["database_name"]]} for row in places]
        ),
        clerk_users=people.clerk_users.assign(
            external_id=people.clerk_users["user_id"].map(state.external).astype(object)
        ),
        twenty_users=frames.frame(frames.TWENTY_USERS, [(*key, email) for key, email in state.accounts.items()]),
        twenty_members=frames.frame(frames.TWENTY_MEMBERS, [(*key, role) for key, role in state.members.items()]),
        user_links=frames.frame(frames.USER_LINKS, [(*key, account) for key, account in state.user_links.items()]),
        member_links=frames.frame(frames.MEMBER_LINKS, [(*key, *row) for key, row in state.member_links.items()]),
    )


def harmed(decisions: Mapping[str, MemberDecision]) -> set[tuple[str, str]]:
    """(tenant, Clerk user) of everybody who loses something."""
    harmful = {DEMOTE_MEMBER, REMOVE_MEMBER}
    return {
        (name, member.clerk_user_id)
        for name, decision in decisions.items()
        for member in decision.members
        if harmful & set(member.changes)
    }


def at_peace(decisions: Mapping[str, MemberDecision]) -> bool:
    """Whether nothing is to be done for anybody; there may be things to tell."""
    return not any(decision.members for decision in decisions.values())


def reasons(decision: MemberDecision) -> list[str]:
    """Why a person is needed."""
    return [str(finding.reason) for finding in decision.findings]


def plan_of(decision: MemberDecision, user: str) -> MemberPlan:
    """What is to be done for that person."""
    (found,) = (member for member in decision.members if member.clerk_user_id == user)
    return found


def changes_of(decisions: Mapping[str, MemberDecision], names: Iterable[str] = ()) -> dict[str, dict[str, list[str]]]:
    """Tenant → Clerk user → changes, for people to read in a failing test."""
    return {
        name: {member.clerk_user_id: [str(change) for change in member.changes] for member in decision.members}
        for name, decision in decisions.items()
        if not names or name in names
    }
