"""Accounts: signing up and in, by right and wrong passwords and addresses."""

from datetime import UTC, datetime

from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.errors import is_unknown_user, is_wrong_password
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.tasks.certify.seeing import Behaviour, Seen, must, refusal
from provisioning_pipeline.tasks.certify.trial import Blocked, Trial

_MEASURED_MINUTES = 30


async def _service_account(trial: Trial) -> str:
    await trial.session.service_token()
    admin = await trial.database.is_server_admin(trial.service.email)
    must(admin, f"{trial.service.email} signs in and is no server admin (canAccessFullAdminPanel)")
    return "signs in and is server admin"


async def _token_lives(trial: Trial) -> Seen:
    token = await trial.agnostic()
    minutes = round((token.expires_at - datetime.now(UTC)).total_seconds() / 60)
    must(minutes >= 1, f"a token expires after {minutes} minutes, so none could be used twice")
    return Seen(f"{minutes} minutes", differs=minutes != _MEASURED_MINUTES)


async def _agnostic_knows_no_workspace(trial: Trial) -> str:
    answer = await trial.call(operations.CURRENT_USER, {}, await trial.agnostic())
    must(not answer.current_workspace, "it belongs to a workspace")
    must(answer.email.lower() == trial.service.email, f"it is {answer.email}'s")
    return "is ours and belongs to no workspace"


async def _lower_case(trial: Trial) -> str:
    place, account = trial.in_main(), trial.person()
    local, _, domain = account.email.partition("@")
    variables = {
        "email": f"{local.upper()}@{domain}",
        "password": account.password.get_secret_value(),
        "workspaceInviteHash": place.invite_hash,
    }
    await trial.call(operations.SIGN_UP_IN_WORKSPACE, variables, None)
    found = await trial.ask('SELECT email::text AS email FROM core."user" WHERE lower(email::text) = %s', account.email)
    if not found:
        raise Blocked("no one could join")
    stored = found[0]["email"]
    must(stored == account.email, f"it is stored as {stored}")
    return "is stored in lower case"


ALONE = (
    Behaviour("the service account", "signs in by its password and is server admin", _service_account),
    Behaviour("a token of a sign-in", f"lives for {_MEASURED_MINUTES} minutes", _token_lives),
    Behaviour("a token of a sign-in without a workspace", "is ours and belongs to none", _agnostic_knows_no_workspace),
    refusal(
        "a sign-in of an address without an account",
        lambda trial: trial.call(operations.SIGN_IN, trial.person().credentials(), None),
        "User not found",
        "UNAUTHENTICATED",
        "USER_NOT_FOUND",
        tells=lambda fault: is_unknown_user(fault.error),
    ),
    refusal(
        "a sign-in with a wrong password",
        lambda trial: trial.call(operations.SIGN_IN, trial.with_other_password(trial.service).credentials(), None),
        "Wrong password",
        "FORBIDDEN",
        "FORBIDDEN_EXCEPTION",
        tells=lambda fault: fault.reason is Reason.FOREIGN_PASSWORD and is_wrong_password(fault.error),
    ),
    refusal(
        "a second sign-up of an address",
        lambda trial: trial.call(operations.SIGN_UP, trial.service.credentials(), None),
        "User already exists",
        "FORBIDDEN",
        "USER_ALREADY_EXISTS",
    ),
)
INSIDE = (
    Behaviour("an address with capitals", "is stored in lower case", _lower_case),
    refusal(
        "an address that is none",
        lambda trial: trial.sign_up(trial.in_main().invite_hash, {"email": "dot..dot@certify.example"}),
        "email must be an email",
        "BAD_USER_INPUT",
    ),
    refusal(
        "a password of seven characters",
        lambda trial: trial.sign_up(trial.in_main().invite_hash, {"password": "seven-7"}),
        "Password too weak",
        "BAD_USER_INPUT",
        "INVALID_INPUT",
    ),
)
