"""One Twenty server, as PROVISIONING_TWENTY_SERVERS describes it, and what all of them have to be."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from provisioning_pipeline.settings import types as kinds
from provisioning_pipeline.settings.faults import MissingTwentySettings
from provisioning_pipeline.values.faults import PREFIX
from provisioning_pipeline.values.urls import encrypted

SINGLE_SERVER: Final = "twenty"
"""Name of the server that the single TWENTY settings describe."""
SINGLE_SERVER_FIELDS: Final = (
    "twenty_base_url",
    "twenty_database_url",
    "twenty_service_email",
    "twenty_service_password",
)


class TwentyServer(BaseModel):
    """One Twenty server: where it is, its own database, and our account on it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$", description="Short name; stored in the ledger.")
    base_url: kinds.HttpUrl = Field(description="Base URL of the server.")
    database_url: kinds.PostgresUrl = Field(
        description="Its own database; read, and written to for half members and rows that no call clears."
    )
    service_email: kinds.Email = Field(min_length=3, description="E-mail of our service account there.")
    service_password: kinds.ServicePassword = Field(
        min_length=8, max_length=50, description="Its password (8 to 50 characters)."
    )
    capacity: int | None = Field(
        default=None, ge=0, le=kinds.MOST_COUNT, description="Most workspaces it may hold; none = no limit of ours."
    )
    tenants: kinds.Pattern | None = Field(default=None, description="Regular expression over slugs that belong here.")

    @field_validator("*", mode="before")
    @classmethod
    def _cleaned(cls, value: Any) -> Any:
        return kinds.cleaned(value)


def checked_servers(servers: tuple[TwentyServer, ...], others: Mapping[str, Any]) -> tuple[TwentyServer, ...]:
    """The same servers, if they and the single one go together.

    Args:
        others: the other settings; one that is malformed is missing.

    Raises:
        ValueError: what is wrong with them.
    """
    missing = [PREFIX + name.upper() for name in SINGLE_SERVER_FIELDS if name in others and others[name] is None]
    if missing and (len(missing) < len(SINGLE_SERVER_FIELDS) or not servers):
        raise MissingTwentySettings(missing)
    names = [server.name for server in servers] + ([] if missing else [SINGLE_SERVER])
    if len(names) != len(set(names)):
        raise ValueError("two servers have the same name")
    single_base = others.get("twenty_base_url")
    bases = [server.base_url for server in servers] + ([single_base] if single_base else [])
    if len(bases) != len(set(bases)):
        raise ValueError("two servers have the same base_url, so their workspaces would be counted twice")
    for server in servers:
        try:
            encrypted(server.base_url, but_for=others.get("allow_http_hosts", ()))
        except ValueError as fault:
            message = f"the base_url of {server.name} {fault}"
            raise ValueError(message) from None
    return servers
