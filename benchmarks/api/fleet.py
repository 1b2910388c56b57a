"""Members with sessions: a sandbox of ready tenants, and tokens that its Clerk signs."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2
import jwt
import psycopg
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from benchmarks.api.bare import Known
from benchmarks.rows import add_rows
from benchmarks.stand_in import only_settings
from provisioning_pipeline.run.run import apply
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions

AUDIENCE = "https://app.example.com"
"""Clerk's session tokens have none by themselves; a claim of one's own makes the bare check complete."""
_VALID_SECONDS = 3600
_SIGNERS = 2
_MEMBERS = """
    SELECT m.clerk_user_id, t.clerk_org_id, t.slug, t.workspace_id::text, m.twenty_user_id::text,
           CASE WHEN m.twenty_user_id = t.admin_user_id THEN 'Admin' ELSE 'Member' END
    FROM provisioning.tenant_link t JOIN provisioning.member_link m USING (database_name)
    WHERE t.ready ORDER BY t.slug, m.clerk_user_id
"""


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody's membership at Clerk, and the headers that their session must be answered with."""

    user_id: str
    organization_id: str
    headers: dict[str, str]


@dataclass
class Fleet:
    """Ready tenants that are being served.

    Args:
        environment: every PROVISIONING_* setting that the HTTP API needs for them.
        members: of all tenants, as the ledger has them.
    """

    environment: dict[str, str]
    members: Sequence[Member]
    _sandbox: Sandbox
    _sessions_before: int = 0

    def reset_counters(self) -> None:
        """Count calls to Clerk and connections anew."""
        self._sandbox.reset_counters()
        self._sessions_before = self._sessions()

    def clerk_calls(self) -> int:
        """How often Clerk was called since."""
        state = httpx2.get(f"{self._sandbox.clerk.frontend_url}/sandbox/state").raise_for_status().json()
        return sum(state["calls"].values())

    def connections(self) -> int:
        """How often the ledger's database was connected to since, by sessions that have ended."""
        # the one that asks now is not counted before it ends
        return self._sessions() - self._sessions_before - 1

    def _sessions(self) -> int:
        with psycopg.connect(self._sandbox.registry_url) as registry:
            row = registry.execute(
                "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
            ).fetchone()
        assert row is not None
        return int(row[0])

    def tokens(self, count: int) -> list[str]:
        """So many session tokens, no two of them the same, of the members in turn."""
        clerk = self._sandbox.clerk

        def sign(number: int) -> str:
            member = self.members[number % len(self.members)]
            return clerk.session_token(member.user_id, member.organization_id, seconds=_VALID_SECONDS, aud=AUDIENCE)

        with ThreadPoolExecutor(_SIGNERS) as signers:
            return list(signers.map(sign, range(count)))

    def known(self) -> Known:
        """What the bare server is given."""
        issuer = self._sandbox.clerk.frontend_url
        (key,) = httpx2.get(f"{issuer}/.well-known/jwks.json").raise_for_status().json()["keys"]
        public = jwt.PyJWK(key).key
        assert isinstance(public, RSAPublicKey)
        pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        headers = {f"{member.organization_id} {member.user_id}": member.headers for member in self.members}
        return {"key": pem.decode(), "issuer": issuer, "audience": AUDIENCE, "headers": headers}


@contextmanager
def fleet(tenants: int, members: int) -> Iterator[Fleet]:
    """So many ready tenants of so many members each; the first is real, the others are rows."""
    with Sandbox(SandboxOptions(tenants=1, members=members)) as sandbox:
        environment = sandbox.environment()
        with only_settings(environment) as settings:
            asyncio.run(apply(settings))
            if tenants > 1:
                add_rows(settings, sandbox.clerk, tenants - 1, members=members)
        found = _members(sandbox.registry_url)
        if len(found) != tenants * members:
            raise RuntimeError(f"{len(found)} members are linked instead of {tenants * members}")
        yield Fleet(environment, found, sandbox)


def _members(registry_url: str) -> list[Member]:
    with psycopg.connect(registry_url) as registry:
        rows = registry.execute(_MEMBERS).fetchall()
    names = ("x-tenant", "x-twenty-workspace-id", "x-twenty-user-id", "x-twenty-role")
    return [Member(user, organization, dict(zip(names, told, strict=True))) for user, organization, *told in rows]
