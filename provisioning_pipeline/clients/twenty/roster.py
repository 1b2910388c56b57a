"""Who belongs to one workspace: memberships and member records put side by side."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from provisioning_pipeline.clients.postgres import Row


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """One record of the workspace's own member table, with or without a membership behind it.

    A deleted record still holds its e-mail: Twenty's unique index counts it, so no other account can join with it.
    """

    id: str
    user_id: str | None
    email: str | None
    first_name: str
    last_name: str
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class RosterEntry:
    """One membership of one workspace, with the person's member record in it.

    Without a `workspace_member_id` it is half a member: that person cannot come in. `role` is a label, None
    when there is none; the names are those of the member record, empty when there are none.
    """

    user_id: str
    email: str
    role: str | None
    workspace_member_id: str | None
    first_name: str
    last_name: str


@dataclass(frozen=True, slots=True)
class Roster:
    """Who belongs to one workspace, and all records that it keeps of people. E-mails are in lower case."""

    members: tuple[RosterEntry, ...]
    records: tuple[MemberRecord, ...]

    def of(self, user_id: str | None, email: str) -> RosterEntry | None:
        """The membership of this account, or of the one with this e-mail where no account is known."""
        wanted = email.strip().lower()
        found = (entry for entry in self.members if (entry.user_id == user_id if user_id else entry.email == wanted))
        return next(found, None)

    def deleted_of(self, accounts: Collection[str]) -> MemberRecord | None:
        """The deleted record of one of these accounts, where none of them has a living one."""
        own = [record for record in self.records if record.user_id in accounts]
        return own[0] if own and all(record.deleted for record in own) else None

    def in_the_way(self, email: str, accounts: Collection[str]) -> MemberRecord | None:
        """The record, deleted or not, that holds this e-mail for an account that is none of these."""
        wanted = email.strip().lower()
        found = (record for record in self.records if record.email == wanted and record.user_id not in accounts)
        return next(found, None)


def roster_of(memberships: Sequence[Row], records: Sequence[Row]) -> Roster:
    """Put together what the two tables say. Of several living records of one person the first counts.

    Args:
        memberships: user_id, email, role.
        records: id, user_id, email, first_name, last_name, deleted.
    """
    living: dict[str, Row] = {}
    for record in records:
        if not record["deleted"]:
            living.setdefault(record["user_id"], record)
    members = tuple(_entry(row, living.get(row["user_id"], _NO_RECORD)) for row in memberships)
    return Roster(members, tuple(MemberRecord(**record) for record in records))


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
