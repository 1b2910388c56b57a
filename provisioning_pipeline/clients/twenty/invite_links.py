"""The public invite link of a workspace: every member can read it, and it lets anyone in who has it while it is on."""

import uuid

from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.accounts import Door, InviteLink
from provisioning_pipeline.clients.twenty.session import TwentySession
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind


class InviteLinks:
    """The invite links of one server's workspaces, as the service account sees and sets them."""

    def __init__(self, session: TwentySession) -> None:
        self._session = session

    async def read(self, door: Door) -> InviteLink:
        """What lets one join the workspace without an e-mail.

        Raises:
            Fault: INVITE_LINK_DISABLED when the workspace has none.
        """
        answer = await self._session.call_as(self._session.service_account, door, operations.CURRENT_WORKSPACE)
        if not answer.invite_hash:
            raise Fault(
                FaultKind.TENANT,
                Reason.INVITE_LINK_DISABLED,
                f"{self._session.system}: workspace {door.workspace_id} has no invite link, so no one can join without "
                "an e-mail. Make one in Twenty under Settings > Members; the next run goes on.",
            )
        return InviteLink(answer.invite_hash, answer.is_public_invite_link_enabled)

    async def turn_on(self, door: Door) -> None:
        """Let people join by the invite link; its hash stays the same."""
        await self._switch(door, enabled=True)

    async def turn_off(self, door: Door) -> None:
        """Let no one join by the invite link; members stay members."""
        await self._switch(door, enabled=False)

    async def _switch(self, door: Door, *, enabled: bool) -> None:
        variables = {"isPublicInviteLinkEnabled": enabled}
        await self._session.call_as(self._session.service_account, door, operations.UPDATE_WORKSPACE, variables)

    async def can_be_renewed(self) -> bool:
        """Whether this server has a call for it."""
        return await self._session.first_taken((operations.RENEW_INVITE_LINK,)) is not None

    async def renew(self, door: Door) -> str:
        """Give the workspace another invite link, on or off as before; no one joins with the earlier one any more.

        Twenty takes any text (run on 2.21.0), so it gets what Twenty itself makes: a random UUID.
        """
        variables = {"inviteHash": str(uuid.uuid4())}
        await self._session.call_as(self._session.service_account, door, operations.RENEW_INVITE_LINK, variables)
        return variables["inviteHash"]
