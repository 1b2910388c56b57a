"""What holds of every call: probes that run nothing, tokens that are refused, sessions that are not kept."""

from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from provisioning_pipeline.clients.transport import Effect
from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.contract import check_config, lacking
from provisioning_pipeline.clients.twenty.errors import is_dead_token
from provisioning_pipeline.clients.twenty.operation import TEXT, Operation
from provisioning_pipeline.clients.twenty.operations import WithId
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.tasks.certify.seeing import Behaviour, Seen, Unexpected, in_words, must, refusal, refused
from provisioning_pipeline.tasks.certify.trial import JUNK, Trial

_NO_SUCH = Operation("certifyNoSuchOperation", Effect.READ, selection="{ id }", answer=TypeAdapter(WithId))


@dataclass(frozen=True)
class _Skipped(Operation[str]):
    """An operation sent as its own contract probe: validated and not run."""

    name: str = "__typename"
    effect: Effect = Effect.READ
    text: str = ""
    answer: TypeAdapter[str] = field(kw_only=True, compare=False, repr=False, default=TEXT)

    @property
    def document(self) -> str:
        """The probe."""
        return self.text


def _skipped(operation: Operation[Any]) -> Operation[str]:
    """The contract probe of an operation as an operation of its own, which answers `__typename`."""
    return _Skipped(kind=operation.kind, text=operation.probe())


async def _settings(trial: Trial) -> Seen:
    config = await trial.session.server_config()
    check_config(trial.session.system, config)
    return Seen(
        f"version {trial.session.known.version or 'not reported'}, passwords, no captcha, no e-mail verification"
    )


async def _contract(trial: Trial) -> Seen:
    surface = await trial.session.surface()
    trial.operations = surface.operations
    await trial.session.check_contract()
    lacks = f"; it lacks {', '.join(surface.lacks)}" if surface.lacks else ""
    return Seen(f"{len(surface.operations)} documents are taken{lacks}", differs=bool(surface.lacks))


async def _names_what_is_missing(trial: Trial) -> str:
    fault = await refused(trial.call(_skipped(_NO_SUCH), {}, None))
    found = lacking([fault.error.message])
    must(found == ("Mutation.certifyNoSuchOperation",), in_words(fault.error))
    return in_words(fault.error)


async def _probe_runs_nothing(trial: Trial) -> str:
    account = trial.person()
    await trial.call(_skipped(operations.SIGN_UP), account.credentials(), None)
    must(not await trial.database.user_ids(account.email), "the probe of signUp made an account")
    return "a probe of signUp is answered, and there is no account"


async def _keeps_no_cookie(trial: Trial) -> str:
    # a token-issuing call sets a cookie from 2.38 on; a call without a token that sent it back would be refused
    token, _ = await trial.wire.call_for_token(operations.SIGN_IN, trial.service.credentials())
    try:
        await trial.call(_skipped(operations.SIGN_IN), trial.service.credentials(), None)
    except Fault as fault:
        raise Unexpected(fault.message) from None
    await trial.wire.end(token)
    sets = "sets a cookie" if token.cookie else "sets none"
    return f"the sign-in {sets}; a call without a token is taken after it"


async def _junk_token(trial: Trial) -> Seen:
    fault = await refused(trial.call(operations.CURRENT_USER, {}, JUNK))
    must(is_dead_token(fault.error), f"{in_words(fault.error)}: not told from a member who is gone")
    return Seen(in_words(fault.error))


async def _onboarding_is_told(trial: Trial) -> str:
    found = await trial.session.onboarding(trial.in_main().address)
    if not found or not found.statuses:
        raise Unexpected("the server does not say which steps its wizard has")
    return f"statuses {', '.join(sorted(found.statuses))}"


ANONYMOUS = (
    Behaviour("public settings", "say nothing that keeps programs out or sends e-mails to new members", _settings),
    Behaviour("contract probes", "take every operation that is needed", _contract),
    Behaviour("a probe of an operation that is not there", "names what is missing", _names_what_is_missing),
    Behaviour("a probe", "is validated and runs nothing", _probe_runs_nothing),
    Behaviour("a token that is none", "is refused as such, so that signing in again is tried", _junk_token),
    refusal(
        "no token where one is needed",
        lambda trial: trial.call(operations.CURRENT_USER, {}, None),
        "Forbidden resource",
        "FORBIDDEN",
    ),
    Behaviour("cookies of a sign-in", "are not needed and not kept", _keeps_no_cookie),
)
INSIDE = (
    Behaviour("introspection with a token of a workspace", "says which steps the wizard has", _onboarding_is_told),
)
