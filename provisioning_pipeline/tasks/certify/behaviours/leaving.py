"""Leaving: a removal is in effect at once, proved by tokens and logins, and half members are told and mended."""

from typing import Any

from psycopg import sql

from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.accounts import Account
from provisioning_pipeline.clients.twenty.errors import TwentyFault, is_duplicate, is_no_member, is_without_record
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.tasks.certify.seeing import (
    Behaviour,
    Seen,
    Unexpected,
    denied,
    in_words,
    must,
    refusal,
    refused,
)
from provisioning_pipeline.tasks.certify.trial import UNKNOWN_ID, Place, Trial


async def _removal(trial: Trial) -> str:
    place, account = trial.in_main(), await trial.joined_both()
    await _remove_and_try(trial, account, place)
    other = await trial.client.current_user(account, trial.in_other().address, by_new_login=True)
    must(other.workspace_id == trial.in_other().address.workspace_id, "they cannot come into their other workspace")
    return "the token from before and a new login are refused; the other workspace stays open"


async def _last_workspace(trial: Trial) -> str:
    place, account = trial.in_main(), await trial.joined()
    await _remove_and_try(trial, account, place)
    must(not await trial.database.user_ids(account.email), "the account is still there")
    return "the account went with its last workspace; nothing lets them in"


async def _remove_and_try(trial: Trial, account: Account, place: Place) -> None:
    token = await trial.token(account, place)
    await trial.remove(account, place)
    still = await trial.client.lets_in(account, place.address, token)
    must(still is None, f"{still}")


async def _joins_again(trial: Trial) -> str:
    place, account = trial.in_main(), await trial.joined()
    before = account.user_id
    await trial.remove(account, place)
    again = Account(account.email, account.password)
    await trial.join(again, place)
    entry = await trial.entry(again, place)
    must(entry.workspace_member_id, "they have no member record")
    return "a whole member again, " + ("the same account" if entry.user_id == before else "by a new account")


async def _removed_is_not_impersonated(trial: Trial) -> Seen:
    place, account = trial.in_main(), await trial.joined_both()
    await trial.remove(account, place)
    variables = {"userId": account.user_id, "workspaceId": place.address.workspace_id}
    fault = await refused(trial.by_admin(operations.IMPERSONATE, variables))
    must(is_no_member(fault.error), in_words(fault.error))
    return Seen(in_words(fault.error))


async def _twice(trial: Trial) -> str:
    place, account = trial.in_main(), await trial.joined()
    member = await trial.member_id(account, place)
    for _ in range(2):
        await trial.client.remove_member(place.address, member)
    return "the second is recognised as done already"


async def _by_member(trial: Trial) -> Any:
    member = await trial.member_id(await trial.joined(), trial.in_main())
    return await trial.by_member(operations.DELETE_USER_FROM_WORKSPACE, {"workspaceMemberIdToDelete": member})


async def _without_record(trial: Trial) -> str:
    place, account = trial.in_main(), await trial.joined()
    await _delete_record(trial, place, account, 'DELETE FROM {} WHERE "userId" = %s')
    trial.session.forget(account, place.address)
    variables = {**account.credentials(), "origin": place.address.url}
    login = await trial.call(operations.GET_LOGIN_TOKEN_FROM_CREDENTIALS, variables, None)
    exchange = {"loginToken": login.login_token.token, "origin": place.address.url}
    fault = await refused(trial.call(operations.GET_AUTH_TOKENS_FROM_LOGIN_TOKEN, exchange, None))
    must(is_without_record(fault.error), in_words(fault.error))
    entry = await trial.entry(account, place)
    must(entry.workspace_member_id is None, "the roster shows a member record")
    assert account.user_id is not None
    await trial.database.records.retire_membership(place.address.workspace_id, account.user_id)
    await trial.join(account, place)
    seen = await trial.client.current_user(account, place.address, by_new_login=True)
    must(seen.user_id == account.user_id and seen.workspace_member_id, "they are not whole after it")
    return f"login {in_words(fault.error)}; whole again once the membership is retired and they join"


async def _delete_record(trial: Trial, place: Place, account: Account, statement: str) -> None:
    await trial.write(sql.SQL(statement).format(await trial.member_table(place)), account.user_id)


async def _retire(trial: Trial, place: Place, account: Account) -> None:
    await trial.write(
        'UPDATE core."userWorkspace" SET "deletedAt" = now() '
        'WHERE "userId" = %s AND "workspaceId" = %s AND "deletedAt" IS NULL',
        account.user_id,
        place.address.workspace_id,
    )


async def _without_membership(trial: Trial) -> str:
    place, account = trial.in_main(), await trial.joined()
    member = await trial.member_id(account, place)
    await _retire(trial, place, account)
    must(await _is_half_member(trial, place, member), "the record was removed, although there is no membership")
    await trial.join(account, place)
    must(await trial.member_id(account, place) == member, "joining made another record")
    return "no removal; joining makes the membership again and keeps the record"


async def _deleted_record_blocks(trial: Trial) -> Seen:
    place, account = trial.in_main(), await trial.joined_both()
    await _delete_record(trial, place, account, 'UPDATE {} SET "deletedAt" = now() WHERE "userId" = %s')
    await _retire(trial, place, account)
    try:
        await trial.join(account, place)
        return Seen("they join all the same", differs=True)
    except TwentyFault as fault:
        must(is_duplicate(fault.error), in_words(fault.error))
        text = in_words(fault.error)
    workspace_id = place.address.workspace_id
    record = (await trial.database.records.roster(workspace_id)).deleted_of({account.user_id or ""})
    if record is None:
        raise Unexpected("the deleted record is not found again")
    await trial.database.records.restore(workspace_id, record)
    # each refused try leaves a membership without a role
    await _retire(trial, place, account)
    await trial.join(account, place)
    trial.session.forget(account, place.address)
    seen = await trial.client.current_user(account, place.address, by_new_login=True)
    must(seen.workspace_member_id == record.id, "they do not come in with their own record")
    return Seen(f"{text}; once the mark is taken off they join with their own record")


async def _no_role(trial: Trial) -> str:
    place, account = trial.in_main(), await trial.joined()
    member = await trial.member_id(account, place)
    await trial.write(
        'DELETE FROM core."roleTarget" WHERE "userWorkspaceId" IN (SELECT id FROM core."userWorkspace" '
        'WHERE "userId" = %s AND "workspaceId" = %s)',
        account.user_id,
        place.address.workspace_id,
    )
    must((await trial.entry(account, place)).role is None, "the roster shows a role")
    if not await _is_half_member(trial, place, member):
        return "a removal works without a role"
    await trial.grant(account, place, "Member")
    await trial.client.remove_member(place.address, member)
    return "a removal is refused as half a member, and works once they have a role"


async def _is_half_member(trial: Trial, place: Place, member: str) -> bool:
    """Whether this program refuses to remove them as half a member; if not, they are removed."""
    try:
        await trial.client.remove_member(place.address, member)
    except Fault as fault:
        must(fault.reason is Reason.HALF_MEMBER, fault.message)
        return True
    return False


REMOVAL = (
    Behaviour("a removal", "is proved: the token from before and a new login are refused", _removal),
    Behaviour(
        "a removal from the last workspace", "takes the account along, and nothing lets them in", _last_workspace
    ),
    Behaviour("a person who was removed", "joins again as a whole member", _joins_again),
    Behaviour(
        "impersonating a person who was removed",
        "is refused because there is no such member",
        _removed_is_not_impersonated,
    ),
    Behaviour("removing twice", "is removing once", _twice),
    denied("removing a person as a Member", _by_member),
    refusal(
        "removing no member",
        lambda trial: trial.by_admin(operations.DELETE_USER_FROM_WORKSPACE, {"workspaceMemberIdToDelete": UNKNOWN_ID}),
        "Workspace member to delete not found in workspace",
        "GRAPHQL_VALIDATION_FAILED",
        tells=lambda fault: fault.error.message.startswith("Workspace member to delete not found"),
    ),
)
HALVES = (
    Behaviour(
        "a membership without a member record",
        "lets no one in, and is mended by retiring it and joining",
        _without_record,
    ),
    Behaviour(
        "a member record without a membership",
        "cannot be removed, and is whole again after joining",
        _without_membership,
    ),
    Behaviour(
        "a soft-deleted member record",
        "blocks joining with: A duplicate entry was detected; without its mark it is theirs again",
        _deleted_record_blocks,
    ),
    Behaviour("a membership without a role", "is seen, and removed once it has one", _no_role),
)
