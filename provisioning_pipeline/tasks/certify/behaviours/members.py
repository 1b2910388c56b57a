"""Members: joining by the invite link, roles, names, logins, and impersonation."""

from dataclasses import replace
from typing import Any

from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.accounts import Account
from provisioning_pipeline.clients.twenty.errors import is_no_member, is_unknown_user, is_wrong_password
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.people import ADMIN_ROLE
from provisioning_pipeline.tasks.certify.seeing import Behaviour, Seen, denied, in_words, must, refusal, refused
from provisioning_pipeline.tasks.certify.trial import JUNK, UNKNOWN_ID, Trial

_MEMBER_ROLE = "Member"


async def _join(trial: Trial) -> str:
    account = await trial.joined()
    entry = await trial.entry(account, trial.in_main())
    must(entry.workspace_member_id, "there is a membership and no member record")
    must(
        not await trial.database.has_invitation(trial.in_main().address.workspace_id, account.email),
        "it left an invitation",
    )
    return f"an account, a membership and a member record, role {entry.role}"


async def _default_role(trial: Trial) -> str:
    place, account = trial.in_main(), await trial.joined()
    rows = await trial.ask(
        'SELECT r.label FROM core.workspace w JOIN core.role r ON r.id = w."defaultRoleId" WHERE w.id = %s',
        place.address.workspace_id,
    )
    role = (await trial.entry(account, place)).role
    must(rows and role == rows[0]["label"], f"the role is {role}, the default {rows[0]['label'] if rows else 'none'}")
    return f"{role}, the workspace's default"


async def _join_twice(trial: Trial) -> str:
    place, account = trial.in_main(), await trial.joined()
    before = await trial.entry(account, place)
    await trial.join(account, place)
    must(await trial.entry(account, place) == before, "the second time changed the membership")
    rows = await trial.ask('SELECT count(*) AS n FROM core."userWorkspace" WHERE "userId" = %s', before.user_id)
    must(rows[0]["n"] == 1, f"there are {rows[0]['n']} memberships")
    return "one account, one membership"


async def _join_with_other_password(trial: Trial) -> Seen:
    place, account = trial.in_main(), trial.with_other_password(await trial.joined(trial.in_other()))
    fault = await refused(trial.join(account, place))
    must(is_wrong_password(fault.error) and fault.reason is Reason.FOREIGN_PASSWORD, in_words(fault.error))
    found = (await trial.database.records.roster(place.address.workspace_id)).of(None, account.email)
    must(found is None, "they became a member all the same")
    return Seen(in_words(fault.error), differs=not fault.error.message.startswith("Wrong password"))


async def _join_elsewhere(trial: Trial) -> str:
    place, account = trial.in_main(), await trial.joined_both()
    entry = await trial.entry(Account(account.email, account.password), place)
    must(entry.user_id == account.user_id, "they got a second account")
    must(entry.workspace_member_id, "they have no member record")
    return "the same account in both"


async def _link_off(trial: Trial) -> Seen:
    place = trial.in_main()
    member = await trial.joined()
    await trial.client.invite_links.turn_off(place.address)
    try:
        stranger = trial.person()
        fault = await refused(trial.join(stranger, place))
        must(fault.reason is Reason.INVITE_LINK_DISABLED, in_words(fault.error))
        again = await refused(trial.join(member, place))
        must(again.reason is Reason.INVITE_LINK_DISABLED, f"a member is {in_words(again.error)}")
        must(not await trial.database.user_ids(stranger.email), "an account was made all the same")
    finally:
        await trial.client.invite_links.turn_on(place.address)
    link = await trial.client.invite_links.read(place.address)
    must(link.enabled and link.hash == place.invite_hash, "the link is another one after it was off and on")
    await trial.join(trial.person(), place)
    return Seen(f"{in_words(fault.error)}; on again, the same link works")


async def _link_renewed(trial: Trial) -> Seen:
    place = trial.in_other()
    before = replace(place)
    place.invite_hash = await trial.client.invite_links.renew(place.address)
    link = await trial.client.invite_links.read(place.address)
    must(link.hash == place.invite_hash and link.enabled, "the workspace says another link, or that it is off")
    stranger = trial.person()
    fault = await refused(trial.join(stranger, before))
    must(not await trial.database.user_ids(stranger.email), "an account was made all the same")
    await trial.join(stranger, place)
    must((await trial.entry(stranger, place)).workspace_member_id, "they have no member record")
    return Seen(f"the one of before: {in_words(fault.error)}; by the new one they join")


async def _roles(trial: Trial) -> str:
    roles = trial.in_main().roles
    must({ADMIN_ROLE, _MEMBER_ROLE} <= set(roles), f"there are {', '.join(sorted(roles)) or 'none'}")
    return ", ".join(sorted(roles))


async def _set_role(trial: Trial) -> str:
    place, account = trial.in_main(), await trial.joined()
    member = await trial.member_id(account, place)
    for role in (ADMIN_ROLE, ADMIN_ROLE, _MEMBER_ROLE):
        await trial.client.set_role(place.address, member, place.roles[role])
        found = (await trial.entry(account, place)).role
        must(found == role, f"after setting {role} it is {found}")
    return "Admin, Admin again, Member: each in effect at once"


def _role(member: str, role: str) -> dict[str, str]:
    return {"workspaceMemberId": member, "roleId": role}


async def _role_by_member(trial: Trial) -> Any:
    place, account = trial.in_main(), await trial.joined()
    variables = _role(await trial.member_id(account, place), place.roles[ADMIN_ROLE])
    return await trial.call(operations.UPDATE_WORKSPACE_MEMBER_ROLE, variables, await trial.token(account, place))


async def _unknown_role(trial: Trial) -> Any:
    member = await trial.member_id(await trial.joined(), trial.in_main())
    return await trial.by_admin(operations.UPDATE_WORKSPACE_MEMBER_ROLE, _role(member, UNKNOWN_ID))


async def _lowered(trial: Trial, member: str) -> Any:
    variables = _role(member, trial.in_main().roles[_MEMBER_ROLE])
    return await trial.by_admin(operations.UPDATE_WORKSPACE_MEMBER_ROLE, variables)


async def _set_name(trial: Trial) -> str:
    place, account = trial.in_main(), await trial.joined()
    await trial.client.set_name(place.address, await trial.member_id(account, place), "Certified", "Person")
    seen = await trial.client.current_user(account, place.address)
    must((seen.first_name, seen.last_name) == ("Certified", "Person"), f"they are {seen.first_name} {seen.last_name}")
    return "the member sees the name"


async def _name_of_other_by_member(trial: Trial) -> Any:
    member = await trial.member_id(await trial.joined(), trial.in_main())
    update = {"name": {"firstName": "Not", "lastName": "Theirs"}}
    variables = {"workspaceMemberId": member, "update": update}
    return await trial.by_member(operations.UPDATE_WORKSPACE_MEMBER_SETTINGS, variables)


async def _login(trial: Trial) -> str:
    place, account = trial.in_main(), await trial.joined()
    seen = await trial.client.current_user(account, place.address, by_new_login=True)
    must(seen.workspace_id == place.address.workspace_id, "it leads into another workspace")
    must(seen.user_id == account.user_id and seen.workspace_member_id, "it is another person's")
    return "the right person in the right workspace"


async def _login_of(trial: Trial, account: Account) -> Any:
    variables = {**account.credentials(), "origin": trial.in_main().address.url}
    return await trial.call(operations.GET_LOGIN_TOKEN_FROM_CREDENTIALS, variables, None)


async def _login_with_wrong_password(trial: Trial) -> Any:
    return await _login_of(trial, trial.with_other_password(await trial.joined()))


async def _login_of_no_member(trial: Trial) -> Any:
    return await _login_of(trial, await trial.joined(trial.in_other()))


async def _impersonate(trial: Trial) -> str:
    place, account = trial.in_main(), await trial.joined()
    token = await trial.client.impersonation_token(account.user_id or "", place.address)
    entered = await trial.session.exchange(Account(account.email, account.password), place.address, token.value)
    trial.session.forget(account, place.address)
    answer = await trial.call(operations.CURRENT_USER, {}, entered)
    must(answer.id == account.user_id, "it leads in as another person")
    return "exactly that person, without their password"


async def _impersonate_by_member(trial: Trial) -> Any:
    variables = _impersonated(trial, (await trial.joined()).user_id)
    return await trial.by_member(operations.IMPERSONATE, variables)


def _impersonated(trial: Trial, user_id: str | None) -> dict[str, Any]:
    return {"userId": user_id, "workspaceId": trial.in_main().address.workspace_id}


async def _invitation(trial: Trial) -> str:
    """An invitation put in place by SQL, so that no e-mail leaves."""
    place, account = trial.in_main(), await trial.joined(trial.in_other())
    await trial.write(
        """
        INSERT INTO core."appToken" ("workspaceId", type, value, context, "expiresAt")
        VALUES (%s, 'INVITATION_TOKEN', %s, jsonb_build_object('email', %s::text), now() + interval '1 day')
        """,
        place.address.workspace_id,
        f"certify-{trial.run}",
        account.email,
    )
    withdrawn = await trial.client.withdraw_invitations(place.address, account.email)
    must(withdrawn == 1, f"{withdrawn} invitations were found")
    must(not await trial.database.has_invitation(place.address.workspace_id, account.email), "it is still open")
    fault = await refused(_login_of(trial, account))
    must(is_no_member(fault.error), in_words(fault.error))
    return "listed, withdrawn, and good for nothing afterwards"


JOINING = (
    Behaviour("joining by the invite link", "makes account, membership and member record, and no invitation", _join),
    Behaviour("the role of a person who joins", "is the workspace's default role", _default_role),
    Behaviour("joining twice", "is joining once", _join_twice),
    Behaviour(
        "joining with another password",
        "is refused with Wrong password, and changes nothing",
        _join_with_other_password,
    ),
    Behaviour("joining with an account from another workspace", "keeps the account", _join_elsewhere),
    refusal(
        "joining with an invite link that is none",
        lambda trial: trial.sign_up("certify-no-hash"),
        "Workspace creation is restricted to admins",
        "FORBIDDEN",
        "FORBIDDEN_EXCEPTION",
    ),
    Behaviour("the invite link switched off", "refuses everyone, members too, and comes back the same", _link_off),
    denied(
        "switching the invite link off as a Member",
        lambda trial: trial.by_member(operations.UPDATE_WORKSPACE, {"isPublicInviteLinkEnabled": False}),
    ),
    Behaviour("an invite link that was renewed", "lets people join; the earlier one lets no one join", _link_renewed),
    denied(
        "renewing the invite link as a Member",
        lambda trial: trial.by_member(operations.RENEW_INVITE_LINK, {"inviteHash": trial.in_main().invite_hash}),
    ),
    Behaviour("an open invitation", "is listed, and lets no one in once it is withdrawn", _invitation),
)
BEING = (
    Behaviour("roles", f"{ADMIN_ROLE} and {_MEMBER_ROLE} are there", _roles),
    Behaviour("setting a role", "is in effect at once; the same again changes nothing", _set_role),
    denied("setting a role as a Member", _role_by_member),
    refusal(
        "setting a role that is none", _unknown_role, "Could not find role for given roleId", "INTERNAL_SERVER_ERROR"
    ),
    refusal(
        "setting the role of no member",
        lambda trial: _lowered(trial, UNKNOWN_ID),
        "Workspace member not found",
        "INTERNAL_SERVER_ERROR",
    ),
    refusal(
        "lowering oneself, the last Admin",
        lambda trial: _lowered(trial, trial.in_main().own_member_id),
        "Cannot update self role",
        "FORBIDDEN",
        "CANNOT_UPDATE_SELF_ROLE",
    ),
    Behaviour("setting a name", "is what the member sees", _set_name),
    denied("setting another's name as a Member", _name_of_other_by_member),
    Behaviour("a login by password", "leads into that workspace as that person", _login),
    refusal(
        "a login with a wrong password",
        _login_with_wrong_password,
        "Wrong password",
        "FORBIDDEN",
        "FORBIDDEN_EXCEPTION",
        tells=lambda fault: is_wrong_password(fault.error),
    ),
    refusal(
        "a login of a person who is no member",
        _login_of_no_member,
        "User is not a member of the workspace.",
        "FORBIDDEN",
        "FORBIDDEN_EXCEPTION",
        tells=lambda fault: is_no_member(fault.error),
    ),
    refusal(
        "a login without an account",
        lambda trial: _login_of(trial, trial.person()),
        "User not found",
        "UNAUTHENTICATED",
        "USER_NOT_FOUND",
        tells=lambda fault: is_unknown_user(fault.error),
    ),
    Behaviour("impersonation", "leads in as exactly that person", _impersonate),
    denied("impersonation by a Member", _impersonate_by_member),
    refusal(
        "impersonation of no account",
        lambda trial: trial.by_admin(operations.IMPERSONATE, _impersonated(trial, UNKNOWN_ID)),
        "User not found in workspace or impersonation not enabled",
        "UNAUTHENTICATED",
        "USER_WORKSPACE_NOT_FOUND",
        tells=lambda fault: is_no_member(fault.error),
    ),
    refusal(
        "impersonation with a token that is none",
        lambda trial: trial.call(operations.IMPERSONATE, _impersonated(trial, UNKNOWN_ID), JUNK),
        "Token invalid.",
        "UNAUTHENTICATED",
        "UNAUTHENTICATED",
    ),
)
