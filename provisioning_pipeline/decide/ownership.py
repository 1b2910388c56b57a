"""What an account at Twenty proves about its address: sign-up there is open and verifies no mailbox.

Twenty's own `isEmailVerified` proves nothing either: it is set for anyone who accepts a personal invitation by its
token, and signing in as an account that was signed up under that address shows the token (tried on 2.21.0).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import Final

from provisioning_pipeline.model.people import Evidence, Ownership

AccountKey = tuple[str, str]
"""(server, Twenty user id)."""
ONCE_PROVED: Final = "if their account proves to be theirs"
"""The condition of a raise whose account was not checked yet."""


def ownership_of(evidence: Evidence, clerk_user_id: str | None = None, *, trusts_mailboxes: bool = False) -> Ownership:
    """What this account proves about the address that it has now, to be the account of that Clerk user.

    `trusts_mailboxes`: the policy believes Twenty that a mailbox was verified.

    What the ledger and an operator know holds for the address that the account had then: Twenty lets members change
    their address and verifies no mailbox. An account that we made for this very Clerk user is theirs under any.
    """
    if evidence.vouched_email == evidence.email:
        return Ownership.PROVED
    if evidence.move is not None and evidence.move.clerk_user_id == clerk_user_id:
        # it was theirs when we gave it this address, which Clerk had verified for them
        return Ownership.PROVED
    origin = evidence.origin
    if origin is not None and origin.email != evidence.email:
        made_for_them = origin.ours and origin.clerk_user_id is not None and origin.clerk_user_id == clerk_user_id
        return Ownership.PROVED if made_for_them else Ownership.UNPROVED
    if evidence.verified and trusts_mailboxes:
        return Ownership.PROVED
    if origin is None:
        return Ownership.UNCHECKED
    return Ownership.PROVED if origin.ours else Ownership.UNPROVED


def may_be_moved(evidence: Evidence, clerk_user_id: str) -> Ownership:
    """Whether we may give this account another address of that Clerk user: no policy of trust counts for that."""
    return ownership_of(evidence, clerk_user_id)


@dataclass(frozen=True)
class KnownAccounts:
    """What is known of those accounts that were asked about, and what the operator decided about them.

    Args:
        evidence: of the accounts that were asked about; any other counts as unchecked.
        trusts: the policy: every account counts as its address's own.
        trusts_mailboxes: the policy: one whose mailbox was verified by Twenty's word does.
    """

    evidence: Mapping[AccountKey, Evidence] = field(default_factory=dict)
    trusts: bool = False
    trusts_mailboxes: bool = False

    def of(self, server: str, account: str, clerk_user_id: str | None = None) -> Ownership:
        """What this account proves, to be the account of that Clerk user."""
        if self.trusts:
            return Ownership.PROVED
        evidence = self.evidence.get((server, account))
        if evidence is None:
            return Ownership.UNCHECKED
        return ownership_of(evidence, clerk_user_id, trusts_mailboxes=self.trusts_mailboxes)

    def unproved(self, server: str, account: str, clerk_user_id: str | None) -> Evidence | None:
        """What is known of this account, if that proves nothing."""
        ownership = self.of(server, account, clerk_user_id)
        return self.evidence[server, account] if ownership is Ownership.UNPROVED else None


def unproven_message(server: str, evidence: Evidence, keeps: str) -> str:
    """Who and where, since when, what they keep, and how to settle it. `keeps` is a clause that ends the first half."""
    made_at = evidence.created_at.astimezone(UTC)
    return (
        f'{evidence.email} has an account on Twenty server "{server}" that was not made here: anyone could have signed '
        f"it up (on {made_at:%Y-%m-%d %H:%M} UTC), and that person has its password. {keeps} If the person says that "
        f"it is theirs, have them reset its password in Twenty, then: `provisioning vouch {evidence.email} --server "
        f'{server} --why "..."`. If not, remove it from its workspaces and delete it in '
        "Twenty; the next run makes one of their own."
    )
