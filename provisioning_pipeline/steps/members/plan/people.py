"""What is known about members, joined: outer joins over frames, never a loop over tenants."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

import pandas as pd

from provisioning_pipeline.decide.ownership import AccountKey, KnownAccounts
from provisioning_pipeline.model.frames import (
    HALF_MEMBERS,
    INVITATIONS,
    MEMBER_LINKS,
    MEMBER_NAMES,
    USER_LINKS,
    Columns,
    frame,
    records,
)
from provisioning_pipeline.model.people import Departure

WORKPLACES: Final[Columns] = ("database_name", "organization_id", "server", "workspace_id")
"""The tenants whose organization was read, each with its workspace, which is None while it is not made yet."""


INVITATIONS_OF_TENANTS: Final[Columns] = ("database_name", *INVITATIONS, "ours")
"""The invitations that are still good, to the workspaces of those tenants; `ours`: a run of ours sent it."""


@dataclass(frozen=True)
class People:
    """Everything that is known about members; the frames are those of `model.frames`.

    Args:
        service_users: server → user ids of our account there; they are never touched.
        complete: Clerk's answer is proved whole; otherwise no one is missed.
        departures: (organization, Clerk user) → what a member check of that person confirmed.
        half_members: frame; whose member record is not as it should be.
        member_names: frame; what members are called in Twenty. Empty where that does not matter.
        accounts: what the accounts that matter prove about their addresses.
        invitations: frame with the columns of `INVITATIONS_OF_TENANTS`.
        raised_by_us: (database name, Clerk user) of Admins who hold that role only because our own join gave it.
        unlinked: (database name, Clerk user) of those in `member_links` that only an intent names (`with_intents`).
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
    half_members: pd.DataFrame = field(default_factory=lambda: frame(HALF_MEMBERS, []))
    member_names: pd.DataFrame = field(default_factory=lambda: frame(MEMBER_NAMES, []))
    accounts: KnownAccounts = field(default_factory=KnownAccounts)
    invitations: pd.DataFrame = field(default_factory=lambda: frame(INVITATIONS_OF_TENANTS, []))
    raised_by_us: frozenset[tuple[str, str]] = frozenset()
    unlinked: frozenset[tuple[str, str]] = frozenset()


def missing_at_clerk(people: People) -> list[tuple[str, str]]:
    """(organization, Clerk user) of every linked person that Clerk's answer does not name as an active member.

    Each needs a second witness before anything is made of it. Empty when the answer is not proved whole.
    """
    if not people.complete:
        return []
    linked = people.member_links.merge(_workplaces(people), on="database_name")
    gone = _without_active(linked, people)
    return sorted({*_pairs(gone), *_pairs(_owners_in_the_way(people))})


def desired_members(people: People) -> pd.DataFrame:
    """One row per active Clerk member of a tenant, with everything that Twenty and the ledger know of them.

    Columns to read: those of `WORKPLACES`; `clerk_user_id`, `clerk_role`, the others of `CLERK_USERS`; `account`,
    `account_email`, `by_link`, `candidates`, `owner`, `contested`, `is_service`, `shares_email`, `in_several`: whose
    account it is, and what is in doubt; `inside`, `current_role`, `record` in the workspace, the last where the record
    is not as it should be; `member_first_name`, `member_last_name` in Twenty, where that was read;
    `linked_account`, `linked_email`, `linked_first_name`, `linked_last_name`, `linked_at`. What is not known is
    missing.
    """
    rows = people.memberships.rename(columns={"user_id": "clerk_user_id", "role": "clerk_role"}).drop_duplicates(
        ["organization_id", "clerk_user_id"]
    )
    rows = rows.drop(columns=["created_at"]).merge(_workplaces(people), on="organization_id")
    users = people.clerk_users.rename(columns={"user_id": "clerk_user_id"}).drop_duplicates("clerk_user_id")
    rows = rows.merge(users, on="clerk_user_id")
    rows = rows[~rows["banned"].astype(bool)]
    rows = _with_account(rows, people)
    members = people.twenty_members.rename(columns={"user_id": "account", "role": "current_role"})
    members = members.drop_duplicates(["server", "workspace_id", "account"]).assign(inside=True)
    rows = rows.merge(members, on=["server", "workspace_id", "account"], how="left")
    half = people.half_members.rename(columns={"user_id": "account"})[["server", "workspace_id", "account", "record"]]
    rows = rows.merge(half, on=["server", "workspace_id", "account"], how="left")
    names = people.member_names.rename(
        columns={"user_id": "account", "first_name": "member_first_name", "last_name": "member_last_name"}
    )
    names = names.drop_duplicates(["server", "workspace_id", "account"])
    rows = rows.merge(names, on=["server", "workspace_id", "account"], how="left")
    links = _stored_links(people).drop_duplicates(["database_name", "clerk_user_id"])
    own = ("first_name", "last_name", "email")
    linked = {"twenty_user_id": "linked_account", "created_at": "linked_at", **{name: f"linked_{name}" for name in own}}
    return rows.merge(links.rename(columns=linked), on=["database_name", "clerk_user_id"], how="left")


def accounts_of(rows: pd.DataFrame) -> set[AccountKey]:
    """(server, account) of the members in these rows of `desired_members` who have an account."""
    known = rows[rows["account"].notna()]
    return set(zip(known["server"], known["account"], strict=True))


def has_address(rows: pd.DataFrame, emails: set[str]) -> "pd.Series[bool]":
    """Which rows of `desired_members` are about members who have one of these addresses, at Clerk or at Twenty."""
    return rows["email"].isin(emails) | rows["account_email"].isin(emails)


def with_account_among(rows: pd.DataFrame, accounts: set[AccountKey]) -> "pd.Series[bool]":
    """Which rows of `desired_members` are about one of these accounts."""
    return _among(rows["server"], rows["account"], accounts)


def gone_members(people: People, desired: pd.DataFrame) -> pd.DataFrame:
    """Linked people that are no longer active members, as a second witness confirmed.

    Columns to read: those of `MEMBER_LINKS` and `WORKPLACES`; `why`, `changed_at`, from the second witness; `inside`,
    `current_role` and `account_email` at Twenty; `taken`: the account is another active person's by now. Without
    anybody confirmed, those of `MEMBER_LINKS` alone and no row.
    """
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


# --- joins that they share ----------------------------------------------------------------------------------------


def _stored_links(people: People) -> pd.DataFrame:
    """Member links without those that only an intent tells of: these people are still to be linked."""
    return _without(people.member_links, ("database_name", "clerk_user_id"), people.unlinked)


def _without(rows: pd.DataFrame, columns: tuple[str, str], keys: Collection[tuple[str, str]]) -> pd.DataFrame:
    """The rows of which these two columns hold none of the keys."""
    if not keys:
        return rows
    pairs = pd.Series(list(zip(*(rows[column] for column in columns), strict=True)), index=rows.index)
    return rows[~pairs.isin(list(keys))]


def _workplaces(people: People) -> pd.DataFrame:
    return people.workplaces.drop_duplicates("database_name")


def _pairs(rows: pd.DataFrame) -> Iterator[tuple[str, str]]:
    return zip(rows["organization_id"], rows["clerk_user_id"], strict=True)


def _with_account(rows: pd.DataFrame, people: People) -> pd.DataFrame:
    """Add `account` and `account_email`, and what tells of trouble.

    That is `candidates`: how many accounts have the e-mail; `contested`: another person claims the account, too;
    `is_service`: it is ours; `shares_email`: another person at Clerk has the same e-mail; `in_several`: they are a
    member of several tenants of that server; `owner`: the user to whom the account found by e-mail is linked.
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
        shares_email=_among(rows["server"], rows["email"], _of_several(persons, "email")),
        in_several=rows.duplicated(["server", "clerk_user_id"], keep=False),
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


def _owners_in_the_way(people: People) -> pd.DataFrame:
    """Linked people unknown to Clerk's answer whose account a member has by e-mail.

    A person who was deleted and signed up again would otherwise never get their account back after they were taken out
    of the workspace: we do not ask about people who are in none.
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


MemberKey = tuple[str, str]
"""(database name, Clerk user)."""
_SETTLES: Final = timedelta(hours=1)
"""A call whose answer was lost has had its effect by then, or never will."""


def with_intents(people: People, intents: pd.DataFrame) -> People:
    """The same, with a member link for everyone inside that an intent names.

    Args:
        intents: frame with the columns of `MEMBER_INTENTS`.
    """
    if intents.empty:
        return people
    places = {row["database_name"]: row for row in records(people.workplaces)}
    known = _Known(people, intents)
    links: dict[MemberKey, tuple[Any, ...]] = {}
    users: dict[tuple[str, str], tuple[str, str, str]] = {}
    # the youngest intent of an account counts
    for row in reversed(records(intents)):
        name, user = row["database_name"], row["clerk_user_id"]
        place = places.get(name)
        account = known.account_inside(row, place) if place else None
        if place is None or account is None or account in {link[2] for link in links.values() if link[0] == name}:
            continue
        email = known.emails[place["server"], account]
        links[name, user] = (name, user, account, email, "", "", int(row["begun_at"]))
        if known.is_free(place["server"], user, account):
            users.setdefault((place["server"], account), (place["server"], user, account))
    if not links:
        return people
    stored = _without(people.member_links, ("database_name", "clerk_user_id"), links.keys())
    # in place of links to accounts that are no more
    again = {(server, user) for server, user, _ in users.values()}
    users_before = _without(people.user_links, ("server", "clerk_user_id"), again)
    return replace(
        people,
        member_links=pd.concat([stored, frame(MEMBER_LINKS, links.values())], ignore_index=True),
        user_links=pd.concat([users_before, frame(USER_LINKS, users.values())], ignore_index=True),
        unlinked=frozenset(links),
    )


def given_up(intents: pd.DataFrame, people: People, now: datetime) -> tuple[MemberKey, ...]:
    """The intents that never came to anything: the person did not get in, and no open invitation of ours lets them in.

    Args:
        intents: frame with the columns of `MEMBER_INTENTS`.
        people: what `with_intents` made of it.
        now: by the clock of the ledger's database.
    """
    if intents.empty:
        return ()
    read = set(people.workplaces["database_name"])
    invited = set(zip(people.invitations["database_name"], people.invitations["email"], strict=True))
    before = (now - _SETTLES).timestamp() * 1000
    return tuple(
        (row["database_name"], row["clerk_user_id"])
        for row in records(intents)
        if row["database_name"] in read
        and row["begun_at"] < before
        and (row["database_name"], row["clerk_user_id"]) not in people.unlinked
        and (row["database_name"], row["email"]) not in invited
    )


class _Known:
    """The accounts and memberships that intents are about."""

    def __init__(self, people: People, intents: pd.DataFrame) -> None:
        accounts = people.twenty_users
        concerned = accounts["email"].isin(set(intents["email"])) | accounts["user_id"].isin(
            set(intents["twenty_user_id"].dropna())
        )
        self.emails: dict[tuple[str, str], str] = {}
        self._by_email: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for row in records(accounts[concerned]):
            self.emails[row["server"], row["user_id"]] = row["email"]
            self._by_email[row["server"], row["email"]].append(row["user_id"])
        members = people.twenty_members
        inside = members[members["user_id"].isin({account for _, account in self.emails})]
        self._inside = set(zip(inside["server"], inside["workspace_id"], inside["user_id"], strict=True))
        users, links = set(intents["clerk_user_id"]), people.user_links
        near = links[
            links["clerk_user_id"].isin(users) | links["twenty_user_id"].isin({account for _, account in self.emails})
        ]
        living = accounts[accounts["user_id"].isin(set(near["twenty_user_id"]))]
        alive = set(zip(living["server"], living["user_id"], strict=True))
        theirs = [row for row in records(near) if (row["server"], row["twenty_user_id"]) in alive]
        self._account_of = {(row["server"], row["clerk_user_id"]): row["twenty_user_id"] for row in theirs}
        self._owned = {(row["server"], row["twenty_user_id"]) for row in theirs}
        stored = people.member_links[people.member_links["database_name"].isin(set(intents["database_name"]))]
        self._linked = {(row["database_name"], row["clerk_user_id"]): row["twenty_user_id"] for row in records(stored)}
        self._linked_to = {(name, account): user for (name, user), account in self._linked.items()}
        self._service = {(server, user) for server, ours in people.service_users.items() for user in ours}

    def account_inside(self, intent: Mapping[str, Any], place: Mapping[str, Any]) -> str | None:
        """The one account that the intent is about, if it is inside and nothing stored says otherwise."""
        server, workspace, user = place["server"], place["workspace_id"], intent["clerk_user_id"]
        named = intent["twenty_user_id"]
        accounts = [named] if named else self._by_email[server, intent["email"]]
        inside = [account for account in accounts if (server, workspace, account) in self._inside]
        if len(inside) != 1 or (server, inside[0]) in self._service:
            return None
        (account,) = inside
        name = intent["database_name"]
        if (
            self._linked_to.get((name, account), user) != user
            or self._account_of.get((server, user), account) != account
        ):
            return None
        # a link that stands says it all
        return None if self._linked.get((name, user)) == account else account

    def is_free(self, server: str, user: str, account: str) -> bool:
        """Whether neither of them is in a stored link."""
        return (server, user) not in self._account_of and (server, account) not in self._owned
