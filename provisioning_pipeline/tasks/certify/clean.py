"""Removes what a certification made, this one or one that was killed, through Twenty's own calls.

Measured on 2.21.0: `deleteCurrentWorkspace` takes every account along that has no other workspace, the service account
too, and fails on a workspace that was never activated, which is therefore activated first.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from provisioning_pipeline.clients.postgres import Row
from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.accounts import Account, derived_password
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.tasks.certify.trial import DISPLAY_NAME, EMAIL, SUBDOMAIN, Trial, Unseen


@dataclass
class Cleaned:
    """What came of it: what was done, and which workspaces and accounts are still there."""

    told: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    accounts: list[str] = field(default_factory=list)


_OURS = """
    SELECT w.id::text AS id, w.subdomain, w."activationStatus"::text AS status
    FROM core.workspace w
    WHERE w."deletedAt" IS NULL AND w."displayName" = %s AND starts_with(w.subdomain, 'certify-')
      AND lower((
        SELECT u.email::text FROM core."userWorkspace" uw JOIN core."user" u ON u.id = uw."userId"
        WHERE uw."workspaceId" = w.id ORDER BY uw."createdAt", uw.id LIMIT 1
      )) = %s
    ORDER BY w."createdAt", w.id
"""
"""By name, subdomain and evidence: the first who was in it is our service account."""


async def _workspaces_of_ours(trial: Trial, linked: Collection[str]) -> list[Row]:
    rows = await trial.ask(_OURS, DISPLAY_NAME, trial.service.email)
    return [row for row in rows if SUBDOMAIN.fullmatch(row["subdomain"]) and row["id"] not in linked]


async def delete_workspace(trial: Trial, workspace_id: str) -> None:
    """Delete one workspace of ours, with every account that has no other.

    Raises:
        Fault: when Twenty does not do it.
    """
    address = await trial.client.address(workspace_id)
    state = await trial.database.workspace_state(workspace_id)
    if state is not None and state.activation_status != "ACTIVE":
        await trial.session.call_as(
            trial.service, address, operations.ACTIVATE_WORKSPACE, timeout_seconds=trial.activation_seconds
        )
        trial.session.forget(trial.service, address)
    await trial.session.call_as(trial.service, address, operations.DELETE_CURRENT_WORKSPACE)
    trial.session.forget(trial.service, address)
    trial.client.forget(trial.service, address)


async def remove_everything(trial: Trial, linked: Collection[str]) -> Cleaned:
    """Delete every workspace and account that a certification made, and leave the service account as it was.

    Trouble with one of them does not stop the others.

    Args:
        linked: ids of workspaces that belong to tenants; we never touch these.
    """
    cleaned = Cleaned()
    found = await _workspaces_of_ours(trial, linked)
    active = [row for row in found if row["status"] == "ACTIVE"]
    await _take_in_strays(trial, active, cleaned)
    for row in found:
        try:
            await delete_workspace(trial, row["id"])
        except Fault as fault:
            cleaned.left.append(f"workspace {row['subdomain']} ({fault.message.rstrip('.')})")
    gone = len(found) - len(cleaned.left)
    if gone:
        cleaned.told.append(
            f"{gone} {'workspace was' if gone == 1 else 'workspaces were'} deleted by deleteCurrentWorkspace."
        )
    restored = await restore_service_account(trial)
    if restored:
        cleaned.told.append(restored)
    cleaned.accounts += [email for email, _ in await _accounts(trial)]
    return cleaned


async def _accounts(trial: Trial) -> list[tuple[str, bool]]:
    """The accounts that a certification made, by address, and whether each has a workspace."""
    rows = await trial.ask(
        """
        SELECT u.email::text AS email, EXISTS (
            SELECT 1 FROM core."userWorkspace" uw WHERE uw."userId" = u.id AND uw."deletedAt" IS NULL) AS placed
        FROM core."user" u WHERE u."deletedAt" IS NULL AND starts_with(u.email::text, 'certify-') ORDER BY 1
        """
    )
    return [(row["email"], row["placed"]) for row in rows if EMAIL.fullmatch(row["email"])]


async def _take_in_strays(trial: Trial, active: list[Row], cleaned: Cleaned) -> None:
    """Have accounts without a workspace join one of ours, since Twenty deletes an account only with its last one."""
    strays = [email for email, placed in await _accounts(trial) if not placed]
    if not strays or not active:
        return
    try:
        place = await trial.place(await trial.client.address(active[0]["id"]))
        for email in strays:
            await trial.join(Account(email, derived_password(trial.key, email)), place)
    except Fault as fault:
        cleaned.told.append(f"Accounts without a workspace could not be taken in to be deleted: {fault.message}")


async def restore_service_account(trial: Trial) -> str | None:
    """Bring the service account back where it went with its last workspace, which was one of ours.

    Returns what was done, in a sentence; None when nothing had to be. Where no server admin is left, signing up again
    makes one, as a first run does. Where another one is, no call of Twenty's gives the rights back: the row is.
    """
    if await trial.database.user_ids(trial.service.email):
        return None
    rows = await trial.ask(
        """
        SELECT u.id::text AS id FROM core."user" u
        WHERE lower(u.email::text) = %s AND u."deletedAt" IS NOT NULL AND EXISTS (
            SELECT 1 FROM core."userWorkspace" uw JOIN core.workspace w ON w.id = uw."workspaceId"
            WHERE uw."userId" = u.id AND w."displayName" = %s)
        ORDER BY u."deletedAt" DESC LIMIT 1
        """,
        trial.service.email,
        DISPLAY_NAME,
    )
    if not rows:
        return None
    admins = await trial.ask(
        'SELECT count(*) AS n FROM core."user" WHERE "deletedAt" IS NULL AND "canAccessFullAdminPanel"'
    )
    if admins[0]["n"] == 0 and await _signed_up_again(trial):
        return f"{trial.service.email} went with its last workspace and was signed up again; it is server admin."
    try:
        await trial.write(
            """
            UPDATE core."user" SET "deletedAt" = NULL WHERE id = %s AND NOT EXISTS (
                SELECT 1 FROM core."user" WHERE lower(email::text) = %s AND "deletedAt" IS NULL)
            """,
            rows[0]["id"],
            trial.service.email,
        )
    except Unseen as unseen:
        return (
            f"{trial.service.email} went with its last workspace, and {unseen}. Have an admin set "
            f'"deletedAt" of its row in core."user" to null (id {rows[0]["id"]}).'
        )
    await trial.session.sign_in_service_account(operations.SIGN_IN)
    return (
        f"{trial.service.email} went with its last workspace and was restored by SQL (deletedAt of its row in "
        'core."user"): no call of Twenty\'s gives a server admin back while there is another.'
    )


async def _signed_up_again(trial: Trial) -> bool:
    try:
        await trial.session.sign_up_service_account()
    except Fault:
        # a server that lets no one sign up any more; the row is brought back instead
        return False
    return await trial.database.is_server_admin(trial.service.email)
