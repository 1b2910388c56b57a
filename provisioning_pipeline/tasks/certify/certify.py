"""A whole certification: clean up what an earlier one left, look at everything, clean up, store the certificate."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from psycopg import Error

from provisioning_pipeline.clients.postgres_refusals import first_line
from provisioning_pipeline.clients.transport import CallCounter
from provisioning_pipeline.clients.twenty.client import TwentyClient
from provisioning_pipeline.clients.twenty.database import TwentyDatabase
from provisioning_pipeline.clients.twenty.session import TwentySession
from provisioning_pipeline.clients.twenty.wire import TwentyWire
from provisioning_pipeline.ledger.locks import certification_lock
from provisioning_pipeline.ledger.schema import bring_up_to_date
from provisioning_pipeline.ledger.servers import Certificates
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.contract import Certificate, Contract, CrashPoint, Observation, Standing
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.run.connections import Connections, connect, server_database
from provisioning_pipeline.run.contracts import judge_server
from provisioning_pipeline.settings import Settings, TwentyServer
from provisioning_pipeline.tasks.certify import clean, killed
from provisioning_pipeline.tasks.certify.behaviours import BEHAVIOURS
from provisioning_pipeline.tasks.certify.clerk import ClerkTrial, look_at_clerk
from provisioning_pipeline.tasks.certify.life import Life
from provisioning_pipeline.tasks.certify.mail import MailWitness
from provisioning_pipeline.tasks.certify.seeing import Seen, observe
from provisioning_pipeline.tasks.certify.tenant import Bench, LifeFailed, TriedTenant
from provisioning_pipeline.tasks.certify.trial import NoPlace, Trial, new_run

NEVER: Final = (
    "Personal invitations by e-mail (sendInvitations with an address): a certification sends no e-mail.",
    "Servers that are full, Redis or PostgreSQL of Twenty away, and a server that crashes during an activation: a "
    "certification disturbs no one.",
    "Enterprise features, billing, captcha, e-mail verification, single sign-on: this program does not use them.",
    "What lasts longer than a certification: what an access token from before a lock still reads of messages, calendar "
    "events and attachments until it expires, and Twenty's own clean-up of deleted workspaces.",
    "Kills of a lock, of its end and of a deletion at every call: each is killed after one call of each name.",
    "Kills at writes to registry and ledger: they do not depend on the server, and the project's tests have them.",
)
_WITHOUT_CLERK: Final = "Clerk: left out (--skip-clerk)."
_LIFE: Final = ("Crash points", "a tenant's undisturbed life", "comes to a good end")
_EMAILS: Final = ("E-mails", "e-mail silence", "no e-mail goes out because of what was done here")


@dataclass
class Progress:
    """Told how it goes, so that a terminal can show it. Each is called from the certification's own loop."""

    stage: Callable[[str, int | None], None] = lambda _name, _steps: None
    seen: Callable[[Observation], None] = lambda _: None
    cut: Callable[[CrashPoint], None] = lambda _: None


@dataclass
class Wanted:
    """What a certification is to look at.

    Args:
        server: the server on trial, of the settings.
        bench: where a tenant's life is tried; None: crash points are left out, for the reason in `without_bench`.
        mail: what knows which e-mails left; None: nothing does.
        clerk: look at Clerk, too; with `session_token`, at that token. None: not at all.
    """

    server: TwentyServer
    bench: Bench | None = None
    without_bench: str = "crash points were left out"
    mail: MailWitness | None = None
    clerk: ClerkTrial | None = None


@dataclass
class _Report:
    progress: Progress
    observations: list[Observation] = field(default_factory=list)
    crash_points: list[CrashPoint] = field(default_factory=list)
    not_looked_at: list[str] = field(default_factory=lambda: list(NEVER))
    planned: int | None = None
    contract: Contract | None = None
    stopped: str | None = None

    def add(self, seen: Observation) -> None:
        self.observations.append(seen)
        self.progress.seen(seen)


async def certify(settings: Settings, wanted: Wanted, progress: Progress | None = None) -> Certificate:
    """Certify a server and store the certificate, unless it ended early: what could not look certifies nothing.

    A cancellation ends the looking, never the cleaning.

    Raises:
        Fault: when the ledger cannot be reached, or the server or its database cannot be read at all.
    """
    began_at, begun = datetime.now(UTC), time.monotonic()
    report = _Report(progress or Progress())
    async with AsyncExitStack() as stack:
        connections = await stack.enter_async_context(connect(settings, dry_run=False))
        trial = await stack.enter_async_context(_trial(settings, wanted.server))
        await bring_up_to_date(connections.ledger.database, settings)
        await stack.enter_async_context(certification_lock(connections.ledger.database, wanted.server.name))
        linked = await _linked(connections)
        report.progress.stage("looking for what an earlier certification left", None)
        before = await _begin(trial, linked)
        try:
            await _look(connections, trial, wanted, report)
        except asyncio.CancelledError:
            report.stopped = "It was interrupted."
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
        except Fault as fault:
            report.stopped = fault.message
        except NoPlace as full:
            report.stopped = str(full)
        except Error as error:
            report.stopped = f"PostgreSQL refused: {first_line(error)}."
        except BaseException:
            # a defect of ours leaves nothing there either
            await _clean(trial, linked)
            raise
        report.progress.stage("removing what was made", None)
        cleaned = await _clean(trial, linked)
        if report.stopped:
            report.not_looked_at += _missed(wanted, report)
        certificate = Certificate(
            server=wanted.server.name,
            base_url=wanted.server.base_url,
            version=trial.session.known.version,
            contract=report.contract,
            began_at=began_at,
            seconds=round(time.monotonic() - begun, 1),
            observations=tuple(report.observations),
            crash_points=tuple(report.crash_points),
            not_looked_at=tuple(report.not_looked_at),
            cleaning=(*before.told, *cleaned.told),
            left_behind=(*cleaned.left, *(f"account {email}" for email in cleaned.accounts)),
            planned=report.planned,
            stopped=report.stopped,
        )
        if not report.stopped:
            # one that ended early says too little about the server, and the certificate before it stays good
            await Certificates(connections.ledger.database).store(certificate)
    return certificate


# --- before and after -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _trial(settings: Settings, server: TwentyServer) -> AsyncIterator[Trial]:
    async with AsyncExitStack() as stack:
        reads = await stack.enter_async_context(server_database(server, read_only=True, most_connections=2))
        writes = await stack.enter_async_context(server_database(server, read_only=False))
        counter = CallCounter()

        def wire() -> TwentyWire:
            return TwentyWire(
                server,
                timeout_seconds=settings.request_timeout_seconds,
                dry_run=False,
                counter=counter,
                concurrency=settings.twenty_concurrency,
            )

        single_calls = wire()
        session = TwentySession(server, single_calls)
        stack.push_async_callback(session.close)
        client = await stack.enter_async_context(
            TwentyClient(server, wire(), activation_timeout_seconds=settings.activation_timeout_seconds)
        )
        yield Trial(
            wire=single_calls,
            session=session,
            client=client,
            database=TwentyDatabase(reads, writes),
            reads=reads,
            writes=writes,
            run=new_run(),
            key=settings.member_password_key,
            activation_seconds=settings.activation_timeout_seconds,
        )


async def _linked(connections: Connections) -> frozenset[str]:
    """Workspaces of tenants: whatever they are called, they are never taken for ours to throw away."""
    rows = await connections.ledger.database.fetch(
        "SELECT workspace_id::text AS id FROM provisioning.tenant_link WHERE workspace_id IS NOT NULL"
    )
    return frozenset(row["id"] for row in rows)


async def _begin(trial: Trial, linked: frozenset[str]) -> clean.Cleaned:
    """Sign our account up on a server without any user, as a first run does, and remove what was left behind."""
    if not await trial.database.has_any_user():
        await trial.session.sign_up_service_account()
        return clean.Cleaned([f"{trial.service.email} was signed up: there was no user on the server."])
    restored = await clean.restore_service_account(trial)
    found = await clean.remove_everything(trial, linked)
    told = [f"Left by an earlier certification: {sentence}" for sentence in filter(None, (restored, *found.told))]
    # accounts without a workspace are taken in once there is one, and go with it
    if found.left:
        raise Fault(
            FaultKind.SERVER,
            Reason.WORKSPACE_INCOMPLETE,
            f"What an earlier certification left on {trial.session.system} cannot be removed yet: "
            f"{'; '.join(found.left)}. Twenty frees a crashed activation after 5 minutes; start again then.",
        )
    return clean.Cleaned(told)


async def _clean(trial: Trial, linked: frozenset[str]) -> clean.Cleaned:
    try:
        return await clean.remove_everything(trial, linked)
    except Fault as fault:
        return clean.Cleaned([], [f"perhaps everything that was made ({fault.message.rstrip('.')})"])
    except Error as error:
        return clean.Cleaned([], [f"perhaps everything that was made (PostgreSQL: {first_line(error)})"])


# --- looking ----------------------------------------------------------------------------------------------------------


async def _look(connections: Connections, trial: Trial, wanted: Wanted, report: _Report) -> None:
    warming = asyncio.create_task(asyncio.to_thread(killed.warm_up)) if wanted.bench else None
    try:
        report.progress.stage("behaviours", sum(map(len, BEHAVIOURS.values())))
        for topic, behaviours in BEHAVIOURS.items():
            for behaviour in behaviours:
                seeing = _to_its_end(behaviour.see(trial))
                report.add(await observe(topic, behaviour.name, behaviour.expected, seeing))
        if trial.main is not None:
            report.contract = (await judge_server(connections, wanted.server.name)).contract
        if trial.other is not None:
            # the place is needed for the tenants whose lives are cut
            await clean.delete_workspace(trial, trial.other.address.workspace_id)
        if warming is not None:
            await warming
        await _cut(trial, wanted, report)
        report.add(_witness(wanted.mail))
        if wanted.clerk is None:
            report.not_looked_at.append(_WITHOUT_CLERK)
            return
        report.progress.stage("Clerk", None)
        for seen in await look_at_clerk(wanted.clerk, trial.run, report.not_looked_at.append):
            report.add(seen)
    finally:
        if warming is not None:
            with suppress(asyncio.CancelledError):
                await warming


async def _to_its_end(seeing: Awaitable[Seen | str]) -> Seen | str:
    """See it, and also when it is cancelled wait for its end: a call that is under way has its effect all the same,
    perhaps after everything else was removed."""
    task = asyncio.ensure_future(seeing)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


async def _cut(trial: Trial, wanted: Wanted, report: _Report) -> None:
    if wanted.bench is None:
        report.not_looked_at.append(_without_bench(wanted))
        return
    if trial.main is None:
        report.not_looked_at.append("Crash points: no workspace could be made and activated.")
        return
    report.progress.stage("crash points", None)
    tenant = TriedTenant(trial, wanted.bench)
    life = Life(tenant, lambda number: report.progress.stage("crash points", number))
    begun = time.monotonic()
    try:
        async for point in life.crash_points():
            report.crash_points.append(point)
            report.progress.cut(point)
    except LifeFailed as failed:
        report.add(Observation(*_LIFE, str(failed), Standing.FAILS, round(time.monotonic() - begun, 2)))
    finally:
        report.planned = life.total


def _missed(wanted: Wanted, report: _Report) -> list[str]:
    """What a certification that ended early had not come to."""
    seen = {(one.topic, one.behaviour) for one in report.observations}
    missed: list[str] = []
    for topic, behaviours in BEHAVIOURS.items():
        left = [behaviour.name for behaviour in behaviours if (topic, behaviour.name) not in seen]
        if left:
            missed.append(f"{topic}: {'; '.join(left)}.")
    if wanted.bench is None:
        missed.append(_without_bench(wanted))
    elif report.planned is None or len(report.crash_points) < report.planned:
        missed.append(f"Crash points{' that were left' if report.crash_points else ''}.")
    if _EMAILS[:2] not in seen:
        missed.append(f"{_EMAILS[0]}: {_EMAILS[1]}.")
    missed.append("Clerk." if wanted.clerk else _WITHOUT_CLERK)
    return [sentence for sentence in missed if sentence not in report.not_looked_at]


def _without_bench(wanted: Wanted) -> str:
    return f"Crash points: {wanted.without_bench}."


def _witness(mail: MailWitness | None) -> Observation:
    if mail is None:
        unseen = "neither the log nor the queue of the server can be seen from here (--log FILE)"
        return Observation(*_EMAILS, unseen, Standing.UNSEEN)
    ours, unknown = mail.sent()
    if ours:
        return Observation(*_EMAILS, f"e-mails were sent to {', '.join(ours)}", Standing.FAILS)
    if unknown:
        seen = f"{unknown} e-mails were sent meanwhile, and {mail.name} does not say to which address"
        return Observation(*_EMAILS, seen, Standing.UNSEEN)
    return Observation(*_EMAILS, f"none in {mail.name}", Standing.HOLDS)
