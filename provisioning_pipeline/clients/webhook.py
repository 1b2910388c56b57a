"""Posts JSON to an incoming webhook whose URL is a secret: it stands in no log, no error and no trace."""

import json
from collections.abc import Mapping
from http.client import HTTPException
from ssl import SSLError
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from pydantic import SecretStr

from provisioning_pipeline.clients.http import certificates, in_words
from provisioning_pipeline.values.environment import proxy_for


class NotPosted(Exception):
    """The other side did not take it; the text says why, without the URL.

    Args:
        status: what it answered; None: it did not answer.
    """

    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.status = status


def post(url: SecretStr, message: Mapping[str, Any], *, timeout_seconds: float) -> None:
    """Send this JSON once; the caller tries again later. Blocks until there is an answer.

    A redirect is a refusal: what is behind it did not get the message.

    Raises:
        NotPosted: when it was not accepted, or may not have been.
    """
    post_signed(url, json.dumps(message).encode(), {}, timeout_seconds=timeout_seconds)


def post_signed(url: SecretStr, body: bytes, headers: Mapping[str, str], *, timeout_seconds: float) -> None:
    """The same for JSON whose signature, over exactly these bytes, stands in headers."""
    if refusal := _refusal(url, body, headers, timeout_seconds):
        # outside of any handler, so that no exception that knows the URL hangs on it
        raise refusal


def _refusal(url: SecretStr, body: bytes, headers: Mapping[str, str], timeout_seconds: float) -> NotPosted | None:
    try:
        request = Request(  # noqa: S310  # the settings let only http and https through
            url.get_secret_value(),
            data=body,
            headers={"Content-Type": "application/json; charset=utf-8", **headers},
            method="POST",
        )
        # what it says besides its status is nothing to us
        _opener(url.get_secret_value()).open(request, timeout=timeout_seconds).close()
    except HTTPError as error:
        error.close()
        return NotPosted(f"the webhook answered HTTP {error.code}", error.code)
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(getattr(error, "reason", None), SSLError):
            return NotPosted(f"the webhook cannot be reached: {in_words(error, url.get_secret_value())}")
        # its words may quote the URL, its class does not
        cause = getattr(error, "reason", None)
        return NotPosted(
            f"the webhook cannot be reached: {type(cause if isinstance(cause, OSError) else error).__name__}"
        )
    return None


def _opener(url: str) -> OpenerDirector:
    """Like urllib's own, with the same proxy as all other connections and without following redirects.

    Not httpx2, which writes each URL into its log.
    """
    proxy = proxy_for(url)
    opener = OpenerDirector()
    for handler in (
        ProxyHandler({urlsplit(url).scheme: proxy.url} if proxy else {}),
        HTTPHandler(),
        HTTPSHandler(context=certificates()),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
        UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener
