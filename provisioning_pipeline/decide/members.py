"""Who is to be a member of which workspace, with which name and role: outer joins over frames.

A Clerk user is a Twenty account by stored link, else by verified primary e-mail. What cannot be told for certain is a
finding with a reason, never a guess. Only people whom we linked ourselves can lose their membership.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import pandas as pd

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.frames import Columns, records
from provisioning_pipeline.model.people import ADMIN_ROLE, Departure
from provisioning_pipeline.model.tenant import Change, Finding, MemberPlan

WORKPLACES: Final[Columns] = {
    "database_name": "object",
    "organization_id": "object",
    "server": "object",
    "workspace_id": "object",  # None while it is not made yet
}
"""The tenants whose organization was read, each with its workspace."""


@dataclass(frozen=True)
class MemberPolicy:
    """What the operator decided about members.

    Args:
        roles: Clerk role → label of the role in Twenty.
        default_role: label for every other Clerk role.
        gone: what happens to a linked person who is no longer an active member at Clerk.
        store_external_id: keep the Twenty user id at Clerk.
    """

    roles: Mapping[str, str]
    default_role: str
    gone: Literal["report", "demote", "remove"] = "report"
    store_external_id: bool = False


@dataclass(frozen=True)
class People:
    """Everything that is known about members; the frames are those of `model.frames`.

    Args:
        workplaces: frame with the columns of `WORKPLACES`.
        memberships, clerk_users: Clerk's side.
        twenty_users, twenty_members: Twenty's side.
        user_links, member_links: ours.
        service_users: server → user ids of our account there; they are never touched.
        complete: Clerk's answer is proved whole; otherwise nobody is missed.
        departures: (organization, Clerk user) → what a direct look at that person confirmed.
    """

    workplaces: pd.DataFrame
    memberships: pd.DataFrame
    clerk_users: pd.DataFrame
    twenty_users: pd.DataFrame
    twenty_members: pd.DataFrame
    user_links: pd.DataFrame
    member_links: pd.DataFrame
    service_users: Mapping[str, tuple[str, ...]]
    complete: bool = True
    departures: Mapping[tuple[str, str], Departure] | None = None


@dataclass(frozen=True, slots=True)
class MemberDecision:
    """What is to be done for the members of one tenant.

    Args:
        members: people with at least one change, by Clerk user id.
        findings: what needs a person.
        replace_admin: Twenty user ids that can no longer stand for the tenant's admin.
    """

    members: tuple[MemberPlan, ...] = ()
    findings: tuple[Finding, ...] = ()
    replace_admin: frozenset[str] = frozenset()


NOTHING: Final = MemberDecision()


def missing_at_clerk(people: People) -> list[tuple[str, str]]:
    """(organization, Clerk user) of every linked person whom Clerk's answer does not name as an active member.

    Each needs a second witness before anything is made of it. Empty when the answer is not proved whole.
    """
    if not people.complete:
        return []
    linked = people.member_links.merge(_workplaces(people), on="database_name")
    gone = _without_active(linked, people)
    return sorted({*_pairs(gone), *_pairs(_owners_in_the_way(people))})


def decide_members(people: People, policy: MemberPolicy) -> dict[str, MemberDecision]:
    """Database name → decision, for tenants in which anything is to be done or told. Nobody is in two changes' way."""
    desired = _desired(people, policy)
    gone = _gone(people, desired)
    builders: dict[str, _Builder] = {}
    for row in records(desired[_needs_a_look(desired, policy)]):
        _decide_one(builders.setdefault(row["database_name"], _Builder()), row, policy)
    for row in records(gone):
        _decide_gone(builders.setdefault(row["database_name"], _Builder()), row, policy)
    _keep_an_admin(builders, desired)
    return {name: builder.decision() for name, builder in builders.items()}


# --- joins --------------------------------------------------------------------------------------------------------


def _pairs(rows: pd.DataFrame) -> Iterator[tuple[str, str]]:
    return zip(rows["organization_id"], rows["clerk_user_id"], strict=True)


def _workplaces(people: People) -> pd.DataFrame:
    return people.workplaces.drop_duplicates("database_name")


def _owners_in_the_way(people: People) -> pd.DataFrame:
    """Linked people unknown to Clerk's answer whose account a member has by e-mail.

    Somebody who was deleted and signed up again would otherwise never get their account back once they had been
    taken out of the workspace: nobody asks about people who are in none.
    """
    unknown = people.user_links[~people.user_links["clerk_user_id"].isin(people.clerk_users["user_id"])]
    if unknown.empty:
        return pd.DataFrame({"organization_id": [], "clerk_user_id": []}, dtype=object)
    accounts = people.twenty_users.rename(columns={"user_id": "twenty_user_id"})
    owned = unknown.merge(accounts, on=["server", "twenty_user_id"])
    claimed = owned.merge(people.clerk_users[people.clerk_users["email"].notna()][["email", "user_id"]], on="email")
    places = people.memberships[["organization_id", "user_id"]].merge(_workplaces(people), on="organization_id")
    asked = claimed.merge(places, on=["server", "user_id"])
    # one organization is enough to ask in
    return asked.sort_values(["clerk_user_id", "organization_id"]).drop_duplicates("clerk_user_id")


def _desired(people: People, policy: MemberPolicy) -> pd.DataFrame:
    """One row per active Clerk member of a tenant, with everything that Twenty and the ledger know of them."""
    rows = people.memberships.rename(columns={"user_id": "clerk_user_id", "role": "clerk_role"}).drop_duplicates(
        ["organization_id", "clerk_user_id"]
    )
    rows = rows.drop(columns=["created_at"]).merge(_workplaces(people), on="organization_id")
    users = people.clerk_users.rename(columns={"user_id": "clerk_user_id"}).drop_duplicates("clerk_user_id")
    rows = rows.merge(users, on="clerk_user_id")
    rows = rows[~rows["banned"].astype(bool)]
    rows = rows.assign(target=rows["clerk_role"].map(policy.roles).fillna(policy.default_role))
    rows = _with_account(rows, people)
    members = people.twenty_members.rename(columns={"user_id": "account", "role": "current_role"})
    members = members.drop_duplicates(["server", "workspace_id", "account"]).assign(inside=True)
    rows = rows.merge(members, on=["server", "workspace_id", "account"], how="left")
    links = people.member_links.drop_duplicates(["database_name", "clerk_user_id"]).rename(
        columns={
            "twenty_user_id": "linked_account",
            "first_name": "linked_first_name",
            "last_name": "linked_last_name",
            "email": "linked_email",
            "created_at": "linked_at",
        }
    )
    return rows.merge(links, on=["database_name", "clerk_user_id"], how="left")


def _with_account(rows: pd.DataFrame, people: People) -> pd.DataFrame:
    """Add `account` and `account_email`, and what tells of trouble.

    That is `candidates`: how many accounts have the e-mail; `contested`: somebody else claims the account, too;
    `is_service`: it is ours.
    """
    accounts = people.twenty_users.rename(columns={"user_id": "account", "email": "account_email"})
    accounts = accounts.drop_duplicates(["server", "account"])
    links = people.user_links.rename(columns={"twenty_user_id": "account"})
    links = links.drop_duplicates(["server", "clerk_user_id"])
    # a link to an account that Twenty no longer has is no link
    stored = links.merge(accounts, on=["server", "account"])
    rows = rows.merge(
        stored.rename(columns={"account": "stored_account", "account_email": "stored_email"}),
        on=["server", "clerk_user_id"],
        how="left",
    )
    rows = rows.merge(_candidates(accounts, stored), on=["server", "email"], how="left")
    by_link = rows["stored_account"].notna()
    account = rows["stored_account"].where(by_link, rows["found_account"])
    rows = rows.assign(
        by_link=by_link,
        account=account.astype(object),
        account_email=rows["stored_email"].where(by_link, rows["email"]),
        candidates=rows["candidates"].fillna(0),
    )
    gone = {user for (_, user), departure in (people.departures or {}).items() if departure.kind == "deleted"}
    rival = rows["owner"].notna() & (rows["owner"] != rows["clerk_user_id"]) & ~rows["owner"].isin(gone)
    # the same person in several organizations claims an account once
    persons = rows.drop_duplicates(["server", "clerk_user_id"])
    contested = (rival | _among(rows["server"], rows["email"], _of_several(persons, "email"))) & ~by_link
    return rows.assign(
        contested=contested | _among(rows["server"], rows["account"], _of_several(persons, "account")),
        is_service=_is_service(rows["server"], rows["account"], people),
    )


def _candidates(accounts: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """Per server and `email`: how many `candidates`, and if it is one, `found_account` and the `owner` by our link."""
    accounts = accounts.rename(columns={"account_email": "email"})
    several = accounts.duplicated(["server", "email"], keep=False)
    # grouping everything would cost more than all the joins
    counts = accounts[several].groupby(["server", "email"]).size().rename("candidates").reset_index()
    one = accounts[~several].merge(
        stored.rename(columns={"clerk_user_id": "owner"})[["server", "account", "owner"]],
        on=["server", "account"],
        how="left",
    )
    one = one.rename(columns={"account": "found_account"}).assign(candidates=1)
    return pd.concat([one, counts.astype({"server": object, "email": object})], ignore_index=True)


def _of_several(persons: pd.DataFrame, key: str) -> set[tuple[str, str]]:
    """(server, account or e-mail) that more than one person has."""
    known = persons[persons[key].notna()]
    shared = known[known.duplicated(["server", key])]
    return set(zip(shared["server"], shared[key], strict=True))


def _is_service(servers: "pd.Series[str]", accounts: "pd.Series[str]", people: People) -> "pd.Series[bool]":
    ours = {(server, user) for server, users in people.service_users.items() for user in users}
    return _among(servers, accounts, ours)


def _among(servers: "pd.Series[str]", values: "pd.Series[str]", wanted: set[tuple[str, str]]) -> "pd.Series[bool]":
    """Which pairs are among the few wanted ones."""
    likely = values.isin([value for _, value in wanted])
    rows = zip(values.index[likely], servers[likely], values[likely], strict=True)
    found = [row for row, server, value in rows if (server, value) in wanted]
    return pd.Series(values.index.isin(found), index=values.index)


def _without_active(linked: pd.DataFrame, people: People) -> pd.DataFrame:
    """Those linked rows that Clerk's answer does not name as active members."""
    banned = people.clerk_users[people.clerk_users["banned"].astype(bool)]["user_id"]
    active = people.memberships[~people.memberships["user_id"].isin(banned)]
    active = active[["organization_id", "user_id"]].rename(columns={"user_id": "clerk_user_id"}).drop_duplicates()
    found = linked.merge(active, on=["organization_id", "clerk_user_id"], how="left", indicator="seen")
    return found[found["seen"] == "left_only"].drop(columns="seen")


def _gone(people: People, desired: pd.DataFrame) -> pd.DataFrame:
    """Linked people of whom a second witness confirmed that they are no longer active members."""
    if not people.complete or not people.departures:
        return people.member_links.iloc[:0]
    links = people.member_links.drop_duplicates(["database_name", "clerk_user_id"])
    gone = _without_active(links.merge(_workplaces(people), on="database_name"), people)
    confirmed = [people.departures.get(key) for key in _pairs(gone)]
    gone = gone.assign(
        why=pd.Series([found.why if found else None for found in confirmed], index=gone.index, dtype=object),
        changed_at=pd.Series([found.changed_at if found else None for found in confirmed], gone.index, dtype=object),
    )
    gone = gone[gone["why"].notna()]
    members = people.twenty_members.rename(columns={"user_id": "twenty_user_id", "role": "current_role"})
    members = members.drop_duplicates(["server", "workspace_id", "twenty_user_id"]).assign(inside=True)
    gone = gone.merge(members, on=["server", "workspace_id", "twenty_user_id"], how="left")
    accounts = people.twenty_users.rename(columns={"user_id": "twenty_user_id", "email": "account_email"})
    accounts = accounts.drop_duplicates(["server", "twenty_user_id"])
    gone = gone.merge(accounts, on=["server", "twenty_user_id"], how="left")
    # the same account may be another active person's now, after a deletion and a new sign-up at Clerk
    taken = desired[["database_name", "account"]].dropna().drop_duplicates().assign(taken=True)
    gone = gone.merge(
        taken.rename(columns={"account": "twenty_user_id"}), on=["database_name", "twenty_user_id"], how="left"
    )
    return gone[~_is_service(gone["server"], gone["twenty_user_id"], people)]


def _needs_a_look(rows: pd.DataFrame, policy: MemberPolicy) -> "pd.Series[bool]":
    """Rows in which not everything is as it should be; the rest is never made into objects."""
    named = (rows["first_name"] != "") | (rows["last_name"] != "")
    renamed = (rows["first_name"] != rows["linked_first_name"]) | (rows["last_name"] != rows["linked_last_name"])
    found = (
        rows["inside"].isna()
        | rows["linked_account"].isna()
        | (rows["linked_account"] != rows["account"])
        | ~rows["by_link"]
        | (named & renamed)
        | (rows["current_role"] != rows["target"])
        | (rows["email"].notna() & (rows["account_email"] != rows["email"]))
        | rows["contested"]
        | rows["is_service"]
    )
    if policy.store_external_id:
        found |= rows["external_id"] != rows["account"]
    return found


# --- one person ---------------------------------------------------------------------------------------------------


@dataclass
class _Builder:
    members: dict[str, MemberPlan]
    findings: list[Finding]
    replace_admin: set[str]
    harmed_admins: dict[str, tuple[int, str, str]]
    """Account → (linked at, e-mail, Clerk user) of admins who would lose their role."""
    doubtful: set[str]
    """Accounts and e-mails of active people of whom nobody can say which account is theirs."""

    def __init__(self) -> None:
        self.members = {}
        self.findings = []
        self.replace_admin = set()
        self.harmed_admins = {}
        self.doubtful = set()

    def find(self, reason: Reason, person: str, message: str) -> None:
        self.findings.append(Finding(reason, person, message))

    def decision(self) -> MemberDecision:
        order = list(Reason)
        return MemberDecision(
            tuple(self.members[user] for user in sorted(self.members)),
            tuple(sorted(self.findings, key=lambda found: (order.index(found.reason), found.person, found.message))),
            frozenset(self.replace_admin),
        )


def _decide_one(builder: _Builder, row: Mapping[str, Any], policy: MemberPolicy) -> None:
    clerk_user, email, account = row["clerk_user_id"], row["email"], row["account"]
    trouble = _account_trouble(row)
    if trouble:
        builder.findings.append(trouble)
        builder.doubtful |= {email, account} - {None}
        return
    if row["by_link"] and email and row["account_email"] != email:
        builder.find(
            Reason.EMAIL_CHANGED,
            email,
            f"Clerk now has {email} for the person whose Twenty account is {row['account_email']}. They stay linked; "
            "change the e-mail of the account in Twenty, or undo it at Clerk.",
        )
    inside = bool(row["inside"])
    changes = [
        *_joining(row, inside=inside),
        *_naming(row),
        *([_role_change(row)] if inside and row["current_role"] != row["target"] else []),
        *([Change.STORE_AT_CLERK] if policy.store_external_id and not row["external_id"] else []),
    ]
    if policy.store_external_id and row["external_id"] and account and row["external_id"] != account:
        builder.find(
            Reason.EXTERNAL_ID_TAKEN,
            email or clerk_user,
            f"{email or clerk_user} already has external_id {row['external_id']} at Clerk; it is left as it is. Clear "
            "it there, or set PROVISIONING_CLERK_STORE_EXTERNAL_ID=false.",
        )
    if Change.DEMOTE_MEMBER in changes:
        builder.harmed_admins[account] = (row["linked_at"] or 0, row["account_email"], clerk_user)
        builder.replace_admin.add(account)
    if changes:
        builder.members[clerk_user] = MemberPlan(
            clerk_user_id=clerk_user,
            email=row["account_email"],
            first_name=row["first_name"],
            last_name=row["last_name"],
            role=row["target"],
            twenty_user_id=account,
            changes=tuple(changes),
            why=f"their role at Clerk is {row['clerk_role']}" if Change.DEMOTE_MEMBER in changes else "",
        )


def _account_trouble(row: Mapping[str, Any]) -> Finding | None:
    """Why nobody can say which account is theirs."""
    email, person = row["email"], row["email"] or row["clerk_user_id"]
    if row["is_service"]:
        return Finding(
            Reason.ACCOUNT_CLAIMED_TWICE,
            person,
            f"{person} is the e-mail of the service account, which is nobody's. Use an address of its own for it.",
        )
    if row["by_link"]:
        return _claimed_twice(person) if row["contested"] else None
    if not email:
        return Finding(
            Reason.EMAIL_UNVERIFIED,
            person,
            f"{person} has no verified primary e-mail at Clerk, so no account can be made or found for them. Have "
            "them verify it; the next run adds them.",
        )
    if row["candidates"] > 1:
        return Finding(
            Reason.ACCOUNT_AMBIGUOUS,
            person,
            f"{int(row['candidates'])} accounts at Twenty have the e-mail {email} in different spellings. Delete or "
            "rename all but one there; the next run links it.",
        )
    return _claimed_twice(person) if row["contested"] else None


def _claimed_twice(person: str) -> Finding:
    return Finding(
        Reason.ACCOUNT_CLAIMED_TWICE,
        person,
        f"Two people at Clerk claim the Twenty account of {person}. Merge or delete one of them at Clerk, or delete "
        "the wrong row of provisioning.user_link.",
    )


def _joining(row: Mapping[str, Any], *, inside: bool) -> Iterator[Change]:
    if not inside:
        yield Change.ADD_MEMBER
    if not row["by_link"] or row["linked_account"] != row["account"] or row["account"] is None:
        yield Change.LINK_MEMBER


def _naming(row: Mapping[str, Any]) -> Iterator[Change]:
    named = row["first_name"] or row["last_name"]
    if named and (row["first_name"], row["last_name"]) != (row["linked_first_name"], row["linked_last_name"]):
        yield Change.SET_NAME


def _role_change(row: Mapping[str, Any]) -> Change:
    return Change.DEMOTE_MEMBER if row["current_role"] == ADMIN_ROLE else Change.SET_ROLE


def _decide_gone(builder: _Builder, row: Mapping[str, Any], policy: MemberPolicy) -> None:
    account, email = row["twenty_user_id"], row["email"]
    if {account, row["account_email"]} & builder.doubtful:
        # it may be an active person's own account: what was told of them comes first
        return
    if not row["taken"]:
        builder.replace_admin.add(account)
    if row["taken"] or not row["inside"]:
        change = Change.DROP_LINK
    elif policy.gone == "remove":
        change = Change.REMOVE_MEMBER
    elif policy.gone == "demote":
        # without a role there is nothing to take away
        if row["current_role"] in (None, policy.default_role):
            return
        change = Change.DEMOTE_MEMBER
    else:
        builder.find(
            Reason.MEMBERS_GONE,
            email,
            f"{email} {row['why']} at Clerk but is still a member in Twenty. Remove them there, or set "
            "PROVISIONING_MEMBERS_GONE=remove.",
        )
        return
    if change in (Change.REMOVE_MEMBER, Change.DEMOTE_MEMBER) and row["current_role"] == ADMIN_ROLE:
        builder.harmed_admins[account] = (row["created_at"] or 0, email, row["clerk_user_id"])
    builder.members[row["clerk_user_id"]] = MemberPlan(
        clerk_user_id=row["clerk_user_id"],
        email=email,
        first_name=row["first_name"],
        last_name=row["last_name"],
        role=policy.default_role,
        twenty_user_id=account,
        changes=(change,),
        # an account that is somebody else's by now is not to be proved shut
        why="" if row["taken"] else f"{email} {row['why']} at Clerk",
        changed_at=row["changed_at"],
    )


# --- nobody is locked out -----------------------------------------------------------------------------------------


def _keep_an_admin(builders: Mapping[str, _Builder], desired: pd.DataFrame) -> None:
    """Where no active admin would be left, the one of longest standing keeps their role and is named.

    Only people count who are active at Clerk and Admin in Twenty at this moment: who is still to be added may fail.
    """
    names = [name for name, builder in builders.items() if builder.harmed_admins]
    if not names:
        return
    staying = desired[
        desired["database_name"].isin(names)
        & (desired["current_role"] == ADMIN_ROLE)
        & (desired["target"] == ADMIN_ROLE)
        & ~desired["is_service"]
    ]
    safe = set(staying["database_name"])
    for name in names:
        builder = builders[name]
        if name in safe:
            continue
        account, (_, email, clerk_user) = min(builder.harmed_admins.items(), key=lambda item: (item[1], item[0]))
        kept = builder.members.pop(clerk_user)
        left = tuple(change for change in kept.changes if change not in (Change.DEMOTE_MEMBER, Change.REMOVE_MEMBER))
        if left:
            builder.members[clerk_user] = replace(kept, role=ADMIN_ROLE, changes=left, why="")
        builder.replace_admin.discard(account)
        builder.find(
            Reason.LAST_ADMIN_KEPT,
            email,
            f"{email} keeps the role Admin, since no other active admin would be left ({kept.why}). Make somebody "
            "else admin at Clerk; the next run goes on.",
        )
