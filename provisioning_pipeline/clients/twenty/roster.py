"""Who belongs to one workspace: memberships and member records put side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

from provisioning_pipeline.clients.postgres import Row


@dataclass(frozen=True, slots=True)
class RosterEntry:
    """One membership of one workspace, with the person's member record in it.

    Without a `workspace_member_id` it is half a member: nobody can come in as that person. `role` is a label, None
    when there is none; the names are those of the member record, empty when there are none.
    """

    user_id: str
    email: str
    role: str | None
    workspace_member_id: str | None
    first_name: str
    last_name: str


@dataclass(frozen=True, slots=True)
class Stray:
    """A member record whose person has no membership, or no account any more: the other half of a member.

    When that person joins again, the record is used again. Somebody else with the same e-mail cannot join.
    """

    workspace_member_id: str
    user_id: str | None
    email: str | None
    first_name: str
    last_name: str


@dataclass(frozen=True, slots=True)
class Roster:
    """Who belongs to one workspace. E-mails are in lower case."""

    members: tuple[RosterEntry, ...]
    strays: tuple[Stray, ...]

    def of(self, user_id: str | None, email: str) -> RosterEntry | None:
        """The membership of this account, or of the one with this e-mail where no account is known."""
        wanted = email.strip().lower()
        found = (entry for entry in self.members if (entry.user_id == user_id if user_id else entry.email == wanted))
        return next(found, None)


def roster_of(memberships: Sequence[Row], records: Sequence[Row]) -> Roster:
    """Put together what the two tables say. Of several records of one person the first counts.

    Args:
        memberships: user_id, email, role.
        records: id, user_id, email, first_name, last_name.
    """
    by_user: dict[str, Row] = {}
    for record in records:
        by_user.setdefault(record["user_id"], record)
    members = tuple(_entry(row, by_user.get(row["user_id"], _NO_RECORD)) for row in memberships)
    known = {member.user_id for member in members}
    strays = tuple(
        Stray(record["id"], record["user_id"], record["email"], record["first_name"], record["last_name"])
        for record in records
        if record["user_id"] not in known
    )
    return Roster(members, strays)


_NO_RECORD: Row = {"id": None, "first_name": "", "last_name": ""}


def _entry(membership: Row, record: Row) -> RosterEntry:
    return RosterEntry(
        user_id=membership["user_id"],
        email=membership["email"],
        role=membership["role"],
        workspace_member_id=record["id"],
        first_name=record["first_name"],
        last_name=record["last_name"],
    )
