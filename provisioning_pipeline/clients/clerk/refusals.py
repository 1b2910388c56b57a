"""What Clerk's refusals mean. Pure."""

from collections.abc import Container
from typing import Any

import httpx2

from provisioning_pipeline.clients.http import OddAnswer, answer_in_words, plain_text
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind


def refused(response: httpx2.Response, answer: Any, name: str, expected: Container[int]) -> str:
    """The codes of a refusal of Clerk's own, when it has one of these statuses.

    Args:
        answer: the JSON in it.
        name: of the call.

    Raises:
        OddAnswer: when something in front of Clerk refused.
        Fault: what any other status asks of us.
    """
    try:
        codes = [error["code"] for error in answer["errors"]]
    except (KeyError, TypeError):
        raise OddAnswer(answer_in_words(response)) from None
    words, status = plain_text(", ".join(map(str, codes))) or "no reason given", response.status_code
    if status in expected:
        return words
    if status == 401:
        raise Fault(
            FaultKind.SERVER,
            Reason.CREDENTIALS_REFUSED,
            f"Clerk refuses the secret key (HTTP {status}). Correct PROVISIONING_CLERK_SECRET_KEY.",
        )
    if status == 404:
        # of a list that Clerk has, or of a path of which it only seems that Clerk is behind it
        raise OddAnswer(f"HTTP 404, as if Clerk had no {name}")
    raise Fault(FaultKind.TENANT, Reason.CLERK_UNREACHABLE, f"Clerk refused {name} (HTTP {status}): {words}.")
