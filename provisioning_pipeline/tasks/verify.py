"""The login check: log in as every admin and some members of each tenant, and see what they would see.

It changes nothing in Twenty. A login that fails makes LoginProved false, so that its tenant is not ready and the next
reconciliation sees to it.
"""

import asyncio
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC

import pandas as pd
from psycopg import Error

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.postgres import Row
from provisioning_pipeline.clients.postgres_refusals import first_line
from provisioning_pipeline.ledger.locks import tenant_lock
from provisioning_pipeline.ledger.members import Proof, Proofs
from provisioning_pipeline.ledger.schema import bring_up_to_date
from provisioning_pipeline.model.access_lock import AccessLock
from provisioning_pipeline.model.condition import SET_ASIDE, Condition, ConditionType, Reason, Status, is_false
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.frames import frame
from provisioning_pipeline.model.history import RunKind
from provisioning_pipeline.model.tenant import AdminUnknown, Tenant, TenantPlan
from provisioning_pipeline.run.connections import Connections, connect
from provisioning_pipeline.run.contracts import ServerFinding, check_servers
from provisioning_pipeline.run.observe import UnknownTenants
from provisioning_pipeline.run.record import run_under_way
from provisioning_pipeline.run.work import ends_the_run, scope_of
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.steps.logins.act import (
    LOGIN_REASONS,
    Login,
    LoginFailure,
    Proved,
    first_of,
    prove_logins,
    settle_proved,
)
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.logins.login_check import CANDIDATES, LAST_PROOFS, to_prove
from provisioning_pipeline.steps.scope import Scope, defect_of


@dataclass(frozen=True, slots=True)
class NotLookedAt:
    """A tenant of which some logins, or all, were not checked; its conditions are as they were.

    `kind` is TRANSIENT or SERVER when its server, not the tenant, is the trouble. `message` says what to do.
    """

    database_name: str
    slug: str
    kind: FaultKind
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class TenantVerified:
    """What the logins of one tenant came to; `defect` is an unforeseen error, as `file:line ErrorName`."""

    database_name: str
    slug: str
    proofs: tuple[Proof, ...] = ()
    failures: tuple[LoginFailure, ...] = ()
    not_looked_at: NotLookedAt | None = None
    defect: str | None = None


Progress = Callable[[TenantVerified, int], None]
"""Called for each tenant when it is done, with the number of tenants that there are."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A finished verification.

    Args:
        proofs: every member who was checked, by tenant, with what they saw and when.
        failures: those of them who do not come into the right workspace without a wizard.
        not_looked_at: the tenants with logins that could not be checked, and why.
        defects: unforeseen errors, as `file:line ErrorName`.
        servers: what each server's contract came to; empty when only some tenants were checked.
        workspaces: how many of these tenants have a workspace.
    """

    run_id: str
    trigger: str
    proofs: tuple[Proof, ...]
    failures: tuple[LoginFailure, ...]
    not_looked_at: tuple[NotLookedAt, ...]
    defects: tuple[str, ...]
    seconds: float
    servers: tuple[ServerFinding, ...] = ()
    workspaces: int = 0

    @property
    def tenants(self) -> int:
        """How many tenants had a login."""
        return len({proof.database_name for proof in self.proofs})

    @property
    def all_proved(self) -> bool:
        """Every member who was to be checked was, and came in."""
        return not (self.failures or self.not_looked_at or self.defects)

    @property
    def broken(self) -> bool:
        """The verification itself failed: an unforeseen error, or not one server could be used."""
        servers = all(tenant.kind in (FaultKind.SERVER, FaultKind.TRANSIENT) for tenant in self.not_looked_at)
        return bool(self.defects) or (bool(self.not_looked_at) and not self.proofs and servers)


async def verify(
    settings: Settings,
    tenants: Collection[str] = (),
    *,
    sample: int | None = None,
    run_id: str | None = None,
    trigger: str = "operator",
    progress: Progress | None = None,
) -> Verified:
    """Log in as the admin and as `sample` members (by default `PROVISIONING_VERIFY_SAMPLE`) of each tenant.

    Those are the tenants of these names (slugs or database names), or all that have an active workspace. The members
    are others each time; those who failed the last time are checked besides. Each result is stored with its time.
    LoginProved becomes false by a failed login. It becomes true again only when the admin and every member who had
    failed came in. A row of `provisioning.run` is written only where a condition is settled, to say who was behind it.

    Raises:
        RunFault: when the ledger cannot be read.
        UnknownTenants: when no tenant has one of these names.
    """
    begun = time.monotonic()
    async with connect(settings, dry_run=False) as connections:
        verification = _Verification(connections, run_id or str(uuid.uuid4()), trigger, progress or (lambda *_: None))
        with ends_the_run("PostgreSQL refused"):
            async with run_under_way(connections, verification.run_id):
                done = await verification.run(
                    sorted({name.strip() for name in tenants}), settings.verify_sample if sample is None else sample
                )
    return Verified(
        verification.run_id,
        trigger,
        tuple(proof for tenant in done for proof in tenant.proofs),
        tuple(failure for tenant in done for failure in tenant.failures),
        tuple(tenant.not_looked_at for tenant in done if tenant.not_looked_at),
        tuple(tenant.defect for tenant in done if tenant.defect),
        time.monotonic() - begun,
        tuple(verification.servers),
        verification.workspaces,
    )


@dataclass
class _Verification:
    """A verification under way."""

    connections: Connections
    run_id: str
    trigger: str
    progress: Progress

    def __post_init__(self) -> None:
        self._gate = asyncio.Semaphore(self.connections.settings.tenant_concurrency)
        self._proofs = Proofs(self.connections.ledger.database)
        self.servers: list[ServerFinding] = []
        self.workspaces = 0

    async def run(self, names: Sequence[str], size: int) -> list[TenantVerified]:
        """Check the logins of these tenants, or of all; by their slugs."""
        ledger = self.connections.ledger
        await bring_up_to_date(ledger.database, self.connections.settings)
        rows = _named(await ledger.tenant_rows(), names)
        self.workspaces = sum(row["workspace_id"] is not None for row in rows)
        if not names:
            self.servers = await check_servers(self.connections)
        inactive = await self._inactive(rows)
        active = [row for row in rows if row["database_name"] not in inactive]
        chosen = await self._chosen(active, size, of_all=not names)
        idle = [row for row in rows if names and row["database_name"] in inactive]
        left_out = [_left_out(row, inactive[row["database_name"]]) for row in idle]
        count = len(active) + len(left_out)

        async def one(row: Row) -> TenantVerified:
            async with self._gate:
                done = await self._tenant(row, chosen[row["database_name"]])
            self.progress(done, count)
            return done

        for tenant in left_out:
            self.progress(tenant, count)
        return [*left_out, *await all_of(one(row) for row in active)]

    async def _inactive(self, rows: Sequence[Row]) -> dict[str, Condition | None]:
        """What is known about tenants without an active workspace, and about excluded and locked ones."""
        locks = await self.connections.access_locks.all()
        stored = await self.connections.ledger.conditions([row["database_name"] for row in rows])
        found = {
            (entry.database_name, entry.condition.type): entry.condition
            for entry in stored
            if entry.condition.type in (ConditionType.WORKSPACE_READY, ConditionType.READY)
        }
        inactive: dict[str, Condition | None] = {}
        for row in rows:
            name = row["database_name"]
            ready = found.get((name, ConditionType.READY))
            workspace = found.get((name, ConditionType.WORKSPACE_READY))
            if ready and ready.reason in SET_ASIDE:
                inactive[name] = ready
            elif row["workspace_id"] is None or (workspace and workspace.status is Status.FALSE):
                inactive[name] = workspace
            elif name in locks:
                inactive[name] = _locked(locks[name])
        return inactive

    async def _chosen(self, rows: Sequence[Row], size: int, *, of_all: bool) -> Mapping[str, list[str]]:
        """Database name → the Twenty user ids to be checked."""
        names = [row["database_name"] for row in rows]
        await self._proofs.forget_strangers(None if of_all else names)
        linked, taken_over, proofs = (
            await self.connections.members.member_links(names),
            await self.connections.members.taken_over(names),
            await self._proofs.of(names),
        )
        last = frame(
            LAST_PROOFS,
            [(proof.database_name, proof.twenty_user_id, proof.proved_at, proof.completed) for proof in proofs],
        )
        chosen: defaultdict[str, list[str]] = defaultdict(list)
        picked = to_prove(_candidates(rows, linked, taken_over), last, size)
        for name, user in zip(picked["database_name"], picked["twenty_user_id"], strict=True):
            chosen[name].append(user)
        return chosen

    async def _tenant(self, row: Row, chosen: Collection[str]) -> TenantVerified:
        """Check one tenant under its lock. Never raises for what befalls one tenant."""
        name, slug = row["database_name"], row["slug"]
        try:
            scope = self._scope(row)
            async with tenant_lock(self.connections.ledger.database, name, wait_seconds=0):
                proved = await self._prove(scope, chosen)
        except Fault as fault:
            return TenantVerified(name, slug, not_looked_at=_not_looked_at(row, fault))
        except Exception as error:  # noqa: BLE001  # a defect of ours must not stop the other tenants; it is told
            why = "An unforeseen error; its text is withheld, it may hold secrets."
            if isinstance(error, Error):
                # the first line of such a text names no values
                why = f"PostgreSQL refused a statement: {first_line(error)}."
            missed = NotLookedAt(name, slug, FaultKind.TENANT, Reason.UNEXPECTED_ERROR, why)
            return TenantVerified(name, slug, not_looked_at=missed, defect=defect_of(error))
        stopped = _not_looked_at(row, proved.stopped) if proved.stopped else None
        return TenantVerified(name, slug, proved.proofs, proved.failures, stopped)

    async def _prove(self, scope: Scope, chosen: Collection[str]) -> Proved:
        scope.server.must_be_usable()
        link = await scope.link()
        # a member who has left since the choice was made is no failure
        members = [
            Login(row["twenty_user_id"], row["email"])
            for row in await scope.members.of_tenant(scope.database_name)
            if row["twenty_user_id"] in chosen and row["twenty_user_id"] != link.admin_user_id
        ]
        admin = [Login(link.admin_user_id, link.admin_email)] if link.admin_user_id and link.admin_email else []
        if not (admin or members):
            raise Fault(
                FaultKind.TENANT,
                Reason.ADMIN_UNKNOWN,
                "There is no one to log in as. `provisioning status` says why there is no admin.",
            )
        proved = await prove_logins(scope, link, [*admin, *members])
        if proved.failures:
            await self._settle_failed(scope, proved.failures)
        elif admin and proved.stopped is None:
            await self._settle_proved(scope, proved)
        return proved

    async def _settle_failed(self, scope: Scope, failures: Sequence[LoginFailure]) -> None:
        known = await self._login_proved(scope)
        if known and known.status is Status.FALSE and known.reason not in LOGIN_REASONS:
            # it is false because no member could be made admin, which no login proves
            return
        fault = first_of(failures)
        scope.set(is_false(ConditionType.LOGIN_PROVED, fault.reason, fault.message))
        await self._store(scope)

    async def _settle_proved(self, scope: Scope, proved: Proved) -> None:
        known = await self._login_proved(scope)
        if not (known and known.status is Status.FALSE and known.reason in LOGIN_REASONS):
            return
        if all(proof.completed for proof in await self._proofs.of([scope.database_name])):
            await settle_proved(scope, await scope.link(), len(proved.proofs), first=proved.proofs[0].email)
            await self._store(scope)

    async def _login_proved(self, scope: Scope) -> Condition | None:
        stored = await self.connections.ledger.conditions([scope.database_name])
        found = (entry.condition for entry in stored if entry.condition.type is ConditionType.LOGIN_PROVED)
        return next(found, None)

    async def _store(self, scope: Scope) -> None:
        # so that a timeline can say who was behind it
        await self.connections.history.begin_run(self.run_id, self.trigger, RunKind.VERIFICATION)
        await self.connections.ledger.store_conditions(
            {scope.database_name: tuple(scope.conditions.values())},
            run_id=self.run_id,
            # nothing was tried against it yet: the tenant is due at once
            waits=None,
        )

    def _scope(self, row: Row) -> Scope:
        connections = self.connections
        if row["server"] not in connections.servers:
            raise Fault(
                FaultKind.SERVER,
                Reason.SERVER_NOT_CONFIGURED,
                f'The tenant lives on Twenty server "{row["server"]}", which is not in the settings. Put it back '
                "there.",
            )
        plan = TenantPlan(
            Tenant(row["database_name"], row["slug"], row["slug"]),
            changes=(PROVE_LOGIN,),
            adopt=False,
            server=row["server"],
            subdomains=(),
            workspace_id=row["workspace_id"],
            admin=AdminUnknown(Reason.ADMIN_UNKNOWN, "A verification makes no one admin."),
            conditions=(),
        )
        return scope_of(connections, plan, self.run_id)


def _named(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    if not names:
        return list(rows)
    wanted = set(names)
    unknown = wanted - {row[key] for row in rows for key in ("slug", "database_name")}
    if unknown:
        raise UnknownTenants(
            f"The ledger knows no tenant called {', '.join(map(repr, sorted(unknown)))}. Give a slug or a database "
            "name as `provisioning status` lists them."
        )
    return [row for row in rows if {row["slug"], row["database_name"]} & wanted]


def _candidates(rows: Sequence[Row], linked: pd.DataFrame, taken_over: Sequence[Row]) -> pd.DataFrame:
    """Every admin and member of ours in these tenants; columns of `CANDIDATES`."""
    person = ["database_name", "twenty_user_id", "email"]
    admins = frame(
        CANDIDATES,
        [
            (row["database_name"], row["admin_user_id"], row["admin_email"], True)
            for row in rows
            if row["admin_user_id"] and row["admin_email"]
        ],
    )
    others = pd.concat([linked[person], pd.DataFrame(taken_over, columns=person, dtype=object)])
    others["is_admin"] = pd.Series(data=False, index=others.index, dtype=object)
    # the admin is most often linked, too, and stands first
    return pd.concat([admins, others], ignore_index=True).drop_duplicates(["database_name", "twenty_user_id"])


def _locked(lock: AccessLock) -> Condition:
    """Of a tenant whose lock is not given back wholly: its members are not to come in, or not all of them yet."""
    since = f"{lock.begun_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    message = f"Its members have been locked out since {since}: {lock.why} A run gives them their access back."
    return is_false(ConditionType.LOGIN_PROVED, Reason.ACCESS_LOCKED, message)


def _left_out(row: Row, known: Condition | None) -> TenantVerified:
    """A named tenant that has no workspace to log in to; what keeps it from being ready says more than that."""
    if row["reason"] not in (None, Reason.WAITING, Reason.ALL_TRUE):
        fault = Fault(FaultKind.TENANT, Reason(row["reason"]), row["message"])
    elif known and known.status is not Status.TRUE:
        fault = Fault(FaultKind.TENANT, known.reason, known.message)
    else:
        message = f"It has no workspace yet: `provisioning apply {row['slug']}` makes it."
        fault = Fault(FaultKind.TENANT, Reason.WAITING, message)
    return TenantVerified(row["database_name"], row["slug"], not_looked_at=_not_looked_at(row, fault))


def _not_looked_at(row: Row, fault: Fault) -> NotLookedAt:
    message = fault.message
    if fault.kind is FaultKind.BUSY:
        message = "Another run is working on this tenant, so its logins were not checked. Verify it again later."
    return NotLookedAt(row["database_name"], row["slug"], fault.kind, fault.reason, message)
