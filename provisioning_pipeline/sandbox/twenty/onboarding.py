"""The wizard: which step a user would see, and the calls that clear one.

A step is pending while a row of `core."keyValuePair"` holds the JSON value `true`; there is no other record.
Levels, order and what each call clears: recorded on 2.21.0.

From 2.33 on (source only, a compiled 2.38 server) what a person did may be undone: a step that a person finished is
pushed to a history, from which `goBackToPreviousOnboardingStep` puts it before them again. `isAutoSkipped` leaves no
such trace.
"""

from typing import Any
from uuid import UUID

from ariadne import MutationType, QueryType
from graphql import GraphQLResolveInfo
from psycopg.types.json import Jsonb

from provisioning_pipeline.sandbox.twenty.callers import (
    require_user,
    require_workspace,
    workspace_by_id,
)
from provisioning_pipeline.sandbox.twenty.options import TwentyOptions
from provisioning_pipeline.sandbox.twenty.runtime import Call, call_of
from provisioning_pipeline.sandbox.twenty.store import Row, Session
from provisioning_pipeline.sandbox.twenty.versions import (
    BOOK_CALL,
    CONNECT_ACCOUNT,
    CREATE_PROFILE,
    INSTALL_APPS,
    INVITE_TEAM,
)

query = QueryType()
mutation = MutationType()
newer_mutation = MutationType()
"""What 2.38 has besides."""

HISTORY = "ONBOARDING_REVERSIBLE_STEP_HISTORY"


def steps(options: TwentyOptions) -> tuple[tuple[str, str], ...]:
    """Keys and statuses in the order in which this server looks for them."""
    return options.traits.steps + tuple((step.key, step.status) for step in options.further_steps)


async def begin_for_creator(db: Session, options: TwentyOptions, user_id: UUID, workspace_id: UUID) -> None:
    """Set what stands before the one who makes a workspace, and before everyone in it."""
    further = (step.key for step in options.further_steps if step.for_creator)
    paying = (BOOK_CALL,) if options.billing and options.traits.reversible else ()
    for key in (*options.traits.creator, *paying, *further):
        await set_pending(db, key, user_id, workspace_id)
    await set_pending(db, INVITE_TEAM, None, workspace_id)


async def begin_for_new_account(db: Session, options: TwentyOptions, user_id: UUID, workspace_id: UUID) -> None:
    """Set what stands before an account that is created by joining."""
    for key in options.traits.new_account:
        await set_pending(db, key, user_id, workspace_id)


async def begin_for_joiner(db: Session, options: TwentyOptions, user_id: UUID, workspace_id: UUID) -> None:
    """Set what stands before everyone who joins, new account or not."""
    further = (step.key for step in options.further_steps if step.for_joiners)
    for key in (CREATE_PROFILE, *further):
        await set_pending(db, key, user_id, workspace_id)


async def end_invite_team(
    db: Session, options: TwentyOptions, sender: UUID, workspace_id: UUID, *, invited: bool
) -> None:
    """Clear the step of the team."""
    await clear(db, INVITE_TEAM, None, workspace_id)
    if options.traits.reversible:
        done = [] if invited else [*await _history(db, sender, workspace_id), "INVITE_TEAM"]
        await _write_history(db, done, sender, workspace_id)


async def finish_profile(db: Session, options: TwentyOptions, user_id: UUID, workspace_id: UUID) -> None:
    """Clear the step of the name."""
    await clear(db, CREATE_PROFILE, user_id, workspace_id)
    if options.traits.reversible:
        await _push(db, "PROFILE_CREATION", user_id, workspace_id)


async def set_pending(db: Session, key: str, user_id: UUID | None, workspace_id: UUID) -> None:
    """Put a step before a user, or (user None) before everyone in the workspace."""
    await _write(db, key, Jsonb(True), user_id, workspace_id)


async def _write(db: Session, key: str, value: Jsonb, user_id: UUID | None, workspace_id: UUID) -> None:
    # Update first, for the unique indexes of newer servers are other ones than those of 2.21.
    changed = await db.run(
        'UPDATE core."keyValuePair" SET value = %s, "updatedAt" = now() WHERE key = %s AND "workspaceId" = %s'
        " AND \"userId\" IS NOT DISTINCT FROM %s AND type = 'USER_VARIABLE'",
        value,
        key,
        workspace_id,
        user_id,
    )
    if not changed:
        await db.run(
            'INSERT INTO core."keyValuePair" ("userId", "workspaceId", key, value, type)'
            " VALUES (%s, %s, %s, %s, 'USER_VARIABLE') ON CONFLICT DO NOTHING",
            user_id,
            workspace_id,
            key,
            value,
        )


async def _history(db: Session, user_id: UUID, workspace_id: UUID) -> list[str]:
    done = (await user_variables(db, user_id, workspace_id)).get(HISTORY)
    return [str(step) for step in done] if isinstance(done, list) else []


async def _write_history(db: Session, done: list[str], user_id: UUID, workspace_id: UUID) -> None:
    await _write(db, HISTORY, Jsonb(done), user_id, workspace_id)


async def _push(db: Session, status: str, user_id: UUID, workspace_id: UUID) -> None:
    done = await _history(db, user_id, workspace_id)
    await _write_history(db, [*done, status], user_id, workspace_id)


async def previous_status(db: Session, options: TwentyOptions, user_id: UUID, workspace_id: UUID) -> str | None:
    """The step that `goBackToPreviousOnboardingStep` would put before this user again."""
    done = await _history(db, user_id, workspace_id)
    return done[-1] if options.traits.reversible and done else None


async def clear(db: Session, key: str, user_id: UUID | None, workspace_id: UUID) -> bool:
    """Delete the row of one level, and say whether there was one; a row at another level still shows the step."""
    deleted = await db.run(
        'DELETE FROM core."keyValuePair" WHERE key = %s AND "workspaceId" = %s'
        " AND \"userId\" IS NOT DISTINCT FROM %s AND type = 'USER_VARIABLE'",
        key,
        workspace_id,
        user_id,
    )
    return deleted > 0


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
    if workspace["activationStatus"] in ("PENDING_CREATION", "ONGOING_CREATION"):
        return "WORKSPACE_ACTIVATION"
    # No one pays here: with billing on, newer servers ask for a plan until the workspace is more than CREATED.
    unpaid = options.billing and (not options.traits.reversible or workspace["activationStatus"] == "CREATED")
    variables = await user_variables(db, user_id, workspace_id)
    for key, name in steps(options):
        if variables.get(key) is True and (key != BOOK_CALL or unpaid):
            return name
    return "PLAN_REQUIRED" if unpaid else "COMPLETED"


def _person_in_workspace(call: Call) -> tuple[UUID, UUID]:
    workspace = require_workspace(call)
    return require_user(call)["id"], workspace["id"]


@mutation.field("skipSyncEmailOnboardingStep")
async def skip_sync_email(_: None, info: GraphQLResolveInfo, isAutoSkipped: bool = False) -> Row:
    await _finish(call_of(info), CONNECT_ACCOUNT, None if isAutoSkipped else "SYNC_EMAIL")
    return {"success": True}


@mutation.field("triggerInstallAppsOnboardingStep")
async def trigger_install_apps(
    _: None, info: GraphQLResolveInfo, universalIdentifiers: list[str], isAutoSkipped: bool = False
) -> Row:
    del universalIdentifiers  # the sandbox has no applications to install
    await _finish(call_of(info), INSTALL_APPS, None if isAutoSkipped else "APPS_INSTALLATION")
    return {"success": True}


@newer_mutation.field("completeBookCallOnboardingStep")
async def complete_book_call(
    _: None, info: GraphQLResolveInfo, hasBookedCall: bool = False, isAutoSkipped: bool = False
) -> Row:
    del hasBookedCall  # it only counts for the statistics of the real one
    await _finish(call_of(info), BOOK_CALL, None if isAutoSkipped else "BOOK_CALL")
    return {"success": True}


async def _finish(call: Call, key: str, told: str | None) -> None:
    """Clear a step of the caller's own, and remember it under a status unless that is None."""
    user_id, workspace_id = _person_in_workspace(call)
    cleared = await clear(call.db, key, user_id, workspace_id)
    if cleared and told is not None and call.runtime.options.traits.reversible:
        await _push(call.db, told, user_id, workspace_id)


@newer_mutation.field("goBackToPreviousOnboardingStep")
async def go_back(_: None, info: GraphQLResolveInfo) -> Row:
    """Puts the step that was done last before the caller again: all of them at the caller's own level."""
    call = call_of(info)
    options = call.runtime.options
    user_id, workspace_id = _person_in_workspace(call)
    done = await _history(call.db, user_id, workspace_id)
    keys = {status: key for key, status in steps(options)}
    if done and done[-1] in keys:
        await set_pending(call.db, keys[done[-1]], user_id, workspace_id)
        await _write_history(call.db, done[:-1], user_id, workspace_id)
    return {
        "onboardingStatus": await status(call.db, options, user_id, workspace_id),
        "previousOnboardingStatus": await previous_status(call.db, options, user_id, workspace_id),
    }


@query.field("getInviteSuggestions")
async def invite_suggestions(_: None, info: GraphQLResolveInfo) -> list[Row]:
    _person_in_workspace(call_of(info))
    return []  # drawn from connected mailboxes, of which the sandbox has none
