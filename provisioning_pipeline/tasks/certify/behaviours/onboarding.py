"""The wizard: which steps are pending, what clears them, and which rows win at which level."""

from collections.abc import Awaitable, Callable, Mapping

from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.accounts import Account
from provisioning_pipeline.clients.twenty.operation import Operation
from provisioning_pipeline.clients.twenty.operations import STEP_CALLS, Success
from provisioning_pipeline.model.onboarding import (
    BOOK_CALL,
    COMPLETED,
    CONNECT_ACCOUNT,
    CREATE_PROFILE,
    INSTALL_APPS,
    INVITE_TEAM,
)
from provisioning_pipeline.tasks.certify.seeing import Behaviour, Seen, denied, must, refusal
from provisioning_pipeline.tasks.certify.trial import Place, Trial, Unseen

_CREATOR = frozenset({CONNECT_ACCOUNT, INSTALL_APPS, CREATE_PROFILE})
_NEW_ACCOUNT = frozenset({INSTALL_APPS, CREATE_PROFILE})
_STATUS: Mapping[str, str] = {
    CONNECT_ACCOUNT: "SYNC_EMAIL",
    INSTALL_APPS: "APPS_INSTALLATION",
    CREATE_PROFILE: "PROFILE_CREATION",
    INVITE_TEAM: "INVITE_TEAM",
}
_Clear = Callable[[Trial, Account, Place], Awaitable[None]]
_SHOWS = "shows; only SQL removes it; a narrower false hides it"


def _named(keys: set[str] | frozenset[str]) -> str:
    return ", ".join(sorted(key.removeprefix("ONBOARDING_").removesuffix("_PENDING") for key in keys)) or "none"


async def _creator_flags(trial: Trial) -> Seen:
    place = trial.in_other()
    own = await trial.pending(place, place.own_user_id)
    for_all = await trial.pending(place, None)
    text = f"{_named(own)}; of the whole workspace {_named(for_all)}"
    must(CREATE_PROFILE in own, text)
    return Seen(text, differs=own != _CREATOR or for_all != {INVITE_TEAM})


async def _joiner_flags(trial: Trial) -> Seen:
    account = await trial.joined()
    found = await trial.pending(trial.in_main(), account.user_id)
    must(CREATE_PROFILE in found, f"{_named(found)}: without CREATE_PROFILE")
    unknown = found - set(_STATUS)
    more = f"; {_named(unknown)} is not known here, and is removed by SQL" if unknown else ""
    return Seen(_named(found) + more, differs=found != _NEW_ACCOUNT)


async def _second_joiner_flags(trial: Trial) -> Seen:
    place, account = trial.in_main(), await trial.joined_both()
    found = await trial.pending(place, account.user_id)
    must(CREATE_PROFILE in found, f"{_named(found)}: without CREATE_PROFILE")
    return Seen(_named(found), differs=found != {CREATE_PROFILE})


async def _call_of(trial: Trial, key: str) -> Operation[Success]:
    call = await trial.client.step_call(key)
    if call is None:
        raise Unseen("this server has no call that clears it; its rows are removed by SQL")
    return call


def _cleared_by(key: str, clear: _Clear) -> Callable[[Trial], Awaitable[str]]:
    async def see(trial: Trial) -> str:
        if key in STEP_CALLS:
            await _call_of(trial, key)
        place, account = trial.in_main(), await trial.joined()
        await trial.drop_flags(account)
        await trial.set_flag(key, account.user_id, place.address.workspace_id)
        shown = await trial.status(account, place)
        must(shown == _STATUS[key], f"with its row set the wizard shows {shown}")
        await clear(trial, account, place)
        must(not await trial.pending(place, account.user_id), "its row is still there")
        await clear(trial, account, place)
        after = await trial.status(account, place)
        must(after != _STATUS[key], f"the wizard still shows {after}")
        return f"{_STATUS[key]} is shown, cleared at once, and clearing it again harms nothing"

    return see


def _by_its_call(key: str) -> _Clear:
    async def clear(trial: Trial, account: Account, place: Place) -> None:
        await trial.client.clear_step(account, place.address, await _call_of(trial, key))

    return clear


async def _book_call(trial: Trial) -> str:
    """A step that shows only where billing asks for a plan; its row is in no one's way, and is cleared."""
    place, account = trial.in_main(), await trial.joined()
    await _call_of(trial, BOOK_CALL)
    await trial.set_flag(BOOK_CALL, account.user_id, place.address.workspace_id)
    await _by_its_call(BOOK_CALL)(trial, account, place)
    must(BOOK_CALL not in await trial.pending(place, account.user_id), "its row is still there")
    return "its row is gone"


async def _name(trial: Trial, account: Account, place: Place) -> None:
    await trial.client.set_name(place.address, await trial.member_id(account, place), "Certified", "Person")


async def _impersonated_skip(trial: Trial) -> str:
    place, account = trial.in_main(), await trial.joined()
    await trial.drop_flags(account)
    await trial.set_flag(CONNECT_ACCOUNT, account.user_id, place.address.workspace_id)
    foreign = Account(account.email, trial.with_other_password(account).password, account.user_id)
    trial.session.forget(account, place.address)
    await _by_its_call(CONNECT_ACCOUNT)(trial, foreign, place)
    trial.session.forget(account, place.address)
    must(not await trial.pending(place, account.user_id), "its row is still there")
    return "cleared as that person, without their password"


async def _invite_team(trial: Trial) -> str:
    place, account = trial.in_main(), await trial.joined()
    await trial.drop_flags(account)
    if INVITE_TEAM not in await trial.pending(place, None):
        await trial.set_flag(INVITE_TEAM, None, place.address.workspace_id)
    shown = await trial.status(account, place)
    must(shown == "INVITE_TEAM", f"a member's wizard shows {shown}")
    await trial.client.skip_team_invitations(place.address)
    must(INVITE_TEAM not in await trial.pending(place, None), "its row is still there")
    shown = await trial.status(account, place)
    must(shown == COMPLETED, f"a member's wizard shows {shown} after it")
    return "shown to everyone, cleared for everyone by an empty list of invitations"


def _at_level(wide: str) -> Callable[[Trial], Awaitable[str]]:
    """A row at a wider level shows the wizard, no call of that person's removes it, and SQL does at once."""

    async def see(trial: Trial) -> str:
        place, account = trial.in_main(), await trial.joined()
        await trial.drop_flags(account)
        await _clear_workspace_wide(trial, place)
        user_id = account.user_id if wide == "user" else None
        workspace_id = place.address.workspace_id if wide == "workspace" else None
        await trial.set_flag(CONNECT_ACCOUNT, user_id, workspace_id)
        try:
            shown = await trial.status(account, place)
            must(shown == "SYNC_EMAIL", f"the wizard shows {shown}")
            await _by_its_call(CONNECT_ACCOUNT)(trial, account, place)
            still = await trial.status(account, place)
            must(still == "SYNC_EMAIL", f"the person's own call cleared it, which it does not on 2.21: {still}")
            await trial.set_flag(CONNECT_ACCOUNT, account.user_id, place.address.workspace_id, "false")
            hidden = await trial.status(account, place)
            must(hidden == COMPLETED, f"a false row at the narrowest level does not hide it: {hidden}")
        finally:
            await _drop(trial, user_id, workspace_id)
        await trial.drop_flags(account)
        after = await trial.status(account, place)
        must(after == COMPLETED, f"the wizard shows {after} after the row was removed by SQL")
        return "shown; no call clears it; a false row below hides it; gone at once when removed by SQL"

    return see


async def _clear_workspace_wide(trial: Trial, place: Place) -> None:
    if INVITE_TEAM in await trial.pending(place, None):
        await trial.client.skip_team_invitations(place.address)


async def _drop(trial: Trial, user_id: str | None, workspace_id: str | None) -> None:
    await trial.write(
        'DELETE FROM core."keyValuePair" WHERE key = %s AND "userId" IS NOT DISTINCT FROM %s::uuid '
        'AND "workspaceId" IS NOT DISTINCT FROM %s::uuid',
        CONNECT_ACCOUNT,
        user_id,
        workspace_id,
    )


async def _completed(trial: Trial) -> str:
    place, account = trial.in_main(), await trial.joined()
    pending = await trial.pending(place, account.user_id)
    for key in sorted(pending):
        call = await trial.client.step_call(key)
        if call is not None:
            await trial.client.clear_step(account, place.address, call)
    await _name(trial, account, place)
    await _clear_workspace_wide(trial, place)
    left = await trial.pending(place, account.user_id)
    if left:
        await trial.drop_flags(account)
    seen = await trial.client.current_user(account, place.address, by_new_login=True)
    must(seen.onboarding_status == COMPLETED, f"a new login reads {seen.onboarding_status}")
    must(seen.workspace_id == place.address.workspace_id, "in another workspace")
    return "a new login reads COMPLETED" + (f" once SQL removed {_named(left)}" if left else " by calls alone")


FLAGS = (
    Behaviour(
        "what is pending for who makes a workspace", f"{_named(_CREATOR)}; of the workspace INVITE_TEAM", _creator_flags
    ),
    Behaviour("what is pending for a new account that joins", _named(_NEW_ACCOUNT), _joiner_flags),
    Behaviour("what is pending for an account that joins a second workspace", "CREATE_PROFILE", _second_joiner_flags),
    Behaviour(
        "the step SYNC_EMAIL",
        "is shown while its row is set, and cleared by its call",
        _cleared_by(CONNECT_ACCOUNT, _by_its_call(CONNECT_ACCOUNT)),
    ),
    Behaviour(
        "the step APPS_INSTALLATION",
        "is shown while its row is set, and cleared by its call where the server has it",
        _cleared_by(INSTALL_APPS, _by_its_call(INSTALL_APPS)),
    ),
    Behaviour(
        "the step PROFILE_CREATION",
        "is shown while its row is set, and cleared by a name",
        _cleared_by(CREATE_PROFILE, _name),
    ),
    Behaviour("the step BOOK_CALL", "is cleared by its call where the server has it", _book_call),
    Behaviour("the step INVITE_TEAM", "is shown to everyone, and cleared by inviting no one", _invite_team),
    Behaviour(
        "a step cleared by impersonation", "is cleared as that person, without their password", _impersonated_skip
    ),
    refusal(
        "clearing a step without a token",
        lambda trial: trial.call(operations.SKIP_SYNC_EMAIL, {}, None),
        "Forbidden resource",
        "FORBIDDEN",
    ),
    denied("inviting no one as a Member", lambda trial: trial.by_member(operations.SEND_INVITATIONS, {"emails": []})),
    Behaviour(
        "a row of one person at every workspace",
        "shows; only SQL removes it; a narrower false hides it",
        _at_level("user"),
    ),
    Behaviour("a row of a whole workspace", _SHOWS, _at_level("workspace")),
    Behaviour("the end of the wizard", "a new login reads COMPLETED", _completed),
)
