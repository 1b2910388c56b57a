"""Workspaces: made once, found again after a lost answer, activated as often as one asks, and closed until then."""

import asyncio
import time
from typing import Any

from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.accounts import WorkspaceAddress
from provisioning_pipeline.clients.twenty.errors import TwentyFault
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.tasks.certify.seeing import Behaviour, Seen, Unexpected, in_words, must, refusal, refused
from provisioning_pipeline.tasks.certify.trial import DISPLAY_NAME, JUNK, Blocked, Trial, subdomain

_NOWHERE = "http://certify-nowhere.localhost/"


def _made(trial: Trial) -> WorkspaceAddress:
    if trial.created is None:
        raise Blocked("no workspace could be made")
    return trial.created.address


async def _new(trial: Trial, name: str, domain: str) -> Any:
    token = await trial.agnostic()
    variables = {"displayName": name, "subdomain": domain}
    return await trial.call(operations.SIGN_UP_IN_NEW_WORKSPACE, variables, token)


async def _create(trial: Trial) -> str:
    trial.begun_at = await trial.database.now()
    trial.created = await trial.create("a")
    state = await trial.database.workspace_state(trial.created.address.workspace_id)
    if state is None:
        raise Unexpected("the database does not have it")
    must(state.activation_status == "PENDING_CREATION", f"its status is {state.activation_status}")
    return f"{state.activation_status}, at {trial.created.address.url}"


async def _creator_is_first(trial: Trial) -> str:
    address = _made(trial)
    members = await trial.database.members([address.workspace_id])
    ours = await trial.database.user_ids(trial.service.email)
    must(
        [user for _, user, _ in members] == ours,
        f"{len(members)} members, none of them or not only the service account",
    )
    return "the service account alone"


async def _adopted(trial: Trial) -> str:
    address, begun_at = _made(trial), trial.begun_at
    assert begun_at is not None
    domain = subdomain(trial.run, "a")
    fault = await refused(_new(trial, DISPLAY_NAME, domain))
    must(fault.reason is Reason.SUBDOMAIN_TAKEN, f"a second call is {in_words(fault.error)}")
    found = await trial.database.workspace_left_behind(domain, trial.service.email, begun_at)
    must(found == address.workspace_id, "it is not found again by subdomain, creator and time")
    return "a second call is refused, and the workspace found by subdomain, creator and time"


async def _listed(trial: Trial) -> str:
    address = _made(trial)
    found = await trial.client.address(address.workspace_id)
    must(found.url == address.url, f"the sign-in says {found.url}, the creation said {address.url}")
    return "listed with the same address"


async def _login_token(trial: Trial) -> str:
    address = _made(trial)
    assert trial.created is not None
    trial.token_before_activation = await trial.session.exchange(trial.service, address, trial.created.login_token)
    return "leads into the workspace"


async def _login_token_again(trial: Trial) -> Seen:
    if trial.created is None or trial.token_before_activation is None:
        raise Blocked("no login token was taken")
    variables = {"loginToken": trial.created.login_token, "origin": trial.created.address.url}
    try:
        await trial.call(operations.GET_AUTH_TOKENS_FROM_LOGIN_TOKEN, variables, None)
    except TwentyFault as fault:
        return Seen(f"good once: {in_words(fault.error)}", differs=True)
    return Seen("good again")


async def _pending_refuses_joins(trial: Trial) -> Seen:
    address = _made(trial)
    if trial.token_before_activation is None:
        raise Blocked("no one could enter it")
    link = await trial.call(operations.CURRENT_WORKSPACE, {}, trial.token_before_activation)
    fault = await refused(trial.sign_up(link.invite_hash))
    members = await trial.database.members([address.workspace_id])
    must(len(members) == 1, "a person became a member all the same")
    same = fault.error.message.startswith("Workspace is not ready to welcome new members")
    return Seen(in_words(fault.error), differs=not same)


async def _activate(trial: Trial) -> Seen:
    address = _made(trial)
    begun = time.monotonic()
    status = await trial.client.activate_workspace(address)
    took = time.monotonic() - begun
    trial.session.forget(trial.service, address)
    must(status == "ACTIVE", f"it answers {status}")
    trial.main = await trial.place(address)
    return Seen(f"ACTIVE after {took:.1f} s")


async def _activate_again(trial: Trial) -> str:
    place = trial.in_main()
    status = await trial.client.activate_workspace(place.address)
    trial.session.forget(trial.service, place.address)
    must(status == "ACTIVE", f"it answers {status}")
    link = await trial.client.invite_links.read(place.address)
    must(link.hash == place.invite_hash, "the invite link is another one since")
    return "ACTIVE, and nothing was made anew"


async def _activate_at_once(trial: Trial) -> str:
    """Two activations of a second workspace that is left with both: what a crash and the next run do."""
    created = await trial.create("b")
    token = await trial.session.exchange(trial.service, created.address, created.login_token)

    async def one() -> str:
        try:
            answer = await trial.call(operations.ACTIVATE_WORKSPACE, {}, token)
        except Fault as fault:
            must(fault.kind is FaultKind.BUSY, f"one of two calls at once is refused otherwise: {fault.message}")
            return "busy"
        return answer.activation_status

    answers = sorted(await asyncio.gather(one(), one()))
    trial.session.forget(trial.service, created.address)
    must("ACTIVE" in answers, f"the answers are {' and '.join(answers)}")
    trial.other = await trial.place(created.address)
    members = await trial.database.members([created.address.workspace_id])
    must(len(members) == 1, f"it has {len(members)} members after that")
    return f"{' and '.join(answers)}, one workspace with one member"


async def _token_from_before(trial: Trial) -> Seen:
    trial.in_main()
    if trial.token_before_activation is None:
        raise Blocked("there is no token from before")
    answer = await trial.call(operations.CURRENT_USER, {}, trial.token_before_activation)
    knows = answer.workspace_member is not None
    return Seen("still works" + ("" if knows else ", and knows no member record"), differs=False)


async def _no_workspace_at(trial: Trial) -> Seen:
    trial.in_main()
    variables = {**trial.service.credentials(), "origin": _NOWHERE}
    fault = await refused(trial.call(operations.GET_LOGIN_TOKEN_FROM_CREDENTIALS, variables, None))
    return Seen(in_words(fault.error), differs=fault.error.sub_code != "WORKSPACE_NOT_FOUND")


async def _own_account_stays(trial: Trial) -> str:
    place = trial.in_main()
    try:
        await trial.client.remove_member(place.address, place.own_member_id)
    except Fault as fault:
        must(fault.reason is Reason.LAST_ADMIN_KEPT, fault.message)
        return "this program itself refuses to remove it"
    raise Unexpected("the service account was removed")


MAKING = (
    Behaviour("making a workspace", "PENDING_CREATION, with a login token, an id and an address", _create),
    Behaviour("who is in a new workspace", "the service account alone", _creator_is_first),
    Behaviour(
        "adoption after a lost answer",
        "a second call is refused with SUBDOMAIN_ALREADY_TAKEN, and evidence finds the workspace",
        _adopted,
    ),
    Behaviour("the list of a sign-in", "has the new workspace, with the same address", _listed),
    refusal(
        "a subdomain that is not valid",
        lambda trial: _new(trial, DISPLAY_NAME, f"{subdomain(trial.run, 'x')}-"),
        "Subdomain is not valid",
        "CONFLICT",
        "SUBDOMAIN_NOT_VALID",
        tells=lambda fault: fault.reason is Reason.SUBDOMAIN_REFUSED,
    ),
    refusal(
        "a workspace name of 101 characters",
        lambda trial: _new(trial, DISPLAY_NAME.ljust(101, "."), subdomain(trial.run, "x")),
        "displayName must be shorter than or equal to 100 characters",
        "BAD_USER_INPUT",
    ),
    refusal(
        "a workspace name of blanks",
        lambda trial: _new(trial, "  ", subdomain(trial.run, "x")),
        "Workspace name is required",
        "BAD_USER_INPUT",
        "INVALID_INPUT",
    ),
    refusal(
        "making a workspace without a token",
        lambda trial: trial.call(
            operations.SIGN_UP_IN_NEW_WORKSPACE,
            {"displayName": DISPLAY_NAME, "subdomain": subdomain(trial.run, "x")},
            None,
        ),
        "Forbidden resource",
        "FORBIDDEN",
    ),
    refusal(
        "the login token for another workspace's address",
        lambda trial: trial.call(
            operations.GET_AUTH_TOKENS_FROM_LOGIN_TOKEN,
            {"loginToken": trial.created.login_token if trial.created else "", "origin": _NOWHERE},
            None,
        ),
        "Workspace not found",
        "UNAUTHENTICATED",
        "WORKSPACE_NOT_FOUND",
    ),
    Behaviour("the login token of a new workspace", "leads into it", _login_token),
    Behaviour(
        "the same login token a second time",
        "is good again, or is refused: this program uses each once",
        _login_token_again,
    ),
    Behaviour("joining before the activation", "is refused, and makes no one a member", _pending_refuses_joins),
    refusal(
        "an activation with a token that is none",
        lambda trial: trial.call(operations.ACTIVATE_WORKSPACE, {}, JUNK),
        "Token invalid.",
        "UNAUTHENTICATED",
        "UNAUTHENTICATED",
    ),
    Behaviour("activating a workspace", "ACTIVE", _activate),
    Behaviour("activating it again", "ACTIVE, and nothing is made anew", _activate_again),
    Behaviour("two activations at once", "one workspace; the other call is answered ACTIVE or busy", _activate_at_once),
    Behaviour("a token from before the activation", "is taken, so that a run may go on with it", _token_from_before),
    Behaviour("a login at an address without a workspace", "is refused", _no_workspace_at),
    Behaviour("removing the service account", "is refused by this program", _own_account_stays),
)
