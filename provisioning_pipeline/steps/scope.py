"""What the steps of one tenant share: its plan, its server, the ledger, and the record of what was done."""

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from weakref import WeakValueDictionary

from psycopg import Error

from provisioning_pipeline.clients.clerk.client import ClerkClient
from provisioning_pipeline.clients.guards import noting_writes
from provisioning_pipeline.clients.postgres import Database, Row
from provisioning_pipeline.clients.twenty.accounts import Account, WorkspaceAddress, derived_password
from provisioning_pipeline.clients.twenty.client import TwentyClient
from provisioning_pipeline.clients.twenty.database import TwentyDatabase, WorkspaceState
from provisioning_pipeline.ledger.access_locks import AccessLocks
from provisioning_pipeline.ledger.history import Journal
from provisioning_pipeline.ledger.inspections import ONBOARDING_TABLE, RemovedRows
from provisioning_pipeline.ledger.ledger import Ledger, Link
from provisioning_pipeline.ledger.members import Accounts, Members
from provisioning_pipeline.ledger.registry import Registry
from provisioning_pipeline.model.change import FOLLOW_ADDRESS, Change
from provisioning_pipeline.model.condition import Condition, ConditionType, Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.people import Move
from provisioning_pipeline.model.tenant import Outcome, OutcomeStatus, TenantPlan
from provisioning_pipeline.settings import Settings

log = logging.getLogger(__name__)
_CUT = "cut off after it was sent; the next run sees whether it was made"
_NOT_SENT = "cut off before anything was sent"


@dataclass
class Record:
    """The changes of one run for one tenant. `outcomes` are those that have ended."""

    journal: Journal
    run_id: str
    database_name: str
    outcomes: list[Outcome] = field(default_factory=list)
    _unwritten: list[Outcome] = field(default_factory=list)

    @asynccontextmanager
    async def change(self, change: Change, detail: str) -> AsyncIterator[list[str]]:
        """Write down that a change begins, time it, and write down how it ended: done, failed, or cut.

        What is added to the list is reported after the detail. What changes nothing is written when the step has ended.

        Raises:
            Fault, Error: when the ledger does not take its begin; nothing was done then.
        """
        begun = time.perf_counter()
        outcome = Outcome(self.database_name, change, OutcomeStatus.BEGUN, detail, 0.0)
        learnt: list[str] = []
        with noting_writes() as writes:
            try:
                if not change.read_only:
                    await self.journal.store(self.run_id, outcome)
                yield learnt
            except Fault as fault:
                self._end(outcome, OutcomeStatus.FAILED, f"{detail}: {fault.message}", begun)
                raise
            except Error as error:
                # the first line of such a text names no values
                told = f"{detail}: PostgreSQL refused a statement: {str(error).splitlines()[0]}"
                self._end(outcome, OutcomeStatus.FAILED, told, begun)
                raise
            except (asyncio.CancelledError, GeneratorExit):
                status, why = (OutcomeStatus.CUT, _CUT) if writes.begun else (OutcomeStatus.FAILED, _NOT_SENT)
                self._end(outcome, status, f"{detail}: {why}", begun)
                raise
            except BaseException as error:
                self._end(outcome, OutcomeStatus.FAILED, f"{detail}: {defect_of(error)}", begun)
                raise
        self._end(outcome, OutcomeStatus.DONE, "; ".join([detail, *learnt]), begun)

    def note(self) -> None:
        """Have written what changed nothing: all of one step at once, so that a timeline tells it as one."""
        self.journal.note(self.run_id, *self._unwritten)
        self._unwritten.clear()

    async def settle(self) -> None:
        """Return once all of it is in the ledger.

        Raises:
            Fault, Error: when the ledger does not take it.
        """
        self.note()
        await self.journal.settle()

    def _end(self, outcome: Outcome, status: OutcomeStatus, detail: str, begun: float) -> None:
        ended = replace(outcome, status=status, detail=detail, seconds=time.perf_counter() - begun)
        self.outcomes.append(ended)
        if ended.change.read_only:
            self._unwritten.append(ended)
        else:
            self.journal.note(self.run_id, ended)


def defect_of(error: BaseException) -> str:
    """Where an unforeseen error was raised, as `file:line ErrorName`, without its text."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno} {type(error).__name__}"


_CREATION_ONLY = frozenset({Reason.SERVER_FULL, Reason.CREATION_RESTRICTED})


@dataclass
class Server:
    """A Twenty server in this run. A stop once set keeps every later call of that kind from being made.

    `capacity` is the most workspaces that it may hold; None is no limit of ours.
    """

    client: TwentyClient
    database: TwentyDatabase
    capacity: int | None = None
    _service_user_ids: list[str] = field(default_factory=list)
    _moves: dict[tuple[str, str], Move] | None = None
    _joining: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    async def password_email(self, accounts: Accounts, email: str, user_id: str | None) -> str:
        """The address from which the password of this account is derived: its own, unless we gave it another since."""
        if self._moves is None:
            self._moves = await accounts.moves(self.client.name)
        move = self._moves.get((user_id, email)) if user_id else None
        return move.password_email if move else email

    async def begin_move(self, accounts: Accounts, user_id: str, move: Move, run_id: str) -> None:
        """Store that this account is about to get another e-mail, and know it from now on."""
        await accounts.begin_move(self.client.name, user_id, move, run_id)
        self._moves = None

    async def give_up_move(self, accounts: Accounts, user_id: str, email: str) -> None:
        """Forget that this account was about to get another e-mail, which Twenty refused."""
        await accounts.give_up_move(self.client.name, user_id, email)
        self._moves = None

    def joining(self, email: str) -> asyncio.Lock:
        """Held while a person joins: in two workspaces at once, a new person would become two accounts."""
        return self._joining.setdefault(email, asyncio.Lock())

    async def service_user_ids(self) -> list[str]:
        """The service account's user ids there; they do not change once it has signed in."""
        if not self._service_user_ids:
            self._service_user_ids = await self.database.user_ids(self.client.service_account.email)
        return self._service_user_ids

    stop: Fault | None = None
    creation_stop: Fault | None = None

    def note(self, fault: Fault) -> None:
        """Remember a fault that holds for the whole server: refused, unknown, full, or away."""
        away = fault.reason is Reason.SERVER_UNREACHABLE and fault.away
        if fault.kind is not FaultKind.SERVER and not away:
            return
        if fault.reason in _CREATION_ONLY:
            self.creation_stop = self.creation_stop or fault
        else:
            self.stop = self.stop or fault

    def must_be_usable(self) -> None:
        """Raise the stop, if there is one."""
        if self.stop:
            raise self.stop

    def must_take_workspaces(self) -> None:
        """Raise the stop of creations, if there is one."""
        self.must_be_usable()
        if self.creation_stop:
            raise self.creation_stop


@dataclass(frozen=True, slots=True)
class AtClerk:
    """What Clerk said in the step itself of members who are to get something.

    Args:
        asked: the Clerk users that we asked about.
        roles: Clerk user → their role in the organization, of all its members.
        emails: Clerk user → their verified primary e-mail, if they have one.
        asked_at: when, by the monotonic clock.
    """

    asked: frozenset[str]
    roles: Mapping[str, str]
    emails: Mapping[str, str | None]
    banned: frozenset[str]
    asked_at: float

    def role(self, user: str) -> str | None:
        """The role of an active member; None for any other user."""
        return self.roles.get(user) if user in self.emails and user not in self.banned else None


@dataclass
class Scope:
    """One tenant being worked on.

    Args:
        twenty: the tenant's Twenty server; None where no server can take it, so that no step on one is taken.
        tell: gets a sentence about each part of a step that takes long, as soon as it is done.
    """

    plan: TenantPlan
    twenty: Server | None
    own_database: Callable[[], AbstractAsyncContextManager[Database]]
    ledger: Ledger
    registry: Registry
    members: Members
    accounts: Accounts
    removed_rows: RemovedRows
    access_locks: AccessLocks
    clerk: ClerkClient
    record: Record
    settings: Settings
    lock_wait_seconds: float
    tell: Callable[[str], None] = log.info
    at_clerk: AtClerk | None = None
    address: WorkspaceAddress | None = None
    conditions: dict[ConditionType, Condition] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        return self.record.run_id

    @property
    def outcomes(self) -> list[Outcome]:
        return self.record.outcomes

    @property
    def database_name(self) -> str:
        return self.plan.tenant.database_name

    @property
    def server(self) -> Server:
        """The tenant's server, for steps that are taken on one."""
        assert self.twenty is not None
        return self.twenty

    @property
    def client(self) -> TwentyClient:
        return self.server.client

    def role_of(self, clerk_role: str) -> str:
        """Label of the role in Twenty that a role at Clerk gives."""
        return self.settings.member_roles.get(clerk_role, self.settings.member_default_role)

    async def account(self, email: str, user_id: str | None = None) -> Account:
        """The account of a member: the service account itself, or one with a derived password."""
        service = self.client.service_account
        if email == service.email:
            return service
        derived_from = await self.server.password_email(self.accounts, email, user_id)
        return Account(email, derived_password(self.settings.member_password_key, derived_from), user_id)

    async def link(self) -> Link:
        """The tenant's row, read under its lock.

        Raises:
            Fault: BUSY when another run has meanwhile begun on another server than the plan says.
        """
        link = await self.ledger.link(self.database_name)
        if link.server is not None and link.server != self.client.name:
            raise Fault(
                FaultKind.BUSY,
                Reason.TENANT_BUSY,
                f"Another run has meanwhile begun on {link.server}; this plan said {self.client.name}. The next run "
                "plans anew.",
            )
        return link

    def set(self, condition: Condition) -> None:
        self.conditions[condition.type] = condition

    def change(self, change: Change, detail: str) -> AbstractAsyncContextManager[list[str]]:
        """Record a change from its beginning to its end, as `Record.change`."""
        return self.record.change(change, detail)


async def workspace_address(scope: Scope, link: Link) -> WorkspaceAddress:
    """Where one signs in to the tenant's workspace, from the ledger, or from Twenty when that has no URL."""
    if scope.address:
        # opened by an earlier step under the same lock
        return scope.address
    if link.workspace_id is None:
        raise Fault(FaultKind.TENANT, Reason.WAITING, "The workspace is not made yet; run provision_workspaces first.")
    state = await living_state(scope, link.workspace_id)
    if link.workspace_url and link.subdomain == state.subdomain:
        return WorkspaceAddress(link.workspace_id, link.workspace_url)
    # renamed in Twenty since, so that the address of old leads nowhere
    address = await scope.client.address(link.workspace_id)
    if await scope.ledger.follow_addresses({scope.database_name: (state.subdomain, address.url)}):
        async with scope.change(FOLLOW_ADDRESS, f"it is reached at {address.url} now"):
            pass
    return address


async def living_state(scope: Scope, workspace_id: str) -> WorkspaceState:
    """How Twenty's database has the workspace now.

    Raises:
        Fault: WORKSPACE_GONE when it was deleted.
    """
    state = await scope.server.database.workspace_state(workspace_id)
    if state is None or state.deleted:
        raise Fault(
            FaultKind.TENANT,
            Reason.WORKSPACE_GONE,
            f"Workspace {workspace_id} was deleted in Twenty. Nothing is made in its place by itself: "
            f"`provisioning restart {scope.plan.tenant.slug}` lets the next run make a new one.",
        )
    return state


WriteDown = Callable[[list[Row]], Awaitable[None]]


@asynccontextmanager
async def written_down(
    removed: RemovedRows, run_id: str, database_name: str, server: str | None, table: str = ONBOARDING_TABLE
) -> AsyncIterator[WriteDown]:
    """Give a function that writes rows down; they count as removed at the end, and are forgotten if it was refused.

    After a crash in between, or a connection that broke, they stay written down as being removed: whether they are
    gone, only a look can tell.
    """
    ids: list[int] = []

    async def write_down(rows: list[Row]) -> None:
        ids.extend(await removed.store(run_id, database_name, server, table, rows))

    try:
        yield write_down
    except Exception as error:
        if not (isinstance(error, Fault) and error.kind is FaultKind.TRANSIENT):
            await removed.forget(ids)
        raise
    await removed.settle(ids)
