"""The wizard: which step a user would see, and the calls that clear one.

A step is pending while a row of `core."keyValuePair"` holds the JSON value `true`; there is no other record.
Levels, order and what each call clears: recorded on 2.21.0.

Of 1.x source only: Twenty of September 2025 (commit 0285fce), `OnboardingService.getOnboardingStatus` in
packages/twenty-server/src/engine/core-modules/onboarding/onboarding.service.ts, looks for the profile first, then
the mailbox, the team and the call. The row of the call is the whole workspace's; `sendInvitations` sets it where
CALENDAR_BOOKING_PAGE_ID is set, which is taken as given here, and `skipBookOnboardingStep` clears it.
"""

from typing import Any
from uuid import UUID

from ariadne import MutationType, QueryType
from graphql import GraphQLResolveInfo
from psycopg.types.json import Jsonb

from provisioning_pipeline.sandbox.twenty.callers import (
    NOT_YET,
    require_user,
    require_workspace,
    workspace_by_id,
)
from provisioning_pipeline.sandbox.twenty.options import Generation, TwentyOptions
from provisioning_pipeline.sandbox.twenty.runtime import Call, call_of
from provisioning_pipeline.sandbox.twenty.store import Row, Session

query = QueryType()
mutation = MutationType()
older_mutation = MutationType()
"""What 1.x has instead of `triggerInstallAppsOnboardingStep`."""

CONNECT_ACCOUNT = "ONBOARDING_CONNECT_ACCOUNT_PENDING"
INSTALL_APPS = "ONBOARDING_INSTALL_APPS_PENDING"
CREATE_PROFILE = "ONBOARDING_CREATE_PROFILE_PENDING"
INVITE_TEAM = "ONBOARDING_INVITE_TEAM_PENDING"
BOOK_ONBOARDING = "ONBOARDING_BOOK_ONBOARDING_PENDING"

# The first pending one is the status.
STEPS: dict[Generation, tuple[tuple[str, str], ...]] = {
    "2.x": (
        (CONNECT_ACCOUNT, "SYNC_EMAIL"),
        (INSTALL_APPS, "APPS_INSTALLATION"),
        (CREATE_PROFILE, "PROFILE_CREATION"),
        (INVITE_TEAM, "INVITE_TEAM"),
    ),
    "1.x": (
        (CREATE_PROFILE, "PROFILE_CREATION"),
        (CONNECT_ACCOUNT, "SYNC_EMAIL"),
        (INVITE_TEAM, "INVITE_TEAM"),
        (BOOK_ONBOARDING, "BOOK_ONBOARDING"),
    ),
}

_NEW_ACCOUNT: dict[Generation, tuple[str, ...]] = {"2.x": (CREATE_PROFILE, INSTALL_APPS), "1.x": (CREATE_PROFILE,)}

# A workspace that is being activated shows its steps in 1.x already (source only).
_ACTIVATING: dict[Generation, tuple[str, ...]] = {"2.x": NOT_YET, "1.x": ("PENDING_CREATION",)}


def steps(options: TwentyOptions) -> tuple[tuple[str, str], ...]:
    """Keys and statuses in the order in which this server looks for them."""
    return STEPS[options.generation] + tuple((step.key, step.status) for step in options.further_steps)


async def begin_for_creator(db: Session, options: TwentyOptions, user_id: UUID, workspace_id: UUID) -> None:
    """Set what stands before whoever makes a workspace, and before everyone in it."""
    further = (step.key for step in options.further_steps if step.for_creator)
    for key in (CONNECT_ACCOUNT, *_NEW_ACCOUNT[options.generation], *further):
        await set_pending(db, key, user_id, workspace_id)
    await set_pending(db, INVITE_TEAM, None, workspace_id)


async def begin_for_new_account(db: Session, options: TwentyOptions, user_id: UUID, workspace_id: UUID) -> None:
    """Set what stands before an account that is created by joining."""
    for key in _NEW_ACCOUNT[options.generation]:
        await set_pending(db, key, user_id, workspace_id)


async def begin_for_joiner(db: Session, options: TwentyOptions, user_id: UUID, workspace_id: UUID) -> None:
    """Set what stands before everyone who joins, new account or not."""
    further = (step.key for step in options.further_steps if step.for_joiners)
    for key in (CREATE_PROFILE, *further):
        await set_pending(db, key, user_id, workspace_id)


async def end_invite_team(db: Session, options: TwentyOptions, workspace_id: UUID) -> None:
    """Clear the step of the team, which in 1.x puts the call before everyone."""
    await clear(db, INVITE_TEAM, None, workspace_id)
    if options.generation == "1.x":
        await set_pending(db, BOOK_ONBOARDING, None, workspace_id)


async def set_pending(db: Session, key: str, user_id: UUID | None, workspace_id: UUID) -> None:
    """Put a step before a user, or (user None) before everyone in the workspace."""
    await db.run(
        'INSERT INTO core."keyValuePair" ("userId", "workspaceId", key, value, type)'
        " VALUES (%s, %s, %s, %s, 'USER_VARIABLE')"
        + (
            ' ON CONFLICT (key, "workspaceId") WHERE "userId" IS NULL'
            if user_id is None
            else ' ON CONFLICT (key, "userId", "workspaceId")'
        )
        + " DO UPDATE SET value = excluded.value",
        user_id,
        workspace_id,
        key,
        Jsonb(True),
    )


async def clear(db: Session, key: str, user_id: UUID | None, workspace_id: UUID) -> None:
    """Delete the row of one level; a row at another level still shows the step."""
    await db.run(
        'DELETE FROM core."keyValuePair" WHERE key = %s AND "workspaceId" = %s'
        " AND \"userId\" IS NOT DISTINCT FROM %s AND type = 'USER_VARIABLE'",
        key,
        workspace_id,
        user_id,
    )


async def user_variables(db: Session, user_id: UUID, workspace_id: UUID) -> dict[str, Any]:
    """The three levels merged; later ones win: workspace only, user only, both."""
    rows = await db.all(
        'SELECT key, value FROM core."keyValuePair"'
        ' WHERE type = \'USER_VARIABLE\' AND (("userId" IS NULL AND "workspaceId" = %s)'
        ' OR ("userId" = %s AND ("workspaceId" IS NULL OR "workspaceId" = %s)))'
        ' ORDER BY "userId" IS NOT NULL, "userId" IS NOT NULL AND "workspaceId" IS NOT NULL',
        workspace_id,
        user_id,
        workspace_id,
    )
    return {row["key"]: row["value"] for row in rows}


async def is_invite_team_pending(db: Session, workspace_id: UUID) -> bool:
    """Read at the workspace's own level only."""
    row = await db.one(
        "SELECT 1 AS found FROM core.\"keyValuePair\" WHERE key = %s AND type = 'USER_VARIABLE'"
        ' AND "userId" IS NULL AND "workspaceId" = %s AND value = \'true\'::jsonb',
        INVITE_TEAM,
        workspace_id,
    )
    return row is not None


async def status(db: Session, options: TwentyOptions, user_id: UUID, workspace_id: UUID) -> str | None:
    """What this user would be shown on opening this workspace."""
    workspace = await workspace_by_id(db, workspace_id)
    if workspace is None:
        return None
    if workspace["activationStatus"] in _ACTIVATING[options.generation]:
        return "WORKSPACE_ACTIVATION"
    variables = await user_variables(db, user_id, workspace_id)
    for key, name in steps(options):
        if variables.get(key) is True:
            return name
    return "COMPLETED"


def _person_in_workspace(call: Call) -> tuple[UUID, UUID]:
    workspace = require_workspace(call)
    return require_user(call)["id"], workspace["id"]


@mutation.field("skipSyncEmailOnboardingStep")
async def skip_sync_email(_: None, info: GraphQLResolveInfo) -> Row:
    call = call_of(info)
    user_id, workspace_id = _person_in_workspace(call)
    await clear(call.db, CONNECT_ACCOUNT, user_id, workspace_id)
    return {"success": True}


@mutation.field("triggerInstallAppsOnboardingStep")
async def trigger_install_apps(_: None, info: GraphQLResolveInfo, universalIdentifiers: list[str]) -> Row:
    del universalIdentifiers  # the sandbox has no applications to install
    call = call_of(info)
    user_id, workspace_id = _person_in_workspace(call)
    await clear(call.db, INSTALL_APPS, user_id, workspace_id)
    return {"success": True}


@older_mutation.field("skipBookOnboardingStep")
async def skip_book_onboarding(_: None, info: GraphQLResolveInfo) -> Row:
    call = call_of(info)
    await clear(call.db, BOOK_ONBOARDING, None, require_workspace(call)["id"])
    return {"success": True}


@query.field("getInviteSuggestions")
async def invite_suggestions(_: None, info: GraphQLResolveInfo) -> list[Row]:
    _person_in_workspace(call_of(info))
    return []  # drawn from connected mailboxes, of which the sandbox has none
