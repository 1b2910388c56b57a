"""Which open invitations of ours are withdrawn: Twenty lets whoever has the account join by signing in."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd

from provisioning_pipeline.model.frames import records
from provisioning_pipeline.model.people import ADMIN_ROLE, Ownership
from provisioning_pipeline.model.tenant import Withdrawal
from provisioning_pipeline.steps.members.plan.decisions import MemberPolicy
from provisioning_pipeline.steps.members.plan.people import People, has_address

_NOBODY: Final = "no active member at Clerk has this address, verified"
_UNPROVED: Final = "the account with this address was not made here and proves nothing"


def withdrawals(people: People, policy: MemberPolicy, desired: pd.DataFrame) -> dict[str, tuple[Withdrawal, ...]]:
    """Database name → the invitations of ours that are to end. Nobody is missed in a reading that is not whole.

    Args:
        people: everything that is known; of the accounts of those who are invited, what they prove.
        policy: what the operator decided; nobody is invited as more than its default role.
        desired: rows of `members.with_target`.
    """
    ours = people.invitations[people.invitations["ours"].astype(bool)]
    if ours.empty or not people.complete:
        return {}
    members: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in records(desired[has_address(desired, set(ours["email"]))]):
        for email in {row["email"], row["account_email"]} - {None}:
            members.setdefault((row["database_name"], email), []).append(row)
    found: dict[str, list[Withdrawal]] = {}
    for invitation in records(ours.sort_values(["database_name", "email"])):
        name, email = invitation["database_name"], invitation["email"]
        why = _why(invitation, members.get((name, email), ()), people, policy)
        if why:
            found.setdefault(name, []).append(Withdrawal(email, why, departed=why is _NOBODY))
    return {name: tuple(dict.fromkeys(ended)) for name, ended in found.items()}


def _why(
    invitation: Mapping[str, Any], members: Sequence[Mapping[str, Any]], people: People, policy: MemberPolicy
) -> str | None:
    if not members:
        return _NOBODY
    if any(_is_doubtful(row, people) for row in members):
        return _UNPROVED
    if invitation["role"] == ADMIN_ROLE or invitation["role"] != policy.default_role:
        return f"it gives {_role(invitation['role'])} to whoever signs in, before anything is proved"
    return None


def _is_doubtful(row: Mapping[str, Any], people: People) -> bool:
    """Whoever got an invitation of ours had a password of their own: unchecked is no better than unproved then."""
    server, account = row["server"], row["account"]
    if (server, account) not in people.accounts.evidence:
        return False
    return people.accounts.of(server, account, row["clerk_user_id"]) is not Ownership.PROVED


def _role(label: str | None) -> str:
    return f"the role {label}" if label else "a role that is no longer there"
