"""Sends a message to every place that apprise reaches. Its URLs are secrets: they stand in no log, error or trace."""

import logging
from collections.abc import Collection, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pydantic import SecretStr

from provisioning_pipeline.values.urls import encrypted

if TYPE_CHECKING:
    from apprise import NotifyBase

_MISSING = "needs apprise, which is not installed here: pip install 'provisioning-pipeline[apprise]'"


class NoPlace(Exception):
    """A URL leads to no place that may get a message; the text says why, without the URL."""


def kind_of(url: SecretStr) -> str:
    """What of a URL may be shown: its scheme."""
    return url.get_secret_value().partition("://")[0].lower()


def notify(urls: Sequence[SecretStr], title: str, body: str, *, http_hosts: Collection[str] = ()) -> tuple[str, ...]:
    """Send it to each once, in turn; of those that did not take it, why, each beginning with its number and scheme.

    Args:
        http_hosts: hosts that may get it over a connection that is not encrypted.
    """
    refused = []
    for number, url in enumerate(urls, 1):
        try:
            taken = place_of(url, http_hosts=http_hosts).notify(body=body, title=title)
            why = None if taken else "did not take it"
        except NoPlace as fault:
            why = str(fault)
        except Exception as error:  # noqa: BLE001  # a plugin's own, whose words may quote the URL
            why = f"failed with {type(error).__name__}"
        if why:
            refused.append(f"number {number} ({kind_of(url)}) {why}")
    return tuple(refused)


def place_of(url: SecretStr, *, http_hosts: Collection[str]) -> "NotifyBase":
    """The place behind a URL; nothing is sent.

    Raises:
        NoPlace: when there is none, or the way there is not encrypted.
    """
    if find_spec("apprise") is None:
        raise NoPlace(_MISSING)
    from apprise import Apprise, OverflowMode

    # at other levels these two write whole URLs, and what is wrong is said by us
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 10)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    place = Apprise.instantiate(url.get_secret_value())
    if place is None:
        raise NoPlace("is no URL that apprise takes")
    plain, safe = _schemes(place, "protocol"), _schemes(place, "secure_protocol")
    if safe and kind_of(url) in plain:
        host = getattr(place, "host", None) or "localhost"
        try:
            encrypted(f"http://{f'[{host}]' if ':' in host else host}", but_for=http_hosts)
        except ValueError:
            better = " or ".join(f"{scheme}://" for scheme in safe)
            raise NoPlace(
                f"would send it readable to everyone on the way: write {better}, or name the host in "
                "PROVISIONING_ALLOW_HTTP_HOSTS if that network is yours alone"
            ) from None
    if place.overflow_mode is OverflowMode.UPSTREAM:
        # what is too long would be refused again and again
        place.overflow_mode = OverflowMode.TRUNCATE
    return place


def _schemes(place: "NotifyBase", attribute: str) -> tuple[str, ...]:
    # one, several or none, as each plugin has it
    named = getattr(place, attribute, None) or ()
    return (named,) if isinstance(named, str) else tuple(named)
