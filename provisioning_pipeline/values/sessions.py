"""What it takes to find a Clerk session's workspace, in plain values: `ClerkWorkspaceMiddleware` needs no more."""

import json
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, dataclass, field, fields
from functools import partial
from typing import Any, Final, Self, TypeVar

from provisioning_pipeline.model.people import ADMIN_ROLE
from provisioning_pipeline.model.registry import registry_status
from provisioning_pipeline.values.database_url import checked_database_url
from provisioning_pipeline.values.environment import environment_faults
from provisioning_pipeline.values.faults import PREFIX, SettingsError
from provisioning_pipeline.values.numbers import MOST_COUNT, MOST_SECONDS, between, whole
from provisioning_pipeline.values.texts import cleaned, clerk_key, stripped
from provisioning_pipeline.values.urls import encrypted, host_names, http_url, issuer_url, origin

T = TypeVar("T")
TABLE: Final = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$"
"""What the name of a table may be."""
LONGEST_CACHE_SECONDS: Final = 300
ONLY_ONE_ISSUER: Final = f"only with one issuer: with several, {PREFIX}CLERK_ISSUERS say where their keys are"


def _text(check: Callable[[str], str]) -> Callable[[Any], str]:
    def checked(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("must be a text")
        return check(cleaned(value))

    return checked


def _decoded(value: Any) -> Any:
    """What JSON stands for; what is none stays as it is, and its fault is found."""
    if isinstance(value, str):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    return cleaned(value)


def _texts(check: Callable[[Sequence[str]], tuple[str, ...]]) -> Callable[[Any], tuple[str, ...]]:
    def checked(value: Any) -> tuple[str, ...]:
        values = _decoded(value)
        if not isinstance(values, list | tuple) or not all(isinstance(one, str) for one in values):
            raise ValueError('must be a JSON list, such as ["one", "two"]')
        return check(values)

    return checked


def _each(check: Callable[[str], str]) -> Callable[[Any], tuple[str, ...]]:
    return _texts(lambda values: tuple(check(value) for value in values))


def _table(value: str) -> str:
    if not re.match(TABLE, value):
        raise ValueError("must be the name of a table, with its schema if that is not on the search path")
    return value


def _role(value: str) -> str:
    if not value:
        raise ValueError("must be the label of a role")
    return value


def _roles(value: Any) -> dict[str, str]:
    roles = _decoded(value)
    if not isinstance(roles, Mapping) or not all(isinstance(text, str) for pair in roles.items() for text in pair):
        raise ValueError('must be a JSON object, such as {"org:admin": "Admin"}')
    return dict(roles)


_statuses = _texts(lambda values: tuple(registry_status(value) for value in dict.fromkeys(values)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """The settings of `ClerkWorkspaceMiddleware`; docs/configuration.md says what each is. Its repr shows no secret.

    Raises:
        SettingsError: with one line per value that cannot be, naming it as the environment does.
    """

    registry_url: str = field(repr=False)
    clerk_secret_key: str = field(repr=False)
    registry_table: str = "tenant_registry"
    registry_excluded_statuses: tuple[str, ...] = ("suspended", "deleted", "archived", "deprovisioned", "cancelled")
    registry_gone_statuses: tuple[str, ...] = ("deleted", "archived", "deprovisioned", "cancelled")
    registry_lost_share: float = 0.1
    registry_lost_most: int = 50
    allow_http_hosts: tuple[str, ...] = ()
    clerk_base_url: str = "https://api.clerk.com/v1"
    clerk_requests_per_10_seconds: int = 1000
    clerk_issuers: tuple[str, ...] = ()
    clerk_jwks_url: str | None = None
    clerk_authorized_parties: tuple[str, ...] = ()
    clerk_keys_stale_seconds: float = 3600.0
    clerk_look_share: float = 0.1
    session_cache_seconds: float = 30.0
    member_roles: Mapping[str, str] = field(default_factory=lambda: {"org:admin": ADMIN_ROLE})
    member_default_role: str = "Member"

    def __post_init__(self) -> None:
        values, faults = _checked({name: getattr(self, name) for name in _CHECKS})
        if faults:
            raise SettingsError(faults)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def excluded_statuses(self) -> frozenset[str]:
        """Every registry status whose tenants we exclude."""
        return frozenset({*self.registry_excluded_statuses, *self.registry_gone_statuses})

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The settings in variables named `PROVISIONING_…`; lists and objects are JSON, and an empty one is unset.

        Raises:
            SettingsError: with one line per fault, naming the variable; also of those about proxies and certificates.
        """
        variables = {name.upper(): stripped(text) for name, text in environ.items()}
        given: dict[str, Any] = {name: text for name in _CHECKS if (text := variables.get(PREFIX + name.upper()))}
        needed = (one.name for one in fields(cls) if one.default is MISSING and one.default_factory is MISSING)
        missing = [f"{PREFIX}{name.upper()}: is missing" for name in needed if name not in given]
        values, faults = _checked(given)
        if faults := [*environment_faults(), *missing, *faults]:
            raise SettingsError(faults)
        return cls(**values)


_CHECKS: Final[Mapping[str, Callable[[Any], object]]] = {
    "registry_url": _text(checked_database_url),
    "clerk_secret_key": _text(clerk_key),
    "registry_table": _text(_table),
    "registry_excluded_statuses": _statuses,
    "registry_gone_statuses": _statuses,
    "registry_lost_share": between(0, 1),
    "registry_lost_most": whole(0, MOST_COUNT),
    "allow_http_hosts": _texts(host_names),
    "clerk_base_url": _text(http_url),
    "clerk_requests_per_10_seconds": whole(1, MOST_COUNT),
    "clerk_issuers": _each(issuer_url),
    "clerk_jwks_url": lambda value: None if value is None else _text(issuer_url)(value),
    "clerk_authorized_parties": _each(origin),
    "clerk_keys_stale_seconds": between(0, MOST_SECONDS),
    "clerk_look_share": between(0, 1, above=True),
    "session_cache_seconds": between(0, LONGEST_CACHE_SECONDS),
    "member_roles": _roles,
    "member_default_role": _text(_role),
}
"""What each takes: a value, or a text as the environment has it."""


def _checked(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The values as they are taken, and a line for each that cannot be, by itself or beside the others."""
    values: dict[str, Any] = {}
    faults: list[str] = []

    def check(name: str, taken: Callable[[], object]) -> None:
        try:
            values[name] = taken()
        except ValueError as fault:
            values.pop(name, None)
            faults.append(f"{PREFIX}{name.upper()}: {fault}")

    for name, value in given.items():
        check(name, partial(_CHECKS[name], value))
    if "clerk_base_url" in values:
        check("clerk_base_url", partial(_encrypted, values["clerk_base_url"], values.get("allow_http_hosts", ())))
    if values.get("clerk_jwks_url"):
        check("clerk_jwks_url", partial(_of_one_issuer, values["clerk_jwks_url"], values.get("clerk_issuers", ())))
    return values, faults


def _encrypted(url: str, but_for: Collection[str]) -> str:
    encrypted(url, but_for=but_for)
    return url


def _of_one_issuer(url: str, issuers: Sequence[str]) -> str:
    # keys of one address would sign for every issuer
    if len(issuers) > 1:
        raise ValueError(ONLY_ONE_ISSUER)
    return url
