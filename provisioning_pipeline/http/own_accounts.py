"""Whose account at Twenty a member is signed in to: never one whose password another person has.

Sign-up at Twenty is open, so an account with a member's address may be a stranger's. We tell the member, and the
operator: in the log, and by requesting a review, so that the next run says it in the tenant's condition.
"""

import logging

from cachetools import TTLCache

from provisioning_pipeline.decide.ownership import ownership_of
from provisioning_pipeline.model.people import Origin, Ownership
from provisioning_pipeline.model.session import Refusal, Refused, WorkspaceContext
from provisioning_pipeline.run.connections import Connections, connect
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.steps.account_ownership import evidence_of, is_made_by_us
from provisioning_pipeline.steps.scope import Server

_LOG = logging.getLogger(__name__)
_REPORTED_SECONDS = 3600.0
_REFUSED = (
    "Twenty has an account under your address that was not made here: anyone could have signed it up, and that person "
    "has its password. So you are not signed in to it. We told the operator. If the account is yours, reset its "
    "password in Twenty and say so to them; they vouch for it. If not, they delete it, and the next sign-in makes "
    "yours."
)


class OwnAccounts:
    """The last check before a sign-in.

    Args:
        trigger: what the runs are called that are asked for.
    """

    def __init__(self, settings: Settings, trigger: str) -> None:
        self._settings = settings
        self._trigger = trigger
        self._reported: TTLCache[tuple[str, str], bool] = TTLCache(10_000, _REPORTED_SECONDS)

    async def must_be_theirs(
        self, connections: Connections, server: Server, context: WorkspaceContext, account: str, clerk_user: str
    ) -> None:
        """Raise unless this account is proved to be that Clerk user's, or the operator accepts it.

        Raises:
            Refused: ACCOUNT_UNPROVEN, with what the member can do.
            Fault: when the account is gone, or Twenty refuses the deciding login for another reason.
        """
        settings = self._settings
        if settings.unproven_sign_in or settings.members_unproven == "trust":
            return
        evidence = await evidence_of(server, connections.accounts, account)
        ownership = ownership_of(evidence, clerk_user, trusts_mailboxes=settings.members_unproven == "trust-mailbox")
        if ownership is Ownership.PROVED:
            return
        found = None
        if ownership is Ownership.UNCHECKED:
            found = Origin(evidence.email, await is_made_by_us(server, settings.member_password_key, evidence))
        refused = found is None or not found.ours
        if found is not None or (context.database_name, account) not in self._reported:
            await self._store(context, account, found, review=refused)
        if refused:
            self._reported[context.database_name, account] = True
            # without the address: the condition names the person
            _LOG.warning(
                "A member of %s is not signed in: account %s on %s was not made here and proves nothing.",
                context.tenant,
                account,
                context.server,
            )
            raise Refused(Refusal.ACCOUNT_UNPROVEN, _REFUSED)

    async def none_may_be_in_the_way(
        self, connections: Connections, server: Server, context: WorkspaceContext, clerk_user: str
    ) -> None:
        """Raise when that Clerk user could not be added because a stranger's account has their address.

        Raises:
            Refused: ACCOUNT_UNPROVEN, with what the member can do.
            Fault: when Clerk or Twenty cannot be asked.
        """
        emails = [email for _, email, *_ in (await connections.clerk.some_users([clerk_user])).rows if email]
        for account in await server.database.user_ids(emails[0]) if emails else []:
            await self.must_be_theirs(connections, server, context, account, clerk_user)

    async def _store(self, context: WorkspaceContext, account: str, found: Origin | None, *, review: bool) -> None:
        """Store what a login showed of the account, and request a review of the tenant."""
        async with connect(self._settings, dry_run=False) as connections:
            if found is not None:
                await connections.accounts.store(context.server, [(account, found)], self._trigger)
            if review:
                await connections.reviews.request(context.database_name, self._trigger)
