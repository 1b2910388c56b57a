"""An account that proves nothing raises no one: the last check before a role or an invitation is given.

Deciding has left out those of which the ledger knows it. We check the others here, by signing in with the password that
only we can derive, and store what that shows.
"""

from dataclasses import replace

from pydantic import SecretStr

from provisioning_pipeline.clients.twenty.accounts import Account, derived_password
from provisioning_pipeline.clients.twenty.errors import TwentyFault, is_unknown_user
from provisioning_pipeline.decide.ownership import ownership_of, unproven_message
from provisioning_pipeline.ledger.members import Accounts
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.people import Evidence, Origin, Ownership
from provisioning_pipeline.steps.scope import Scope, Server


async def unproved(
    scope: Scope, user_id: str, clerk_user_id: str | None, *, is_ours: bool | None = None
) -> Evidence | None:
    """What is known of an account that proves nothing about its address; None when it is proved, or policy trusts it.

    Args:
        scope: the tenant in which it would get something.
        clerk_user_id: whose it is to be.
        is_ours: whether our password lets in, where a call has told that just now.

    Raises:
        Fault: of kind TENANT when the account was deleted meanwhile; else what the server refused.
    """
    if scope.settings.members_unproven == "trust":
        return None
    trusts_mailboxes = scope.settings.members_unproven == "trust-mailbox"
    return await _unproved(scope, user_id, clerk_user_id, is_ours, trusts_mailboxes=trusts_mailboxes)


async def not_ours(scope: Scope, user_id: str, clerk_user_id: str) -> Evidence | None:
    """The same where no policy of trust counts: what is known of an account that is not ours to change.

    Raises:
        Fault: as `unproved`.
    """
    return await _unproved(scope, user_id, clerk_user_id, None, trusts_mailboxes=False)


async def _unproved(
    scope: Scope, user_id: str, clerk_user_id: str | None, is_ours: bool | None, *, trusts_mailboxes: bool
) -> Evidence | None:
    evidence = await evidence_of(scope.server, scope.accounts, user_id)
    if is_ours is False and evidence.origin is not None and evidence.origin.ours:
        # an admin who impersonates a member can have changed the password of an account that we made
        evidence = replace(evidence, origin=replace(evidence.origin, ours=False))
    ownership = ownership_of(evidence, clerk_user_id, trusts_mailboxes=trusts_mailboxes)
    if ownership is Ownership.UNCHECKED:
        ours = is_ours
        if ours is None:
            ours = await is_made_by_us(scope.server, scope.settings.member_password_key, evidence)
        await scope.accounts.store(scope.client.name, [(user_id, Origin(evidence.email, ours))], scope.run_id)
        ownership = Ownership.PROVED if ours else Ownership.UNPROVED
    return None if ownership is Ownership.PROVED else evidence


def refused(scope: Scope, evidence: Evidence, keeps: str) -> Fault:
    """Why nothing more is given to this account, for a condition; `keeps` says what becomes of it instead."""
    return Fault(FaultKind.TENANT, Reason.ACCOUNT_UNPROVEN, unproven_message(scope.client.name, evidence, keeps))


async def evidence_of(server: Server, accounts: Accounts, user_id: str) -> Evidence:
    """What Twenty, the ledger and an operator say of this account now.

    Raises:
        Fault: of kind TENANT when there is no such account any more.
    """
    rows = await server.database.account_facts([user_id])
    if not rows:
        raise Fault(
            FaultKind.TENANT,
            Reason.WAITING,
            f"Account {user_id} was deleted on {server.client.system} meanwhile; the next run plans anew.",
        )
    name = server.client.name
    origins = await accounts.origins(name, [user_id])
    vouched = await accounts.vouched(name, [user_id])
    moves = await accounts.moves(name, [user_id])
    return Evidence(
        rows[0]["email"],
        rows[0]["verified"],
        rows[0]["created_at"],
        origins.get(user_id),
        vouched[0].email if vouched else None,
        moves.get((user_id, rows[0]["email"])),
        rows[0]["workspaces"],
    )


def password_email(evidence: Evidence) -> str:
    """The address from which the password of this account is derived, if it is ours."""
    if evidence.move is not None:
        return evidence.move.password_email
    # where they changed it in Twenty themselves, the password is still that of the address that we made it for
    return evidence.origin.email if evidence.origin is not None and evidence.origin.ours else evidence.email


async def is_made_by_us(server: Server, key: SecretStr, evidence: Evidence) -> bool:
    """Whether the password that we derive lets in: one login, in no workspace.

    Raises:
        Fault: when the server refuses it for another reason, which tells nothing.
    """
    try:
        await server.client.check_password(Account(evidence.email, derived_password(key, password_email(evidence))))
    except TwentyFault as fault:
        # an e-mail with capitals is unknown in lower case, and no account that we make has any
        if fault.reason is not Reason.FOREIGN_PASSWORD and not is_unknown_user(fault.error):
            raise
        return False
    return True
