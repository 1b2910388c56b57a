"""Which Admins hold that role only because our own join gave it: taking it back takes nothing away from anybody.

A workspace gives whoever joins its default role, which its customer may have set to Admin. Joining puts another in its
place meanwhile; earlier versions of this program did not, and may have been killed before they set the role.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import pandas as pd

from provisioning_pipeline.model.people import ADMIN_ROLE

MemberKey = tuple[str, str]
"""(database name, Clerk user)."""
_AT_ONCE: Final = timedelta(seconds=60)
"""Twenty gives the role right after the membership; a crowd that joins at once takes longer."""


@dataclass(frozen=True, slots=True)
class Join:
    """How somebody who is Admin came into the workspace.

    Args:
        joined_at: when Twenty made the membership.
        role_given_at, role_changed_at: when Twenty made, and last changed, the row that gives them their role.
        added_by_us: the ledger has our join of theirs, with the role that they are to have now.
        linked: the ledger has them as a member of the tenant.
        watched_since: when the ledger got to know the tenant.
        verified: their mailbox was verified: a join of ours verifies none, an invitation of the customer's does.
        made_by_others: their account is known not to be ours.
    """

    joined_at: datetime
    role_given_at: datetime
    role_changed_at: datetime
    added_by_us: bool
    linked: bool
    watched_since: datetime | None
    verified: bool
    made_by_others: bool


def is_our_own_doing(join: Join) -> bool:
    """Whether they have had the role ever since they joined, and nobody but us let them in.

    A join of ours that the ledger has; or, after a run that was killed before it could write anything down, a
    membership that is younger than the ledger's knowledge of the tenant, of somebody not yet linked.
    """
    if max(join.role_given_at, join.role_changed_at) > join.joined_at + _AT_ONCE:
        return False
    if join.added_by_us:
        return True
    watched = join.watched_since is not None and join.joined_at >= join.watched_since
    return watched and not (join.linked or join.verified or join.made_by_others)


def lowered(desired: pd.DataFrame) -> pd.DataFrame:
    """The rows of `members.with_target` whose Admin is to be something else."""
    inside = desired["inside"].notna() & ~desired["contested"] & ~desired["is_service"]
    return desired[inside & (desired["current_role"] == ADMIN_ROLE) & (desired["target"] != ADMIN_ROLE)]


def raised_by_us(joins: Mapping[MemberKey, Join]) -> frozenset[MemberKey]:
    """Those of them whose role only our own join gave."""
    return frozenset(key for key, join in joins.items() if is_our_own_doing(join))
