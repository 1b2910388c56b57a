"""What every resolver is handed: the server's parts, and who is calling."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import bcrypt
from graphql import GraphQLResolveInfo

from provisioning_pipeline.sandbox.faults import Faults
from provisioning_pipeline.sandbox.twenty.options import Mail, TwentyOptions
from provisioning_pipeline.sandbox.twenty.store import Row, Session
from provisioning_pipeline.sandbox.twenty.tokens import Tokens


@dataclass
class Runtime:
    """One running server."""

    options: TwentyOptions
    faults: Faults
    port: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    mutating_calls: int = 0
    mails: list[Mail] = field(default_factory=list)
    db: Session = field(init=False)
    tokens: Tokens = field(init=False)
    # API keys may make 100 record calls a minute per workspace; the real server counts them in Redis.
    record_calls: dict[UUID, list[float]] = field(default_factory=dict)
    # Rows that a token was used with. The real server has them in a cache that SQL does not change: such a token goes
    # on working after the row was deleted in SQL, one that was never used does not (recorded on 2.21.0).
    known_ties: set[UUID] = field(default_factory=set)
    known_workspaces: dict[UUID, Row] = field(default_factory=dict)
    # Login tokens that were taken, on a server that takes each once.
    spent_login_tokens: set[str] = field(default_factory=set)
    stopping: bool = False

    def workspace_urls(self, workspace: Row) -> Row:
        """Where a browser would find the workspace."""
        host = f"{workspace['subdomain']}.{self.options.public_host}"
        return {"subdomainUrl": f"http://{host}:{self.port}/", "customUrl": workspace["customDomain"]}

    async def hash_password(self, password: str) -> str:
        """Hash off the event loop: it is meant to be slow."""
        salt = bcrypt.gensalt(self.options.bcrypt_rounds)
        return (await asyncio.to_thread(bcrypt.hashpw, password.encode()[:72], salt)).decode()

    async def check_password(self, password: str, hashed: str) -> bool:
        """Compare off the event loop."""
        return await asyncio.to_thread(bcrypt.checkpw, password.encode()[:72], hashed.encode())


@dataclass(frozen=True)
class Caller:
    """The person that the bearer token stands for. All None: no one."""

    user: Row | None = None
    workspace: Row | None = None
    user_workspace_id: UUID | None = None
    workspace_member_id: UUID | None = None
    """As in the token: None in one issued before the activation."""
    api_key: Row | None = None
    token_type: str | None = None
    provider: str = "password"
    impersonating: bool = False


@dataclass(frozen=True)
class Call:
    """The context of one HTTP request."""

    runtime: Runtime
    caller: Caller
    user_agent: str | None = None
    session_cookie: str | None = None
    """The cookie that came with the request."""
    cookies: list[str] = field(default_factory=list)
    """The cookies that go back with the answer."""

    @property
    def db(self) -> Session:
        return self.runtime.db

    @property
    def tokens(self) -> Tokens:
        return self.runtime.tokens


def call_of(info: GraphQLResolveInfo) -> Call:
    """The typed context of a resolver."""
    context: Any = info.context
    assert isinstance(context, Call)
    return context
