"""One server on trial: how what is made there is recognised, and the calls and queries that every behaviour needs."""

import re
import secrets
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, TypeVar

from psycopg import errors, sql
from pydantic import SecretStr

from provisioning_pipeline.clients.postgres import Database, Row
from provisioning_pipeline.clients.postgres_refusals import first_line
from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.accounts import Account, Created, Token, WorkspaceAddress, derived_password
from provisioning_pipeline.clients.twenty.client import TwentyClient
from provisioning_pipeline.clients.twenty.database import TwentyDatabase
from provisioning_pipeline.clients.twenty.errors import TwentyFault
from provisioning_pipeline.clients.twenty.members import RosterEntry, schema_name
from provisioning_pipeline.clients.twenty.operation import Operation
from provisioning_pipeline.clients.twenty.operations import Joined
from provisioning_pipeline.clients.twenty.session import TwentySession
from provisioning_pipeline.clients.twenty.wire import TwentyWire
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.people import ADMIN_ROLE
from provisioning_pipeline.tasks.certify.locked import Deleted, Locked

T = TypeVar("T")

DISPLAY_NAME = "Thrown away by provisioning certify"
"""Name of every workspace that is made; no one else would call theirs so."""
EMAIL_DOMAIN = "certify.example"
"""Reserved for documentation (RFC 2606): no mail is ever delivered there."""
SUBDOMAIN = re.compile(r"certify-[0-9a-f]{8}-[a-z0-9]{1,8}(-[a-z0-9]{1,12})?")
"""Of a workspace; with a second part where a run took another subdomain because the first was taken."""
EMAIL = re.compile(r"certify-[0-9a-f]{8}-[a-z0-9]{1,8}@certify\.example")
JUNK = Token("certify-no-token", datetime.now(UTC) + timedelta(days=1))
"""What is no token at all."""
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
"""The id of no account, member or role."""
PLACES = 2
"""How many workspaces a certification has on the server at a time."""


def new_run() -> str:
    """A mark of one certification, in every subdomain and address that it makes."""
    return secrets.token_hex(4)


def subdomain(run: str, number: int | str) -> str:
    """The subdomain, and the slug, of one workspace of this run."""
    return f"certify-{run}-{number}"


def email(run: str, number: int | str) -> str:
    """The address of one account of this run."""
    return f"certify-{run}-{number}@{EMAIL_DOMAIN}"


class Unseen(Exception):
    """There is no way to look at it on this server; the text says why."""


class Blocked(Exception):
    """It cannot be looked at, because something that comes before it failed."""


class NoPlace(Exception):
    """The server has not the two free places that a certification needs, so nothing more can be looked at there."""


@dataclass
class Place:
    """An active workspace of ours, with what one needs to work in it."""

    address: WorkspaceAddress
    invite_hash: str
    roles: Mapping[str, str]
    own_user_id: str
    own_member_id: str


@dataclass
class Trial:
    """A server on trial. Its methods raise `Blocked` where something that a behaviour needs cannot be had.

    Args:
        wire, session, client: the way to it, by single calls, with who is signed in, and by what this program does.
        database: for reads; `writes`: for states that no call of Twenty's brings about, in our own workspaces only.
        run: the mark of this certification.
        key: from which passwords of accounts are derived, so that a later run can remove what this one left.
        activation_seconds: the longest wait for an activation.
    """

    wire: TwentyWire
    session: TwentySession
    client: TwentyClient
    database: TwentyDatabase
    reads: Database
    writes: Database
    run: str
    key: SecretStr
    activation_seconds: float
    main: Place | None = None
    other: Place | None = None
    begun_at: datetime | None = None
    created: Created | None = None
    token_before_activation: Token | None = None
    operations: frozenset[str] = frozenset()
    locked: Locked | None = None
    deleted: Deleted | None = None
    _people: int = 0

    # --- who and where

    @property
    def service(self) -> Account:
        """Our own account there."""
        return self.session.service_account

    def person(self) -> Account:
        """A person who has no account yet; the password is derived, as for every account that this program makes."""
        self._people += 1
        mailbox = email(self.run, f"b{self._people}")
        return Account(mailbox, derived_password(self.key, mailbox))

    def with_other_password(self, account: Account) -> Account:
        """The same address with a password that is not the account's."""
        return Account(account.email, derived_password(self.key, f"not {account.email}"), account.user_id)

    def in_main(self) -> Place:
        """The workspace in which most is tried."""
        return _must_be_there(self.main, "there is no active workspace to try it in")

    def in_other(self) -> Place:
        """The second workspace."""
        return _must_be_there(self.other, "there is no second workspace to try it in")

    # --- calls

    async def call(self, operation: Operation[T], variables: Mapping[str, Any] | None, token: Token | None) -> T:
        """Send an operation with exactly this token.

        Raises:
            TwentyFault: what Twenty refused.
            NoPlace: when it refuses for want of a place.
        """
        return await self._placed(self.wire.call(operation, variables or {}, token, self.activation_seconds))

    async def agnostic(self) -> Token:
        """A token of the service account that belongs to no workspace."""
        return await setting_up("the service account could not sign in", self.session.service_token())

    async def own_token(self, place: Place) -> Token:
        """A token of the service account in that workspace."""
        return await self.token(self.service, place)

    async def token(self, account: Account, place: Place) -> Token:
        """A token of that person in that workspace."""
        return await setting_up(f"{account.email} could not sign in", self.session.member_token(account, place.address))

    async def by_member(self, operation: Operation[T], variables: Mapping[str, Any]) -> T:
        """Send an operation as a new person, who is a Member of the workspace in which most is tried."""
        account = await self.joined()
        return await self.call(operation, variables, await self.token(account, self.in_main()))

    async def by_admin(self, operation: Operation[T], variables: Mapping[str, Any]) -> T:
        """Send an operation as the service account, which is an Admin of that workspace."""
        return await self.call(operation, variables, await self.own_token(self.in_main()))

    async def sign_up(self, invite_hash: str | None, other: Mapping[str, str] | None = None) -> Any:
        """Have a new person sign up by this invite link, with other variables than their own where these are given."""
        variables = {**self.person().credentials(), "workspaceInviteHash": invite_hash, **(other or {})}
        return await self.call(operations.SIGN_UP_IN_WORKSPACE, variables, None)

    async def create(self, number: str) -> Created:
        """Make a workspace, which counts as ours from now on.

        Raises:
            NoPlace: when there is no place for it.
        """
        variables = {"displayName": DISPLAY_NAME, "subdomain": subdomain(self.run, number)}
        answer = await self._placed(self.session.call_in_no_workspace(operations.SIGN_UP_IN_NEW_WORKSPACE, variables))
        address = WorkspaceAddress(answer.workspace.id, answer.workspace.workspace_urls.subdomain_url)
        return Created(address, answer.login_token.token)

    async def _placed(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except TwentyFault as fault:
            if fault.reason is Reason.SERVER_FULL:
                await self.must_have_places(fault.error.message)
            raise

    async def must_have_places(self, refusal: str = "it is full") -> None:
        """A call was refused, in these words, as the server is full: that is no finding unless we have both places.

        Raises:
            NoPlace: when this certification has fewer than two workspaces there.
        """
        rows = await self.ask(
            'SELECT count(*) AS n FROM core.workspace WHERE "deletedAt" IS NULL AND starts_with(subdomain, %s)',
            subdomain(self.run, ""),
        )
        found = rows[0]["n"]
        if found < PLACES:
            raise NoPlace(
                f"certify needs two free places on {self.session.system}; it found {found or 'none'} "
                f"({refusal.rstrip('.')}). Delete "
                "workspaces there that no one needs, or give it an enterprise key, or certify another server of the "
                f"same version and settings; then start `provisioning certify` again."
            )

    async def place(self, address: WorkspaceAddress) -> Place:
        """What there is to work with in an active workspace.

        Raises:
            Fault: when it cannot be read, or our account has no record in it.
        """
        link = await self.client.invite_links.read(address)
        seen = await self.client.current_user(self.service, address)
        lacking = "the service account has no member record in the workspace that it made"
        member_id = _must_be_there(seen.workspace_member_id, lacking)
        return Place(address, link.hash, await self.client.roles(address), seen.user_id, member_id)

    async def join(self, account: Account, place: Place) -> Joined:
        """Have a person join by the invite link; the token that comes of it is not used."""
        variables = {**account.credentials(), "workspaceInviteHash": place.invite_hash}
        return await self.wire.call(operations.SIGN_UP_IN_WORKSPACE, variables, None)

    async def joined(self, place: Place | None = None) -> Account:
        """A new person who is a member."""
        place, account = place or self.in_main(), self.person()
        await setting_up("no one could join the workspace", self.join(account, place))
        return Account(account.email, account.password, (await self.entry(account, place)).user_id)

    async def joined_both(self) -> Account:
        """A new person who is a member of the second workspace, and then joined the one in which most is tried."""
        account = await self.joined(self.in_other())
        await self.join(account, self.in_main())
        return account

    # --- questions

    async def entry(self, account: Account, place: Place) -> RosterEntry:
        """Their membership as the database has it."""
        found = (await self.database.records.roster(place.address.workspace_id)).of(account.user_id, account.email)
        return _must_be_there(found, f"{account.email} is no member, although Twenty let them join")

    async def member_id(self, account: Account, place: Place) -> str:
        """The id of their member record."""
        found = (await self.entry(account, place)).workspace_member_id
        return _must_be_there(found, f"{account.email} has no member record, although Twenty let them join")

    async def remove(self, account: Account, place: Place) -> None:
        """Take them out of the workspace as this program does."""
        await self.client.remove_member(place.address, await self.member_id(account, place))

    async def pending(self, place: Place, user_id: str | None) -> set[str]:
        """Keys of the rows that are pending for that person there, or for the whole workspace for None."""
        flags = await self.database.flags(place.address.workspace_id)
        return {
            flag.key
            for flag in flags
            if flag.user_id == user_id and flag.workspace_id == place.address.workspace_id and flag.value is True
        }

    async def status(self, account: Account, place: Place) -> str | None:
        """What their wizard shows."""
        return (await self.client.current_user(account, place.address)).onboarding_status

    async def ask(self, query: LiteralString, *parameters: object) -> list[Row]:
        """Rows of the server's database."""
        return await self.reads.fetch(query, parameters)

    # --- states that no call brings about

    async def write(self, query: LiteralString | sql.Composed, *parameters: object) -> None:
        """Change rows of our own throw-away workspaces.

        Raises:
            Unseen: when our user may not write there.
        """
        try:
            await self.writes.execute(query, parameters)
        except errors.InsufficientPrivilege as error:
            raise Unseen(f"our database user may not bring it about: {first_line(error)}") from None

    async def set_flag(self, key: str, user_id: str | None, workspace_id: str | None, value: str = "true") -> None:
        """Put an onboarding row in place."""
        await self.write(
            'INSERT INTO core."keyValuePair" (key, "userId", "workspaceId", value, type) '
            "VALUES (%s, %s, %s, %s::jsonb, 'USER_VARIABLE')",
            key,
            user_id,
            workspace_id,
            value,
        )

    async def drop_flags(self, account: Account) -> None:
        """Remove every onboarding row of that person."""
        statement = 'DELETE FROM core."keyValuePair" WHERE "userId" = %s AND key LIKE \'ONBOARDING%%\''
        await self.write(statement, account.user_id)

    async def member_table(self, place: Place) -> sql.Identifier:
        """The workspace's own table of member records."""
        rows = await self.ask(
            'SELECT "databaseSchema" AS name FROM core.workspace WHERE id = %s', place.address.workspace_id
        )
        return sql.Identifier(rows[0]["name"] or schema_name(place.address.workspace_id), "workspaceMember")

    async def grant(self, account: Account, place: Place, role: str = ADMIN_ROLE) -> None:
        """Give a member that role."""
        member = await self.member_id(account, place)
        await setting_up("no role could be set", self.client.set_role(place.address, member, place.roles[role]))


def _must_be_there(found: T | None, otherwise: str) -> T:
    if found is None:
        raise Blocked(otherwise)
    return found


async def setting_up(what: str, work: Awaitable[T]) -> T:
    """Do what a behaviour needs before it can be looked at; `Blocked` when that fails."""
    try:
        return await work
    except Fault as fault:
        raise Blocked(f"{what}: {fault.message}") from None
