"""The `Authorization` header of routes that take keys and passwords; sessions have more places to be in."""

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import Request

from provisioning_pipeline.http.problems import Problem


def authorization_of(request: Request, challenge: Mapping[str, str]) -> str:
    """The `Authorization` header of a request; empty where there is none.

    Args:
        challenge: `WWW-Authenticate`, for the refusal.

    Raises:
        Problem: 401 when there are several, also where they say the same: a proxy before us may have looked at another
            one than we would.
    """
    found = request.headers.getlist("authorization")
    if len(found) > 1:
        raise Problem(HTTPStatus.UNAUTHORIZED, "The request has more than one Authorization header.", challenge)
    return found[0] if found else ""
