"""Who got into a workspace by a run that was killed before it linked them: they count as linked, so they can be missed.

A run writes down whom it is about to let in; linking them settles that. What is left of it is either somebody who is
inside, or a join that never was.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import pandas as pd

from provisioning_pipeline.model.frames import MEMBER_LINKS, USER_LINKS, frame, records
from provisioning_pipeline.steps.members.plan.people import People

MemberKey = tuple[str, str]
"""(database name, Clerk user)."""
_SETTLES: Final = timedelta(hours=1)
"""A call whose answer was lost has had its effect by then, or never will."""


def with_intents(people: People, intents: pd.DataFrame) -> People:
    """The same, with a member link for everybody whom an intent names and who is inside.

    Args:
        people: everything that is known.
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
        links[name, user] = (name, user, account, known.email(place["server"], account), "", "", int(row["begun_at"]))
        if known.is_free(place["server"], user, account):
            users.setdefault((place["server"], account), (place["server"], user, account))
    if not links:
        return people
    stored = people.member_links
    keys = pd.Series(list(zip(stored["database_name"], stored["clerk_user_id"], strict=True)), index=stored.index)
    found = frame(MEMBER_LINKS, links.values())
    return replace(
        people,
        member_links=pd.concat([stored[~keys.isin(list(links))], found], ignore_index=True),
        user_links=_with_users(people.user_links, list(users.values())),
        unlinked=frozenset(links),
    )


def given_up(intents: pd.DataFrame, people: People, now: datetime) -> tuple[MemberKey, ...]:
    """The intents that never came to anything: nobody got in, and no open invitation of ours lets them in.

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


def _with_users(stored: pd.DataFrame, found: list[tuple[str, str, str]]) -> pd.DataFrame:
    """User links with those found by an intent, in place of links to accounts that are no more."""
    again = {(server, user) for server, user, _ in found}
    keys = pd.Series(list(zip(stored["server"], stored["clerk_user_id"], strict=True)), index=stored.index)
    return pd.concat([stored[~keys.isin(list(again))], frame(USER_LINKS, found)], ignore_index=True)


class _Known:
    """The accounts and memberships that intents are about."""

    def __init__(self, people: People, intents: pd.DataFrame) -> None:
        accounts = people.twenty_users
        concerned = accounts["email"].isin(set(intents["email"])) | accounts["user_id"].isin(
            set(intents["twenty_user_id"].dropna())
        )
        rows = records(accounts[concerned])
        self._emails = {(row["server"], row["user_id"]): row["email"] for row in rows}
        self._by_email: dict[tuple[str, str], list[str]] = {}
        for row in rows:
            self._by_email.setdefault((row["server"], row["email"]), []).append(row["user_id"])
        members = people.twenty_members
        inside = members[members["user_id"].isin({account for _, account in self._emails})]
        self._inside = set(zip(inside["server"], inside["workspace_id"], inside["user_id"], strict=True))
        users, links = set(intents["clerk_user_id"]), people.user_links
        near = links[
            links["clerk_user_id"].isin(users) | links["twenty_user_id"].isin({account for _, account in self._emails})
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
        accounts = [named] if named else self._by_email.get((server, intent["email"]), [])
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

    def email(self, server: str, account: str) -> str:
        return str(self._emails[server, account])

    def is_free(self, server: str, user: str, account: str) -> bool:
        """Whether neither of them is in a stored link."""
        return (server, user) not in self._account_of and (server, account) not in self._owned
