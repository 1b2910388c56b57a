"""Reads of Clerk's Backend API, each walk proved whole or marked incomplete.

Limits as in Clerk's OpenAPI of 2026-05-12 and as measured: a limit over 500 silently answers 10 rows, so it is
clamped here; a walk by offset is whole only when the distinct ids equal a total_count that did not move.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from provisioning_pipeline.clients.transport import CallCounter, Effect, Transport
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.people import Membership, User

API_VERSION = "2026-05-12"
MOST_PER_PAGE = 500
MOST_IDS_PER_CALL = 100
_SYSTEM = "Clerk"
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Walk:
    """What a walk over all pages found, and whether that is proved to be everything."""

    rows: tuple[dict[str, Any], ...]
    complete: bool


class ClerkClient:
    """Clerk, read-only."""

    def __init__(
        self,
        base_url: str,
        secret_key: SecretStr,
        *,
        timeout_seconds: float,
        dry_run: bool,
        counter: CallCounter,
    ) -> None:
        self._transport = Transport(
            base_url,
            system=_SYSTEM,
            unreachable=Reason.CLERK_UNREACHABLE,
            timeout_seconds=timeout_seconds,
            dry_run=dry_run,
            counter=counter,
            headers={
                "authorization": f"Bearer {secret_key.get_secret_value()}",
                "clerk-api-version": API_VERSION,
            },
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    async def instance(self) -> dict[str, Any]:
        """The instance behind the key: `id` and `environment_type` (production, development, …)."""
        answer = await self._get("/instance", "GET /instance")
        return answer if isinstance(answer, dict) else {}

    async def memberships(self, organization_id: str) -> tuple[tuple[Membership, ...], bool]:
        """The members of an organization, and whether the list is proved whole.

        Raises:
            Fault: ORGANIZATION_MISSING when Clerk knows no such organization.
        """
        path = f"/organizations/{quote(organization_id, safe='')}/memberships"
        walk = await self._walk(path, "GET /organizations/{id}/memberships")
        if walk is None:
            await self.instance()  # a base URL that is not Clerk's knows no organization either, and says so here
            raise Fault(
                FaultKind.TENANT,
                Reason.ORGANIZATION_MISSING,
                f"Clerk knows no organization {organization_id}. Correct clerk_org_id in the registry.",
            )
        return (
            tuple(
                Membership(
                    user_id=row["public_user_data"]["user_id"],
                    role=row["role"],
                    banned=bool(row["public_user_data"].get("banned")),
                    created_at=int(row["created_at"]),
                )
                for row in walk.rows
                if row.get("public_user_data") and row["public_user_data"].get("user_id")
            ),
            walk.complete,
        )

    async def users(self, user_ids: Sequence[str]) -> dict[str, User]:
        """The users with these ids, by id; deleted ones are missing."""
        found: dict[str, User] = {}
        for start in range(0, len(user_ids), MOST_IDS_PER_CALL):
            chunk = list(user_ids[start : start + MOST_IDS_PER_CALL])
            rows = await self._get("/users", "GET /users", {"user_id": chunk, "limit": MOST_IDS_PER_CALL})
            found |= {row["id"]: _user(row) for row in rows or []}
        return found

    async def _walk(self, path: str, name: str) -> Walk | None:
        rows: dict[str, dict[str, Any]] = {}
        totals: set[int] = set()
        offset = 0
        while True:
            page = await self._get(
                path,
                name,
                {"limit": MOST_PER_PAGE, "offset": offset, "order_by": "+created_at"},
                absent=True,
            )
            if page is _ABSENT:
                return None
            if not isinstance(page, dict) or not isinstance(page.get("total_count"), int) or "data" not in page:
                raise _not_clerk(name)
            totals.add(page["total_count"])
            rows |= {row["id"]: row for row in page["data"]}
            offset += len(page["data"])
            if not page["data"] or offset >= page["total_count"]:
                return Walk(tuple(rows.values()), complete=totals == {len(rows)})

    async def _get(
        self, path: str, name: str, parameters: Mapping[str, Any] | None = None, *, absent: bool = False
    ) -> Any:
        response = await self._transport.send("GET", path, name=name, effect=Effect.READ, params=dict(parameters or {}))
        if absent and response.status_code == 404:
            return _ABSENT
        if response.status_code >= 400:
            raise _fault(response, name)
        try:
            return response.json()
        except ValueError:
            raise _not_clerk(name) from None


def _not_clerk(name: str) -> Fault:
    return Fault(
        FaultKind.SERVER,
        Reason.CLERK_UNREACHABLE,
        f"The answer to {name} is not Clerk's. Check PROVISIONING_CLERK_BASE_URL.",
    )


def _fault(response: httpx.Response, name: str) -> Fault:
    status = response.status_code
    if status == 401:
        return Fault(
            FaultKind.SERVER,
            Reason.CREDENTIALS_REFUSED,
            f"Clerk refuses the secret key (HTTP {status}). Correct PROVISIONING_CLERK_SECRET_KEY.",
        )
    if status == 404:
        return Fault(
            FaultKind.SERVER,
            Reason.CLERK_UNREACHABLE,
            f"Clerk knows no {name} (HTTP 404). Check PROVISIONING_CLERK_BASE_URL: it is taken as it is, and "
            "api.clerk.com needs /v1 at its end.",
        )
    return Fault(
        FaultKind.TENANT,
        Reason.CLERK_UNREACHABLE,
        f"Clerk refused {name} (HTTP {status}): {_codes(response)}.",
    )


def _codes(response: httpx.Response) -> str:
    try:
        errors: Iterable[Mapping[str, Any]] = response.json()["errors"]
        return ", ".join(str(error.get("code")) for error in errors)
    except (ValueError, KeyError, TypeError):
        return "no reason given"


def _user(row: Mapping[str, Any]) -> User:
    primary = next(
        (entry for entry in row.get("email_addresses") or [] if entry.get("id") == row.get("primary_email_address_id")),
        None,
    )
    verified = primary is not None and (primary.get("verification") or {}).get("status") == "verified"
    return User(
        user_id=row["id"],
        verified_email=primary["email_address"].strip().lower() if primary and verified else None,
        first_name=(row.get("first_name") or "").strip(),
        last_name=(row.get("last_name") or "").strip(),
        banned=bool(row.get("banned")),
    )
