"""Who is to get another e-mail at Twenty: the verified one that Clerk has for them now, where nothing is in the way."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from provisioning_pipeline.decide.ownership import AccountKey, may_be_moved
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.frames import BROKEN_RECORDS
from provisioning_pipeline.model.people import Ownership
from provisioning_pipeline.model.tenant import Finding
from provisioning_pipeline.steps.members.plan.people import People, accounts_of


def accounts_to_move(desired: pd.DataFrame) -> set[AccountKey]:
    """The accounts whose people have another e-mail at Clerk: they first have to prove that they are ours to change.

    Args:
        desired: rows of `desired_members`.
    """
    other = desired["by_link"] & desired["email"].notna() & (desired["account_email"] != desired["email"])
    return accounts_of(desired[other & ~desired["contested"] & ~desired["is_service"]])


def follow_or_tell(row: Mapping[str, Any], people: People, *, follow: bool) -> bool | Finding:
    """Whether this person's account is to get Clerk's e-mail; a finding where it is not, although it has another.

    Args:
        row: of `desired_members`, of a person about whose account nothing is in doubt.
        follow: the policy: accounts follow Clerk.
    """
    email, before = row["email"], row["account_email"]
    if not row["by_link"] or not email:
        return False
    if before == email:
        # a run that was killed, or they themselves, changed it: what is missing is our record, and the proof
        return bool(follow and row["inside"] and row["linked_email"] not in (None, email))
    why = _what_is_in_the_way(row, people) if follow else ""
    if why is None:
        return True
    advice = (
        f"We do not change it: {why}. Change it in Twenty, or undo it at Clerk."
        if why
        else "Change the e-mail of the account in Twenty, set PROVISIONING_EMAIL_CHANGES=follow, or undo it at Clerk."
    )
    told = f"Clerk now has {email} for the person whose Twenty account is {before}. They stay linked. {advice}"
    return Finding(Reason.EMAIL_CHANGED, email, told)


def _what_is_in_the_way(row: Mapping[str, Any], people: People) -> str | None:
    """As a clause; None: nothing that we know of."""
    if not row["inside"] or row["record"] in BROKEN_RECORDS:
        return "they are not wholly in the workspace yet"
    if row["shares_email"]:
        return "two people at Clerk have that address"
    if row["candidates"]:
        return "another account there has that address"
    evidence = people.accounts.evidence.get((row["server"], row["account"]))
    if row["in_several"] or (evidence is not None and evidence.workspaces > 1):
        return "they belong to several workspaces of that server, and Twenty changes the address of no such account"
    if evidence is not None and may_be_moved(evidence, row["clerk_user_id"]) is Ownership.UNPROVED:
        return "the account was not made here, so it need not be theirs (`provisioning vouch` says that it is)"
    return None
