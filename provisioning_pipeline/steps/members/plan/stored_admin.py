"""Whether the stored admin of a tenant can still stand for it: inside, Admin, and whom Clerk or the registry name."""

from dataclasses import dataclass
from typing import Final

import pandas as pd

from provisioning_pipeline.model.frames import Columns, records
from provisioning_pipeline.model.people import ADMIN_ROLE
from provisioning_pipeline.steps.members.plan.people import People

STORED_ADMINS: Final[Columns] = {
    "database_name": "object",
    "organization_id": "object",  # None: the registry names the admin
    "server": "object",
    "workspace_id": "object",
    "admin_user_id": "object",
    "admin_email": "object",
    "registry_email": "object",  # whom the registry or a request names now, lower case; None: nobody
}
"""The tenants with a stored admin whose workspace can be read, and their organization if they have one."""


@dataclass(frozen=True, slots=True)
class LostAdmin:
    """A stored admin who does not stand for the tenant.

    Args:
        user_id: their Twenty user id.
        clerk_user_id: who that is at Clerk, where the ledger knows.
        harmed: the workspace has no admin of ours by it; else it has one whom nobody names as admin any more.
    """

    user_id: str
    clerk_user_id: str | None
    harmed: bool


def lost_admins(admins: pd.DataFrame, people: People, desired: pd.DataFrame) -> dict[str, LostAdmin]:
    """Database name → its stored admin, where they are outside the workspace, lowered, or named by nobody any more.

    Args:
        admins: frame with the columns of `STORED_ADMINS`.
        people: everything that is known about members.
        desired: rows of `desired_members`.
    """
    if admins.empty:
        return {}
    accounts = set(admins["admin_user_id"])
    members = people.twenty_members[people.twenty_members["user_id"].isin(accounts)]
    members = members.rename(columns={"user_id": "admin_user_id"}).assign(inside=True)
    members = members.drop_duplicates(["server", "workspace_id", "admin_user_id"])
    rows = admins.merge(members, on=["server", "workspace_id", "admin_user_id"], how="left")
    emails = people.twenty_users[people.twenty_users["user_id"].isin(accounts)]
    emails = emails.rename(columns={"user_id": "admin_user_id", "email": "account_email"})
    rows = rows.merge(emails.drop_duplicates(["server", "admin_user_id"]), on=["server", "admin_user_id"], how="left")
    by_clerk = rows["organization_id"].notna()
    rows = rows.assign(
        harmed=rows["inside"].isna() | (rows["role"] != ADMIN_ROLE),
        # nobody at Clerk, and nobody whom we ever linked: whoever is linked is missed, or lowered, on evidence
        stranger=by_clerk & ~_known_at_clerk(rows, people, desired) & people.complete,
        # the account may have the address by now that the registry names
        another=~by_clerk
        & rows["registry_email"].notna()
        & (rows["registry_email"] != rows["admin_email"])
        & (rows["registry_email"] != rows["account_email"]),
    )
    links = people.member_links[people.member_links["twenty_user_id"].isin(accounts)]
    users = {(row["database_name"], row["twenty_user_id"]): row["clerk_user_id"] for row in records(links)}
    return {
        row["database_name"]: LostAdmin(
            row["admin_user_id"], users.get((row["database_name"], row["admin_user_id"])), bool(row["harmed"])
        )
        for row in records(rows[rows["harmed"] | rows["stranger"] | rows["another"]])
    }


def _known_at_clerk(rows: pd.DataFrame, people: People, desired: pd.DataFrame) -> "pd.Series[bool]":
    """Which of these admins are active members of their tenant's organization, or linked there."""
    accounts = set(rows["admin_user_id"])
    active = desired[desired["account"].isin(accounts)]
    links = people.member_links[people.member_links["twenty_user_id"].isin(accounts)]
    known = {
        *zip(active["database_name"], active["account"], strict=True),
        *zip(links["database_name"], links["twenty_user_id"], strict=True),
    }
    found = [key in known for key in zip(rows["database_name"], rows["admin_user_id"], strict=True)]
    return pd.Series(found, index=rows.index, dtype=bool)
