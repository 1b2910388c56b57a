"""What each Twenty server is, whether it may be written to, and what a run measured of it."""

import json
import platform
from collections.abc import Collection
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from provisioning_pipeline.clients.concurrency import all_of, both
from provisioning_pipeline.clients.twenty.accounts import WorkspaceAddress
from provisioning_pipeline.clients.twenty.contract import KNOWN, unsupported
from provisioning_pipeline.ledger.servers import Certificates, SeenContract
from provisioning_pipeline.model.contract import Certified, Contract, Decision, Onboarding, Verdict, certified, judge
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.forecast import RunRecord
from provisioning_pipeline.model.history import Versions
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.run.work import PHASES, Totals
from provisioning_pipeline.settings import PREFIX, Settings
from provisioning_pipeline.steps.scope import Server

_SECRET_WITHIN = frozenset({"twenty_servers", "webhook_urls", "alert_urls"})


@dataclass(frozen=True)
class Judged:
    """A server's contract and what it allows.

    Args:
        server: its name in the settings.
        system: the same in a sentence.
        contract: what was read.
        verdict: what that allows.
        older: it is a server of 1.x.
        version: as it says itself; None when it says none, or was not asked.
        seen: its contracts in the ledger, from before this reading; empty where the verdict did not need them.
    """

    server: str
    system: str
    contract: Contract
    verdict: Verdict
    older: bool
    version: str | None = None
    seen: tuple[SeenContract, ...] = ()

    @property
    def tried(self) -> frozenset[str]:
        """Database names of the tenants whose login was not proved under this contract."""
        same = (seen for seen in self.seen if seen.fingerprint == self.contract.fingerprint)
        return frozenset(name for seen in same for name in seen.tried)

    @property
    def unlike(self) -> str:
        """The sentence that says why not every tenant is worked on at once there."""
        return f"{self.system} is to be tried with one tenant first: it {'; it '.join(self.verdict.differences)}."

    def must_be_complete(self) -> None:
        """Raise the refusal of a server that lacks something."""
        if self.verdict.decision is Decision.REFUSED:
            raise unsupported(self.system, self.verdict.missing, version=self.version, older=self.older)


@dataclass(frozen=True)
class ServerFinding:
    """What reading one server's contract found.

    Args:
        server: its name in the settings.
        fingerprint: of its contract; None when it could not be read.
        ok: it may be written to now, by all tenants.
        changed: it is another contract than at the reading before this one.
        message: a sentence or two for a person, with what to do where there is something to do.
    """

    server: str
    fingerprint: str | None
    ok: bool
    changed: bool
    message: str


async def judge_server(connections: Connections, name: str, preferred: Collection[str] = ()) -> Judged:
    """Read and judge one server's contract. Nothing is written anywhere.

    Args:
        connections: of a dry run too, where logins are allowed.
        name: the server's name in the settings.
        preferred: databases of tenants in whose workspace there our service account is about to sign in anyway.

    Raises:
        Fault: when the server, its database or the ledger cannot be read, or what answers is no Twenty.
    """
    server = connections.servers[name]
    surface, (catalogue, (onboarding, doubt)) = await both(
        server.client.surface(), both(server.database.catalogue(), _onboarding(connections, name, preferred))
    )
    contract = Contract(
        operations=surface.operations,
        columns=catalogue.columns,
        activation_statuses=catalogue.activation_statuses,
        onboarding=onboarding,
        lacks=surface.lacks,
    )
    judged = Judged(
        name,
        server.client.system,
        contract,
        judge(contract, KNOWN.values()),
        surface.older,
        server.client.known.version,
    )
    if judged.verdict.decision is Decision.CANARY:
        seen = tuple(await connections.contracts.of(name))
        proved = [before.contract for before in seen if before.proved_at]
        judged = replace(judged, verdict=judge(contract, KNOWN.values(), proved), seen=seen)
    if doubt and judged.verdict.decision is not Decision.REFUSED:
        more = f"did not let our service account in to be asked for its steps ({doubt})"
        return replace(judged, verdict=Verdict(Decision.CANARY, (*judged.verdict.differences, more)))
    return judged


async def certificate_of(connections: Connections, name: str) -> Certified:
    """A server's last certificate, compared with the contract that the server has now.

    Raises:
        Fault: when the ledger, or the server of a certificate that is to be compared, cannot be read.
    """
    last = await Certificates(connections.ledger.database).last_of(name)
    now = (await judge_server(connections, name)).contract if last and last.holds else None
    return certified(name, last, now)


async def judge_and_store(connections: Connections, name: str, preferred: Collection[str] = ()) -> Judged:
    """The same, and the ledger stores what was read."""
    judged = await judge_server(connections, name, preferred)
    await connections.contracts.see(name, judged.contract)
    return judged


async def check_servers(connections: Connections) -> list[ServerFinding]:
    """Read every server's contract and store it; one finding each, in the order of the settings.

    A server that cannot be read is a finding too. Nothing is written to any server.

    Raises:
        Fault: when the ledger cannot be reached.
    """
    return await all_of(_checked(connections, name) for name in connections.servers)


async def _checked(connections: Connections, name: str) -> ServerFinding:
    before = await connections.contracts.of(name)
    try:
        judged = await judge_server(connections, name)
    except Fault as fault:
        return ServerFinding(name, None, ok=False, changed=False, message=fault.message)
    await connections.contracts.see(name, judged.contract)
    fingerprint = judged.contract.fingerprint
    return ServerFinding(
        name,
        fingerprint,
        ok=judged.verdict.decision is Decision.GO,
        changed=bool(before) and not judged.contract.agrees_with(before[0].contract),
        message=_sentence(judged),
    )


def in_words(judged: Judged) -> str:
    """What a server's contract allows, for a person; it goes on from the name of the server."""
    named = f"contract {judged.contract.fingerprint}"
    match judged.verdict.decision:
        case Decision.REFUSED:
            return f"{named} lacks {', '.join(judged.verdict.missing)}"
        case Decision.CANARY:
            return (
                f"{named} has all that is needed and is not proved. {judged.unlike} At the next run one tenant goes "
                "first; the others follow once its login is proved"
            )
        case Decision.GO if judged.verdict.differences:
            return f"{named} has all that is needed, {_proved(judged)}"
    return f"{named} is known and has all that is needed"


def _sentence(judged: Judged) -> str:
    try:
        judged.must_be_complete()
    except Fault as refusal:
        return refusal.message
    return f"{judged.system}: {in_words(judged)}."


def _proved(judged: Judged) -> str:
    proofs = [seen for seen in judged.seen if seen.proved_at]
    same = [seen for seen in proofs if seen.fingerprint == judged.contract.fingerprint] or proofs
    first = same[0]
    assert first.proved_at is not None
    return f"proved by the login of {first.canary} at {first.proved_at:%Y-%m-%d %H:%M} UTC"


# --- the steps of the wizard ----------------------------------------------------------------------------------------


async def _onboarding(
    connections: Connections, name: str, preferred: Collection[str]
) -> tuple[Onboarding | None, str | None]:
    """What the server says about its wizard, None where we could not ask; and why our account was not let in, if so.

    Raises:
        Fault: of kind SERVER when the server refuses our service account as such; when it is away.
    """
    server = connections.servers[name]
    known = await connections.contracts.a_workspace_on(name, preferred)
    doubt = None
    if known:
        try:
            return await server.client.onboarding(await _address(server, *known)), None
        except Fault as fault:
            doubt = _doubt(fault)
            if fault.kind is not FaultKind.TENANT:
                return None, doubt
    # a ledger that was lost, or a workspace that is gone
    workspace_id = await server.database.a_workspace_of(server.client.service_account.email)
    if workspace_id is None:
        return None, None
    if known and known[0] == workspace_id:
        return None, doubt
    try:
        return await server.client.onboarding(await server.client.address(workspace_id)), None
    except Fault as fault:
        return None, _doubt(fault)


async def _address(server: Server, workspace_id: str, url: str) -> WorkspaceAddress:
    """The workspace's address as it is now: what the ledger knows may be another's since."""
    state = await server.database.workspace_state(workspace_id)
    if state and (urlsplit(url).hostname or "").startswith(f"{state.subdomain}."):
        return WorkspaceAddress(workspace_id, url)
    return await server.client.address(workspace_id)


def _doubt(fault: Fault) -> str:
    if fault.kind is FaultKind.SERVER or fault.away:
        raise fault
    return fault.message.rstrip(".")


def measured(record: RunRecord, connections: Connections, totals: Totals) -> RunRecord:
    """The record with what was counted until now."""
    settings = connections.settings
    return replace(
        record,
        calls=dict(totals.calls.most_common()),
        clerk_calls=totals.clerk_calls,
        twenty_calls=totals.twenty_calls,
        clerk_calls_allowed=int(settings.clerk_requests_per_10_seconds * settings.clerk_share),
        mutating_calls=totals.mutating_calls,
        phases=tuple((phase, totals.phases[phase]) for phase in PHASES if phase in totals.phases),
        refusals=tuple(totals.refusals),
        defects=tuple(totals.defects),
        versions=_versions(connections),
        settings=shown(settings),
    )


def shown(settings: Settings) -> dict[str, str]:
    """The settings by variable, for people to read; secrets, and URLs that hold a password, are left out."""
    found: dict[str, str] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if not isinstance(value, SecretStr) and name not in _SECRET_WITHIN:
            found[f"{PREFIX}{name.upper()}"] = _as_set(value)
    for server in settings.servers:
        rules = f", capacity {server.capacity or 'unlimited'}" + (
            f", tenants {server.tenants}" if server.tenants else ""
        )
        found[f"Twenty server {server.name}"] = f"{server.base_url}{rules}"
    return found


def _as_set(value: object) -> str:
    """A setting as one writes it into the environment."""
    if value is None:
        return ""
    return str(value) if isinstance(value, str | Path) else json.dumps(value)


def _versions(connections: Connections) -> Versions:
    return Versions(
        program=version("provisioning-pipeline"),
        dagster=version("dagster"),
        python=platform.python_version(),
        servers={name: server.client.known.version for name, server in connections.servers.items()},
    )
