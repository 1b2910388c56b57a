"""Clerk's Backend API: lists proved whole or in doubt, a check of one member, and the two ids that we store there.

Limits as in Clerk's OpenAPI of 2026-05-12: 500 objects on a page (more silently answer 10), 100 ids in a call.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, Self, TypeVar

import httpx2
from pydantic import SecretStr

from provisioning_pipeline.clients.clerk.refusals import refused
from provisioning_pipeline.clients.clerk.standing import (
    API_VERSION,
    MEMBERS,
    OTHER_JSON,
    USER,
    data_of,
    list_of,
    listed,
    membership_call,
    object_of,
    path_of,
    standing_of,
    total_of,
)
from provisioning_pipeline.clients.clerk.walk import (
    MOST_PER_PAGE,
    WORKSPACE_ID_KEY,
    Page,
    Parse,
    Row,
    Walk,
    all_emails,
    by_cursor,
    by_ids,
    by_offset,
    membership_row,
    organization_row,
    page_of,
    user_row,
)
from provisioning_pipeline.clients.concurrency import LimitOfAll, SharedBudget, all_of, both, shared_limit
from provisioning_pipeline.clients.http import OddAnswer, OddAnswerFault
from provisioning_pipeline.clients.json_answers import json_of
from provisioning_pipeline.clients.transport import CallCounter, Effect, Transport
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.people import Departure

MOST_IDS_PER_CALL = 100
_CALLS_AT_ONCE = 4
_OLDEST_FIRST = "+created_at"
_SYSTEM = "Clerk"
T = TypeVar("T")


class ClerkClient:
    """Clerk behind one secret key.

    Args:
        requests_per_10_seconds: calls that Clerk allows the instance.
        share: part of them that all of this process may use together.
        budget: what all processes may use together, besides.
    """

    def __init__(
        self,
        base_url: str,
        secret_key: SecretStr,
        *,
        timeout_seconds: float,
        dry_run: bool,
        counter: CallCounter,
        requests_per_10_seconds: int = 1000,
        share: float = 0.8,
        budget: SharedBudget | None = None,
    ) -> None:
        key = secret_key.get_secret_value()
        own = shared_limit(key, max(1, int(requests_per_10_seconds * share)))
        self._transport = Transport(
            base_url,
            system=_SYSTEM,
            unreachable=Reason.CLERK_UNREACHABLE,
            timeout_seconds=timeout_seconds,
            dry_run=dry_run,
            counter=counter,
            headers={"authorization": f"Bearer {key}", "clerk-api-version": API_VERSION},
            limit=LimitOfAll(own, budget) if budget else own,
            setting="PROVISIONING_CLERK_BASE_URL",
        )
        self._is_clerk = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.__aexit__()

    async def instance(self) -> dict[str, Any]:
        """The instance behind the key: `id` and `environment_type` (production, development, …).

        Raises:
            Fault: of kind SERVER when what answers is not Clerk.
        """
        try:
            found = await self._ask("/instance", "GET /instance", object_of)
        except OddAnswerFault as fault:
            raise Fault(
                FaultKind.SERVER,
                Reason.CLERK_UNREACHABLE,
                fault.message
                if fault.redirected
                else f"What answers at {self._transport.base_url} is not Clerk: {fault.why}. Check "
                "PROVISIONING_CLERK_BASE_URL: it is taken as it is, and api.clerk.com needs /v1 at its end.",
            ) from None
        assert found is not None
        return found

    # --- lists

    async def organizations(self) -> Walk:
        """Every organization, as rows of ORGANIZATIONS."""
        return await self._all("organizations", "/organizations", "GET /organizations", organization_row)

    async def memberships(self) -> Walk:
        """Who belongs to which organization in the whole instance, as rows of MEMBERSHIPS."""
        path = "/organization_memberships"
        return await self._all("memberships", path, f"GET {path}", membership_row)

    async def organization_memberships(self, organization_id: str) -> Walk:
        """The members of an organization, as rows of MEMBERSHIPS.

        Raises:
            Fault: ORGANIZATION_MISSING when Clerk knows no such organization.
        """
        return await self._all(
            f"members of {organization_id}",
            path_of("organizations", organization_id, "memberships"),
            MEMBERS,
            membership_row,
            organization_id,
        )

    async def users(self) -> Walk:
        """Every user, as rows of CLERK_USERS."""

        async def count() -> int:
            return await self._get("/users/count", "GET /users/count", total_of)

        async def after(cursor: str | None) -> Page | None:
            parameters: dict[str, Any] = {"limit": MOST_PER_PAGE, "order_by": _OLDEST_FIRST}
            # what Clerk answers to the id of a deleted user is not documented
            absent = (400, 404, 422) if cursor else ()
            if cursor:
                parameters["starting_after"] = cursor
            return await self._get_if_there("/users", "GET /users", _page_of_users, parameters, absent=absent)

        return await by_cursor("users", count, after)

    async def some_users(self, user_ids: Iterable[str]) -> Walk:
        """The users with these ids, as rows of CLERK_USERS; deleted ones are missing."""
        return await self._by_ids("users", "user_id", user_ids, _page_of_users)

    async def known_emails(self, emails: Iterable[str]) -> frozenset[str]:
        """Those of these e-mails that any user at Clerk has, verified or not; all in lower case."""
        wanted = sorted({email.strip().lower() for email in emails})
        known: set[str] = set()
        for start in range(0, len(wanted), MOST_IDS_PER_CALL):
            chunk = wanted[start : start + MOST_IDS_PER_CALL]
            parameters = {"email_address": chunk, "limit": MOST_PER_PAGE}
            known.update(await self._get("/users", "GET /users", _emails, parameters))
        return frozenset(known & set(wanted))

    async def some_organizations(self, organization_ids: Iterable[str]) -> Walk:
        """The organizations with these ids, as rows of ORGANIZATIONS; those that Clerk does not know are missing."""
        return await self._by_ids(
            "organizations",
            "organization_id",
            organization_ids,
            lambda answer: page_of(data_of(answer), organization_row),
        )

    async def organization_by_slug(self, slug: str) -> Row | None:
        """The organization with exactly this slug, as a row of ORGANIZATIONS; None when there is none."""
        name = "GET /organizations/{slug}"
        if not slug:
            return None
        answer = await self._get_if_there(path_of("organizations", slug), name, object_of)
        if answer is None:
            await self._prove_clerk()
            return None
        # the same path takes ids, so that what was found need not have that slug
        if answer.get("slug") != slug:
            return None
        page = page_of([answer], organization_row)
        return next(iter(page.rows.values()), None)

    # --- one member

    async def standing(self, organization_id: str, user_id: str) -> Departure | bool:
        """A member check: how one member is gone, else True: an active member, or False: not certain.

        An organization that Clerk does not know proves nothing: that may be another instance's key.

        Raises:
            Fault: when Clerk could not be asked.
        """
        path, parameters = membership_call(organization_id, user_id)
        members, user = await both(
            self._get_if_there(path, MEMBERS, listed, parameters),
            self._get_if_there(path_of("users", user_id), USER, object_of),
        )
        if members is None:
            await self._prove_clerk()
            return False
        return standing_of(user_id, members, user)

    # --- writes

    async def store_workspace_id(self, organization_id: str, workspace_id: str | None) -> None:
        """Store the workspace id in the organization's public metadata, beside what is there; None takes it away.

        Raises:
            Fault: ORGANIZATION_MISSING when Clerk knows no such organization.
            DryRunViolation: in a dry run.
        """
        name = "PATCH /organizations/{id}/metadata"
        path = path_of("organizations", organization_id, "metadata")
        status, _ = await self._patch(path, name, {"public_metadata": {WORKSPACE_ID_KEY: workspace_id}}, (404,))
        if status == 404:
            raise await self._organization_missing(organization_id)

    async def clear_workspace_id(self, organization_id: str, workspace_id: str) -> bool:
        """Take this workspace's id out of the organization's public metadata; False when it does not stand there.

        An organization that names another workspace by now, or that Clerk does not know any more, is left alone.

        Raises:
            Fault: CLERK_READ_INCOMPLETE when Clerk does not say for certain what stands there.
            DryRunViolation: in a dry run.
        """
        walk = await self.some_organizations([organization_id])
        if walk.doubt:
            raise Fault(FaultKind.TRANSIENT, Reason.CLERK_READ_INCOMPLETE, walk.doubt)
        if not any(named == workspace_id for _, _, _, named in walk.rows):
            return False
        await self.store_workspace_id(organization_id, None)
        return True

    async def store_external_id(self, user_id: str, external_id: str | None) -> None:
        """Store an id of ours as the user's `external_id`; None takes it away.

        Raises:
            Fault: EXTERNAL_ID_TAKEN when another user has it, MEMBERS_GONE when Clerk knows no such user.
            DryRunViolation: in a dry run.
        """
        name = "PATCH /users/{id}"
        body = {"external_id": external_id}
        status, codes = await self._patch(path_of("users", user_id), name, body, (404, 409, 422))
        if status == 404:
            await self._prove_clerk()
            raise Fault(FaultKind.TENANT, Reason.MEMBERS_GONE, f"Clerk knows no user {user_id} any more.")
        if status in (409, 422):
            raise Fault(
                FaultKind.TENANT,
                Reason.EXTERNAL_ID_TAKEN,
                f"Clerk does not take {external_id} as the external id of {user_id} ({codes}): "
                "another user has it. Take it away from that one, or leave it.",
            )

    # --- the wire

    async def _all(
        self,
        name: str,
        path: str,
        call: str,
        parse: Parse,
        organization_id: str | None = None,
    ) -> Walk:
        def read(answer: Any) -> tuple[Page, int]:
            return page_of(data_of(answer), parse), total_of(answer)

        async def page_at(offset: int) -> tuple[Page, int]:
            parameters = {"limit": MOST_PER_PAGE, "offset": offset, "order_by": _OLDEST_FIRST}
            if organization_id is None:
                return await self._get(path, call, read, parameters)
            found = await self._get_if_there(path, call, read, parameters)
            if found is None:
                raise await self._organization_missing(organization_id)
            return found

        return await by_offset(name, page_at)

    async def _by_ids(self, name: str, parameter: str, ids: Iterable[str], page: Callable[[Any], Page]) -> Walk:
        wanted = list(dict.fromkeys(filter(None, ids)))
        chunks = iter(range(0, len(wanted), MOST_IDS_PER_CALL))
        pages: dict[int, Page] = {}

        async def read_on() -> None:
            for start in chunks:
                chunk = wanted[start : start + MOST_IDS_PER_CALL]
                asked = {parameter: chunk, "limit": MOST_IDS_PER_CALL}
                pages[start] = await self._get(f"/{name}", f"GET /{name}", page, asked)

        await all_of(read_on() for _ in range(_CALLS_AT_ONCE))
        return by_ids(name, [pages[start] for start in sorted(pages)], frozenset(wanted))

    async def _prove_clerk(self) -> None:
        """Raise unless Clerk is there: a base URL that is not Clerk's answers oddly to everything."""
        if not self._is_clerk:
            await self.instance()

    async def _organization_missing(self, organization_id: str) -> Fault:
        await self._prove_clerk()
        return Fault(
            FaultKind.TENANT,
            Reason.ORGANIZATION_MISSING,
            f"Clerk knows no organization {organization_id}. Correct clerk_org_id in the registry.",
        )

    async def _get(
        self, path: str, name: str, read: Callable[[Any], T], parameters: Mapping[str, Any] | None = None
    ) -> T:
        """What `read` makes of Clerk's answer, which is asked for again while it is odd.

        Raises:
            Fault: of kind SERVER when what answers is not Clerk; transient when only this was answered oddly.
        """
        found = await self._get_if_there(path, name, read, parameters, absent=())
        assert found is not None
        return found

    async def _get_if_there(
        self,
        path: str,
        name: str,
        read: Callable[[Any], T],
        parameters: Mapping[str, Any] | None = None,
        *,
        absent: Container[int] = (404,),
    ) -> T | None:
        """The same; None when Clerk itself, and not something in front of it, refuses with one of these statuses."""
        try:
            return await self._ask(path, name, read, parameters, absent=absent)
        except OddAnswerFault:
            await self._prove_clerk()
            raise

    async def _ask(
        self,
        path: str,
        name: str,
        read: Callable[[Any], T],
        parameters: Mapping[str, Any] | None = None,
        *,
        absent: Container[int] = (),
    ) -> T | None:
        def answer(response: httpx2.Response) -> T | None:
            if response.is_success:
                found = read(json_of(response))
                self._is_clerk = True
                return found
            refused(response, json_of(response), name, absent)
            return None

        return await self._transport.ask(
            "GET", path, name=name, effect=Effect.READ, read=answer, params=dict(parameters or {})
        )

    async def _patch(self, path: str, name: str, body: Mapping[str, Any], expected: Container[int]) -> tuple[int, str]:
        """Write; the status that Clerk answers, if it is a success or one of these refusals, and its error codes."""

        def answer(response: httpx2.Response) -> tuple[int, str]:
            if response.is_success:
                object_of(json_of(response))
                return response.status_code, ""
            return response.status_code, refused(response, json_of(response), name, expected)

        try:
            return await self._transport.ask("PATCH", path, name=name, effect=Effect.WRITE, read=answer, json=body)
        except OddAnswerFault:
            await self._prove_clerk()
            raise


def _page_of_users(answer: Any) -> Page:
    return page_of(list_of(answer), user_row)


def _emails(answer: Any) -> set[str]:
    try:
        return {email for user in list_of(answer) for email in all_emails(user)}
    except (KeyError, TypeError, AttributeError):
        raise OddAnswer(OTHER_JSON) from None
