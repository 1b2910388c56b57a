"""Every setting of the program, read from the environment and `.env`."""

import re
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator

from provisioning_pipeline.settings.environment import environment_faults
from provisioning_pipeline.settings.faults import SettingsError, fault_lines
from provisioning_pipeline.settings.gateway import MOST_COUNT, MOST_SECONDS, MOST_WAIT_SECONDS, GatewaySettings
from provisioning_pipeline.settings.sources import file_faults
from provisioning_pipeline.settings.tenant_cluster import TenantClusterSettings
from provisioning_pipeline.settings.twenty_server import SINGLE_SERVER, TwentyServer, checked_servers
from provisioning_pipeline.settings.types import (
    Email,
    Folder,
    HttpUrl,
    MemberPasswordKey,
    Names,
    Pattern,
    Place,
    PostgresUrl,
    Readers,
    ReportPassword,
    SecretHttpUrl,
    ServicePassword,
    encrypted,
)

Kind = TypeVar("Kind", bound=GatewaySettings)
_MOST_DAYS = 36_500
"""Beyond a century a date has no place in a calendar any more."""
_MOST_HOURS = _MOST_DAYS * 24


class Settings(TenantClusterSettings):
    """All settings. Secrets are `SecretStr`: printing this object shows none of them."""

    twenty_base_url: HttpUrl | None = Field(
        default=None,
        description="Base URL of the one Twenty server (or use PROVISIONING_TWENTY_SERVERS).",
        examples=["https://crm.example.com"],
    )
    twenty_database_url: PostgresUrl | None = Field(
        default=None,
        description="Database of that server; read, and written to for half members and rows that no call clears.",
        examples=["postgresql://reader:secret@db.example.com:5432/twenty"],
    )
    twenty_service_email: Email | None = Field(
        default=None,
        min_length=3,
        description="E-mail of the service account: a server admin that creates and owns every workspace.",
        examples=["provisioner@example.com"],
    )
    twenty_service_password: ServicePassword | None = Field(
        default=None,
        min_length=8,
        max_length=50,
        description="Its password (8 to 50 characters).",
        examples=["a-long-random-password"],
    )
    twenty_capacity: int | None = Field(
        default=None,
        ge=0,
        le=MOST_COUNT,
        description="Most workspaces on that server; unset = no limit of ours (Twenty itself allows 5 without a key).",
        examples=["5"],
    )
    twenty_servers: tuple[TwentyServer, ...] = Field(
        default=(),
        validate_default=True,
        description="Several Twenty servers, as a JSON list of {name, base_url, database_url, service_email, "
        "service_password, capacity, tenants}. They come on top of the single one.",
        examples=[
            '[{"name": "eu", "base_url": "https://eu.example.com", "database_url": '
            '"postgresql://reader:secret@db/eu", "service_email": "provisioner@example.com", '
            '"service_password": "a-long-random-password", "capacity": 5}]'
        ],
    )
    clerk_share: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Share of these calls that a run may use; the rest is left to your own use of Clerk.",
        examples=["0.8"],
    )
    clerk_webhook_secret: SecretStr | None = Field(
        default=None,
        description="Signing secret of the webhook endpoint at Clerk; without it no webhook is accepted.",
        examples=["whsec_..."],
    )
    clerk_store_workspace_id: bool = Field(
        default=True,
        description="Keep the workspace id in the organization's public metadata (`twenty_workspace_id`), so that a "
        "session token can carry it.",
        examples=["true"],
    )
    clerk_store_external_id: bool = Field(
        default=False,
        description="Keep the Twenty user id as `external_id` of a Clerk user that has none. Only with one server.",
        examples=["false"],
    )
    adopt_by_slug: bool = Field(
        default=False,
        description="Give a tenant the Clerk organization that has its slug, where nothing else says whose it is.",
        examples=["false"],
    )
    members_gone: Literal["report", "demote", "remove"] = Field(
        default="report",
        description="What happens in Twenty to a linked member who is banned, deleted or no longer a member at Clerk: "
        "`report`, `demote` (to the default role) or `remove`.",
        examples=["report"],
    )
    members_foreign_password: Literal["report", "invite"] = Field(
        default="report",
        description="What happens when a member's account at Twenty has a password of their own, so that we cannot add "
        "them silently: `report`, or `invite` (Twenty sends them an e-mail).",
        examples=["report"],
    )
    members_unproven: Literal["report", "trust-mailbox", "trust"] = Field(
        default="report",
        description="Members whose Twenty account we did not make: `report` (they keep their role, unless you vouch "
        "for them), `trust-mailbox` (those whose mailbox Twenty calls verified count as their addresses' "
        "owners; the admin of any workspace on the server can bring that about without the mailbox) or "
        "`trust` (the first to sign up under an address counts as its owner).",
        examples=["report"],
    )
    members_gone_api_keys: Literal["report", "revoke"] = Field(
        default="report",
        description="Living API keys of a workspace that were made while a member who is now removed could make keys. "
        "Twenty does not record who made a key: `report` them, or `revoke` them all.",
        examples=["report"],
    )
    renew_invite_link: Literal["removals", "never"] = Field(
        default="removals",
        description="When a workspace gets another public invite link, so that no one joins with the earlier one: "
        "after `removals` of members, who could all read it, or `never`. We renew a link that is off and "
        "that we turn on for a join in any case.",
        examples=["removals"],
    )
    harm_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Removals and demotions that a run may make in a tenant: share of its members, at least one.",
        examples=["0.1"],
    )
    harm_most: int = Field(
        default=50,
        ge=0,
        le=MOST_COUNT,
        description="Removals and demotions that a run may make in all. Beyond either limit they wait for "
        "`provisioning apply --approve`.",
        examples=["50"],
    )
    tenant_databases: Literal["repair", "report"] = Field(
        default="repair",
        description="What happens to onboarding rows in a tenant's own database that no Twenty server serves: "
        "`repair` (we remove them by SQL and keep them for `provisioning undo`) or `report`.",
        examples=["repair"],
    )
    tenant_database_connections: int = Field(
        default=8, ge=1, le=64, description="Tenant databases inspected at once.", examples=["8"]
    )
    tenant_database_rows: int = Field(
        default=10_000,
        ge=1_000,
        le=100_000,
        description="Relevant rows of one table in a tenant's own database, and 800 bytes for each of all tables "
        "together. We report a database with more and do not read it; a run needs memory in proportion.",
        examples=["10000"],
    )
    full_look_seconds: float = Field(
        default=86400,
        ge=0,
        le=MOST_SECONDS,
        description="We inspect a tenant database again after this time, even if nothing wrote to it.",
        examples=["86400"],
    )
    onboarding_people: Literal["ours", "everyone"] = Field(
        default="ours",
        description="Whose wizard we clear: `ours` (members that we added or linked) or `everyone`, also people who "
        "signed up on their own.",
        examples=["ours"],
    )
    take_over_members: bool = Field(
        default=True,
        description="Add members of a tenant's workspace that was inserted by SQL, if Clerk does not know them at "
        "all, to its proper workspace.",
        examples=["true"],
    )
    take_over_domains: Names = Field(
        default=(),
        description="Domains whose addresses may be taken over into any tenant, as a JSON list, besides the tenant's "
        "own: those of its members at Clerk and of its admins, except public mailbox providers.",
        examples=['["acme.com"]'],
    )
    take_over_per_tenant: int = Field(
        default=10,
        ge=0,
        le=MOST_COUNT,
        description="People that we take over into one tenant without an approval, over all runs.",
        examples=["10"],
    )
    take_over_most: int = Field(
        default=50,
        ge=0,
        le=MOST_COUNT,
        description="People that one run takes over without an approval. Beyond either limit they wait for "
        "`provisioning apply --approve`.",
        examples=["50"],
    )
    tenant_manager_roles: Names = Field(
        default=(),
        description="PostgreSQL roles of the tenant manager, as a JSON list; superusers always count. We take no one "
        "over from a tenant database that belongs to another role. Unset: the owner of the registry's "
        "table.",
        examples=['["tenant_manager"]'],
    )
    mend_hand_made: bool = Field(
        default=False,
        description="Set a complete workspace in a tenant database that was inserted by SQL and left in "
        "PENDING_CREATION to ACTIVE.",
        examples=["false"],
    )
    verify_sample: int = Field(
        default=3,
        ge=0,
        le=MOST_COUNT,
        description="Members of each tenant, besides its admin, whose login a verification proves; others each time.",
        examples=["3"],
    )
    member_password_key: MemberPasswordKey = Field(
        min_length=16,
        description="Secret from which the passwords of accounts that we create are derived; "
        "never change it once accounts exist.",
        examples=["the output of: openssl rand -hex 32"],
    )
    report_path: Folder = Field(
        default=Path("reports"), description="Folder for the reports.", examples=["/var/lib/provisioning/reports"]
    )
    tables_path: Place | None = Field(
        default=None,
        description="Where tables (Parquet), plans and the values between Dagster steps are kept: a folder, or an "
        "object store such as s3://bucket/prefix (install its fsspec package, here s3fs). Unset: the folder `tables` "
        "beside the reports. Steps on several machines need a place that all of them reach.",
        examples=["s3://company-provisioning/tables"],
    )
    files_readable_by: Readers = Field(
        default="owner",
        description="Who on this machine may read reports, tables, plans and the values between Dagster steps, which "
        "hold e-mail addresses: `owner` (the user that runs the process), `group` (its group, too) or `everyone`.",
        examples=["group"],
    )
    dagster_url: HttpUrl | None = Field(
        default=None,
        description="Base URL of Dagster's web server, so that reports and alerts can link to a run.",
        examples=["https://dagster.example.com"],
    )
    dagster_graphql_url: HttpUrl | None = Field(
        default=None,
        description="Dagster's GraphQL endpoint, through which `provisioning serve` launches runs; unset: "
        "PROVISIONING_DAGSTER_URL with /graphql. With neither, it requests a review, and the sensor launches.",
        examples=["http://dagster-webserver:3000/graphql"],
    )
    dagster_location: str | None = Field(
        default=None,
        min_length=1,
        description="Name of the code location whose runs `provisioning serve` launches. Unset: the one whose sensors "
        "work on this ledger, or the only one that has the job.",
        examples=["provisioning_pipeline"],
    )
    api_url: HttpUrl | None = Field(
        default=None,
        description="Base URL of `provisioning serve`, so that assets in Dagster can link to the report's page.",
        examples=["https://provisioning.example.com"],
    )
    report_password: ReportPassword | None = Field(
        default=None,
        min_length=12,
        description="Password (any user name) for reports and timelines that `provisioning serve` shows; without it "
        "only callers on the same machine see them.",
        examples=["a-long-random-password"],
    )
    key_requests_per_minute: int = Field(
        default=600,
        ge=1,
        le=MOST_COUNT,
        description="Requests that one API key may send in a minute to one process of `provisioning serve`.",
        examples=["600"],
    )
    key_tenants_without_database: int = Field(
        default=20,
        ge=1,
        le=MOST_COUNT,
        description="Tenants whose database does not exist that one API key may have registered at a time; one more is "
        "refused with 409 until their databases are there, or their rows are gone.",
        examples=["20"],
    )
    sign_ins_per_minute: int = Field(
        default=10,
        ge=1,
        le=MOST_COUNT,
        description="One-time sign-ins to Twenty that one member may ask for in a minute of one process.",
        examples=["10"],
    )
    impersonated_sign_in: bool = Field(
        default=False,
        description="Let a Clerk session that another user opened in the member's name (claim `act`) sign in to "
        "Twenty as that member.",
        examples=["false"],
    )
    unproven_sign_in: bool = Field(
        default=False,
        description="Dangerous: let a member whose account proves nothing about its address (see "
        "PROVISIONING_MEMBERS_UNPROVEN) sign in to Twenty over HTTP. The person who signed that account up has its "
        "password, and sees everything that the member does there.",
        examples=["false"],
    )
    alert_webhook_url: SecretHttpUrl | None = Field(
        default=None,
        description="Where alerts are posted: an incoming webhook of Slack, or of anything that takes the same JSON. "
        "Without it no alert leaves.",
        examples=["https://hooks.slack.com/services/..."],
    )
    report_fresh_hours: float = Field(
        default=3.0,
        gt=0,
        le=_MOST_HOURS,
        description="The check report_is_fresh fails when no run over all tenants has finished for so long.",
        examples=["3"],
    )
    keep_outcomes_days: int = Field(
        default=90,
        ge=1,
        le=_MOST_DAYS,
        description="How long the ledger keeps what runs did and what drift they found.",
        examples=["90"],
    )
    keep_timelines_days: int = Field(
        default=365,
        ge=1,
        le=_MOST_DAYS,
        description="How long the ledger keeps changes of conditions in tenants' timelines, and the rows of runs.",
        examples=["365"],
    )
    keep_reports_days: int = Field(
        default=30, ge=1, le=_MOST_DAYS, description="How long report files and saved plans stay.", examples=["30"]
    )
    keep_removed_rows_days: int = Field(
        default=90,
        ge=1,
        le=_MOST_DAYS,
        description="How long the ledger keeps rows that we removed by SQL; after that no `provisioning undo` brings "
        "them back.",
        examples=["90"],
    )
    keep_dagster_days: int = Field(
        default=30,
        ge=1,
        le=_MOST_DAYS,
        description="How long finished runs and their events stay in Dagster.",
        examples=["30"],
    )
    tenant_database_pattern: Pattern = Field(
        default="^twenty_tenant_.+",
        description="PostgreSQL regular expression that tenant database names must match.",
        examples=["^twenty_tenant_.+"],
    )
    tenant_database_excluded: Names = Field(
        default=("twenty_tenant_template",),
        description="Databases that match but are no tenants, as a JSON list.",
        examples=['["twenty_tenant_template"]'],
    )
    adopt_databases: bool = Field(
        default=True,
        description="Register a tenant database that the registry does not know.",
        examples=["true"],
    )
    registry_pending_statuses: Names = Field(
        default=("pending", "creating", "provisioning"),
        description="Registry statuses that become the ready status once a tenant is ready, as a JSON list.",
        examples=['["pending", "provisioning"]'],
    )
    registry_ready_status: str = Field(
        default="active", description="Registry status of a ready tenant.", examples=["active"]
    )
    service_member_name: str = Field(
        default="Workspace Provisioning",
        min_length=1,
        description="Name that the service account carries inside each workspace.",
        examples=["Workspace Provisioning"],
    )
    tenant_concurrency: int = Field(default=4, ge=1, le=64, description="Tenants worked on at once.", examples=["4"])
    twenty_concurrency: int = Field(
        default=8,
        ge=1,
        le=64,
        description="Calls under way at once at one Twenty server; its sign-ups cost processor time.",
        examples=["8"],
    )
    activation_timeout_seconds: float = Field(
        default=180.0,
        gt=0,
        le=MOST_WAIT_SECONDS,
        description="Longest wait for the answer to the call that activates a workspace.",
        examples=["180"],
    )
    lock_wait_seconds: float = Field(
        default=120.0,
        ge=0,
        le=MOST_WAIT_SECONDS,
        description="Longest wait for another process that works on the same tenant.",
        examples=["120"],
    )
    step_per_tenant_limit: int = Field(
        default=20,
        ge=0,
        le=MOST_COUNT,
        description="Up to this many tenants each get Dagster steps of their own; more go in chunks.",
        examples=["20"],
    )
    tenants_per_chunk: int = Field(
        default=100, ge=1, le=1000, description="Tenants in one chunk of a large run.", examples=["100"]
    )
    failure_threshold: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="A Dagster run fails when more than this share of the tenants it worked on failed.",
        examples=["0.5"],
    )
    retry_seconds: float = Field(
        default=60.0,
        gt=0,
        le=MOST_SECONDS,
        description="First wait before a failed tenant is tried again.",
        examples=["60"],
    )
    retry_most_seconds: float = Field(
        default=3600.0,
        gt=0,
        le=MOST_SECONDS,
        description="Longest wait between two tries of a tenant.",
        examples=["3600"],
    )

    @field_validator("twenty_base_url", "alert_webhook_url", mode="after")
    @classmethod
    def _encrypted(cls, url: str | SecretStr | None, info: ValidationInfo) -> str | SecretStr | None:
        if url is not None:
            text = url.get_secret_value() if isinstance(url, SecretStr) else url
            encrypted(text, but_for=info.data.get("allow_http_hosts", ()))
        return url

    @field_validator("twenty_servers", mode="after")
    @classmethod
    def _some_twenty(cls, servers: tuple[TwentyServer, ...], info: ValidationInfo) -> tuple[TwentyServer, ...]:
        # on the field, not on the model: its faults are then told together with those of the other fields
        return checked_servers(servers, info.data)

    @property
    def graphql_url(self) -> str | None:
        """Dagster's GraphQL endpoint; None: no web server is known."""
        return self.dagster_graphql_url or (f"{self.dagster_url}/graphql" if self.dagster_url else None)

    def is_tenant_database(self, name: str) -> bool:
        """Whether a database of this name would be looked at as a tenant's."""
        return bool(re.search(self.tenant_database_pattern, name)) and name not in self.tenant_database_excluded

    @property
    def tables(self) -> str:
        """Where tables, plans and the values between Dagster steps are kept: a folder or a URL that fsspec knows."""
        return self.tables_path or str(self.report_path / "tables")

    @property
    def new_statuses(self) -> tuple[str, ...]:
        """What a row that we add to the registry may say, the best first: its table may not know them all."""
        return self.registry_pending_statuses[::-1] or ("provisioning",)

    @cached_property
    def servers(self) -> tuple[TwentyServer, ...]:
        """Every configured Twenty server; the single one is called `twenty`."""
        if not (
            self.twenty_base_url
            and self.twenty_database_url
            and self.twenty_service_email
            and self.twenty_service_password
        ):
            return self.twenty_servers
        single = TwentyServer(
            name=SINGLE_SERVER,
            base_url=self.twenty_base_url,
            database_url=self.twenty_database_url,
            service_email=self.twenty_service_email,
            service_password=self.twenty_service_password,
            capacity=self.twenty_capacity,
        )
        return (single, *self.twenty_servers)


def load_settings(**overrides: Any) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: with one line per fault, naming the environment variable.
    """
    return _load(Settings, overrides)


def load_gateway_settings() -> GatewaySettings:
    """Read the settings that a gateway needs.

    Raises:
        SettingsError: with one line per fault, naming the environment variable.
    """
    return _load(GatewaySettings, {})


def _load(kind: type[Kind], overrides: dict[str, Any]) -> Kind:
    file = overrides.get("_env_file", kind.model_config.get("env_file"))
    faults = [*environment_faults(), *(file_faults(Path(file)) if file else ())]
    if faults:
        raise SettingsError(faults)
    try:
        return kind(**overrides)
    except ValidationError as error:
        faults = fault_lines(error)
    # not in the handler: the values hang on the exception that is handled there
    raise SettingsError(faults)
