"""Asks Clerk about single members, by calls that only read: all that a gateway needs of Clerk's Backend API."""

import asyncio
import json
from collections.abc import Callable, Container, Mapping
from typing import Any, Final, TypeVar

import httpx2

from provisioning_pipeline.clients.clerk.refusals import refused
from provisioning_pipeline.clients.clerk.standing import (
    API_VERSION,
    MEMBERS,
    USER,
    listed,
    membership_call,
    object_of,
    path_of,
    standing_of,
)
from provisioning_pipeline.clients.http import (
    OddAnswer,
    answer_in_words,
    http_client,
    in_words,
    read_whole,
    redirect_of,
)
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.people import Departure

T = TypeVar("T")
_TRIES: Final = 3
_FIRST_PAUSE_SECONDS: Final = 0.2


class MemberReader:
    """Clerk behind one secret key, for member checks alone."""

    def __init__(self, base_url: str, secret_key: str, *, timeout_seconds: float) -> None:
        self._base_url = base_url
        headers = {"authorization": f"Bearer {secret_key}", "clerk-api-version": API_VERSION}
        self._http = http_client(base_url, timeout_seconds=timeout_seconds, headers=headers)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def standing(self, organization_id: str, user_id: str) -> Departure | bool:
        """A member check: how one member is gone, else True: an active member, or False: not certain.

        An organization that Clerk does not know proves nothing: that may be another instance's key.

        Raises:
            Fault: when Clerk could not be asked.
        """
        path, parameters = membership_call(organization_id, user_id)
        try:
            async with asyncio.TaskGroup() as both:
                members = both.create_task(self._get(path, MEMBERS, listed, parameters))
                user = both.create_task(self._get(path_of("users", user_id), USER, object_of))
        except* Fault as faults:
            failed = faults.exceptions[0]
        else:
            found = members.result()
            return False if found is None else standing_of(user_id, found, user.result())
        raise failed

    async def _get(
        self, path: str, name: str, read: Callable[[Any], T], parameters: Mapping[str, Any] | None = None
    ) -> T | None:
        """What `read` makes of the answer, asked for again while there is none; None when Clerk answers 404."""
        pause, why = _FIRST_PAUSE_SECONDS, ""
        for tries in range(_TRIES):
            if tries:
                await asyncio.sleep(pause)
                pause *= 2
            try:
                arguments = {"params": dict(parameters or {})}
                response = await read_whole(self._http, "GET", self._base_url + path, arguments)
                return _understood(response, name, read, absent=(404,))
            except OddAnswer as odd:
                why = odd.why
            except httpx2.RequestError as error:
                why = in_words(error, self._base_url)
        raise Fault(
            FaultKind.TRANSIENT,
            Reason.CLERK_UNREACHABLE,
            f"Clerk at {self._base_url} gave no usable answer to {name}: {why}. Check that it is reachable from here, "
            "and PROVISIONING_CLERK_BASE_URL.",
        )


def _understood(response: httpx2.Response, name: str, read: Callable[[Any], T], *, absent: Container[int]) -> T | None:
    location = redirect_of(response)
    if location is not None:
        raise OddAnswer(f"a redirect (HTTP {response.status_code}) to {location}, which is not followed")
    if response.status_code == httpx2.codes.TOO_MANY_REQUESTS or response.status_code >= 500:
        raise OddAnswer(f"HTTP {response.status_code}")
    try:
        answer = json.loads(response.content)
    except (ValueError, RecursionError):
        raise OddAnswer(answer_in_words(response)) from None
    if response.is_success:
        return read(answer)
    refused(response, answer, name, absent)
    return None
