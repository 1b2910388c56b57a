"""What it takes to find a Clerk session's workspace, and no more: a gateway needs no key to Twenty."""

from dataclasses import fields
from typing import Any

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from provisioning_pipeline.model.people import ADMIN_ROLE
from provisioning_pipeline.model.registry import registry_status
from provisioning_pipeline.settings import types as kinds
from provisioning_pipeline.settings.sources import ENCODING, DotEnv, Environment, SecretFiles, secrets_folder
from provisioning_pipeline.values.faults import PREFIX
from provisioning_pipeline.values.sessions import LONGEST_CACHE_SECONDS, ONLY_ONE_ISSUER, TABLE, SessionSettings
from provisioning_pipeline.values.urls import encrypted


class GatewaySettings(BaseSettings):
    """The settings of `ClerkWorkspaceMiddleware`. Secrets are `SecretStr`: printing this object shows none of them.

    A field has an example where its default is none.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_file_encoding=ENCODING,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    secrets_dir: kinds.Folder | None = Field(
        default=None,
        description="Folder of files that hold settings, one each, called like their variables, in capitals or not: "
        "as Docker and Kubernetes mount secrets. The environment and `.env` go before it.",
        examples=["/run/secrets"],
    )
    registry_url: kinds.PostgresUrl = Field(
        description="The tenant manager's database; our own schema `provisioning` lives there too.",
        examples=["postgresql://provisioning:secret@db.example.com:5432/tenant_manager"],
    )
    registry_table: str = Field(
        default="tenant_registry",
        pattern=TABLE,
        description="The tenant manager's table, with its schema if that is not on the search path.",
        examples=["public.tenant_registry"],
    )
    registry_excluded_statuses: kinds.Names = Field(
        default=("suspended", "deleted", "archived", "deprovisioned", "cancelled"),
        description="Registry statuses whose tenants we exclude, as a JSON list: suspended, or gone.",
        examples=['["suspended", "deleted"]'],
    )
    registry_gone_statuses: kinds.Names = Field(
        default=("deleted", "archived", "deprovisioned", "cancelled"),
        description="Registry statuses of customers who left, as a JSON list. They are excluded, too; every other "
        "excluded status means suspended.",
        examples=['["deleted", "cancelled"]'],
    )
    registry_lost_share: kinds.Share = Field(
        default=0.1,
        description="Known registry rows that may be gone at once and count as taken away: share of all, at least one.",
    )
    registry_lost_most: kinds.Count = Field(
        default=50,
        description="Known registry rows that may be gone at once and count as taken away, in all. Beyond either "
        "limit, and where the table is empty, the registry is in doubt until `provisioning apply --approve`.",
    )
    allow_http_hosts: kinds.Hosts = Field(
        default=(),
        description="Hosts that Clerk's, Twenty's and the alerts' URLs may name with http://, as a JSON list. Keys, "
        "passwords and session tokens are readable to everyone on the way there. This machine needs no mention.",
        examples=['["twenty.internal"]'],
    )
    clerk_base_url: kinds.HttpUrl = Field(
        default="https://api.clerk.com/v1",
        description="Base URL of Clerk's Backend API, taken as it is (nothing is added).",
    )
    clerk_secret_key: kinds.ClerkKey = Field(description="Clerk's secret key.", examples=["sk_live_..."])
    clerk_requests_per_10_seconds: kinds.Positive = Field(
        default=1000,
        description="Backend API calls that Clerk allows in 10 s (1000 in production, 100 in development).",
    )
    clerk_issuers: tuple[kinds.IssuerUrl, ...] = Field(
        default=(),
        description="Clerk's Frontend API URLs whose session tokens are accepted (their claim `iss`), as a JSON list. "
        "Without any, no session is. Several have to be of the one instance that the secret key is of.",
        examples=['["https://clerk.example.com"]'],
    )
    clerk_jwks_url: kinds.IssuerUrl | None = Field(
        default=None,
        description="Where Clerk's public keys are; unset: ISSUER/.well-known/jwks.json of each issuer. "
        "https://api.clerk.com/v1/jwks is asked with the secret key. Only with one issuer.",
        examples=["https://api.clerk.com/v1/jwks"],
    )
    clerk_authorized_parties: tuple[kinds.Origin, ...] = Field(
        default=(),
        description="Origins whose session tokens are accepted (their claim `azp`), as a JSON list. Set it: without "
        "any, a token that was made for another application of the same Clerk instance is accepted too.",
        examples=['["https://app.example.com"]'],
    )
    clerk_keys_stale_seconds: kinds.Seconds = Field(
        default=3600.0, description="How long we trust known public keys of Clerk while we cannot read them anew."
    )
    clerk_look_share: kinds.SomeShare = Field(
        default=0.1,
        description="Share of Clerk's Backend API calls that member checks behind sessions may use, in all processes "
        "together. Beyond it, the token and the ledger decide.",
    )
    session_cache_seconds: float = Field(
        default=30.0,
        ge=0,
        le=LONGEST_CACHE_SECONDS,
        description="How long we remember a member's workspace. So long may a session that was just ended at Clerk, "
        "or a tenant that was just suspended, get through, where its token has not expired before (they live 60 s); a "
        "member who was just removed for twice as long.",
    )
    member_roles: dict[str, str] = Field(
        default={"org:admin": ADMIN_ROLE},
        description="Clerk role → label of the role in Twenty, as JSON. Holders of a role that maps to Admin are the "
        "candidates for a workspace's admin.",
    )
    member_default_role: str = Field(
        default="Member", min_length=1, description="Label of the Twenty role for every other Clerk role."
    )
    request_timeout_seconds: kinds.Wait = Field(
        default=30.0, description="Longest wait for one answer of Clerk or Twenty."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # ours reads the same
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # its folder is a setting here
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes before the file, and that before the folder of secrets; all are read in the same way."""
        path = dotenv_settings.env_file if isinstance(dotenv_settings, DotEnvSettingsSource) else None
        environment, file = Environment(settings_cls), DotEnv(settings_cls, env_file=path)
        folder = secrets_folder(environment, file)
        return init_settings, environment, file, SecretFiles(settings_cls, secrets_dir=folder)

    @field_validator("*", mode="before")
    @classmethod
    def _cleaned(cls, value: Any) -> Any:
        return kinds.cleaned(value)

    @field_validator("clerk_base_url", mode="after")
    @classmethod
    def _clerk_encrypted(cls, url: str, info: ValidationInfo) -> str:
        # the field of the exceptions stands before all fields of URLs, so that it is known here
        encrypted(url, but_for=info.data.get("allow_http_hosts", ()))
        return url

    @property
    def sessions(self) -> SessionSettings:
        """Those that finding a session's workspace takes, in plain values."""
        return SessionSettings(**{one.name: _plain(getattr(self, one.name)) for one in fields(SessionSettings)})

    @property
    def excluded_statuses(self) -> frozenset[str]:
        """Every registry status whose tenants we exclude."""
        return frozenset({*self.registry_excluded_statuses, *self.registry_gone_statuses})

    @field_validator("registry_excluded_statuses", "registry_gone_statuses", mode="after")
    @classmethod
    def _as_compared(cls, statuses: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(registry_status(status) for status in statuses)

    @field_validator("clerk_jwks_url", mode="after")
    @classmethod
    def _one_issuer(cls, url: str | None, info: ValidationInfo) -> str | None:
        # keys of one address would sign for every issuer
        if url is not None and len(info.data.get("clerk_issuers", ())) > 1:
            raise ValueError(ONLY_ONE_ISSUER)
        return url


def _plain(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value
