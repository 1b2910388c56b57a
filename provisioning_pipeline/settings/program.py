"""Every setting of the program, read from the environment and `.env`."""

import re
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator

from provisioning_pipeline.settings import types as kinds
from provisioning_pipeline.settings.executing import ExecutingSettings
from provisioning_pipeline.settings.faults import fault_lines
from provisioning_pipeline.settings.sources import (
    DotEnv,
    Environment,
    file_faults,
    folder_faults,
    secrets_folder,
)
from provisioning_pipeline.settings.twenty_server import (
    SINGLE_SERVER,
    SINGLE_SERVER_FIELDS,
    TwentyServer,
    checked_servers,
)
from provisioning_pipeline.values.environment import environment_faults
from provisioning_pipeline.values.faults import SettingsError
from provisioning_pipeline.values.urls import encrypted

_LONGEST_NAME = 63
"""Bytes of a name that PostgreSQL keeps."""


class Settings(ExecutingSettings):
    """All settings. Secrets are `SecretStr`: printing this object shows none of them."""

    tenant_cluster_url: kinds.PostgresUrl = Field(
        description="Any database of the cluster that holds the tenant databases. Its user should have no rights but "
        "those that docs/installation.md lists: you may not trust the owner of a tenant database.",
        examples=["postgresql://provisioning_tenants:secret@db.example.com:5432/postgres"],
    )
    tenant_database_user: kinds.DatabaseUser | None = Field(
        default=None,
        description="User under which tenant databases are opened; {database} stands for the database's name, so that "
        "each can have a user of its own. Unset: the user of PROVISIONING_TENANT_CLUSTER_URL.",
        examples=["provisioning_{database}"],
    )
    twenty_base_url: kinds.HttpUrl | None = Field(
        default=None,
        description="Base URL of the one Twenty server (or use PROVISIONING_TWENTY_SERVERS).",
        examples=["https://crm.example.com"],
    )
    twenty_database_url: kinds.PostgresUrl | None = Field(
        default=None,
        description="Database of that server; read, and written to for half members and rows that no call clears.",
        examples=["postgresql://reader:secret@db.example.com:5432/twenty"],
    )
    twenty_service_email: kinds.Email | None = Field(
        default=None,
        min_length=3,
        description="E-mail of the service account: a server admin that creates and owns every workspace.",
        examples=["provisioner@example.com"],
    )
    twenty_service_password: kinds.ServicePassword | None = Field(
        default=None,
        min_length=8,
        max_length=50,
        description="Its password (8 to 50 characters).",
        examples=["a-long-random-password"],
    )
    twenty_capacity: int | None = Field(
        default=None,
        ge=0,
        le=kinds.MOST_COUNT,
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
    registry_row_gone: Literal["person", "reading"] = Field(
        default="reading",
        description="What settles that a tenant whose registry row is missing has left: a later `reading`, or only a "
        "`person` (`provisioning offboard`). Until then the tenant is in doubt.",
    )
    registry_row_gone_seconds: kinds.Seconds = Field(
        default=3600.0, description="How much later that reading has to be."
    )
    suspended: Literal["report", "lock"] = Field(
        default="report",
        description="What happens at Twenty to the members of a suspended tenant: `report`, or `lock` (sessions and "
        "logins end until the tenant is back).",
    )
    suspended_most: kinds.Count = Field(
        default=20,
        description="Most tenants whose members runs lock out by themselves in an hour; what is beyond waits for "
        "approval.",
    )
    gone: Literal["report", "archive", "delete"] = Field(
        default="report",
        description="What happens to the workspace of a customer who left, always after approval: `report`, `archive` "
        "(its members are locked out, and it stays) or `delete` (archived first; later exported and deleted).",
    )
    gone_grace_days: float = Field(
        default=30.0,
        ge=0,
        le=3650,
        description="How many days an archived workspace stays before its deletion can be approved.",
    )
    gone_most: kinds.Positive = Field(
        default=5, description="Most tenants that one approval archives or deletes; the others wait for the next."
    )
    clerk_share: kinds.SomeShare = Field(
        default=0.8,
        description="Share of these calls that all runs together may use; the rest is left to your own use of Clerk.",
    )
    clerk_webhook_secret: SecretStr | None = Field(
        default=None,
        description="Signing secret of the webhook endpoint at Clerk; without it no webhook is accepted.",
        examples=["whsec_..."],
    )
    clerk_store_workspace_id: bool = Field(
        default=True,
        description="Store the workspace id in the organization's public metadata (`twenty_workspace_id`), so that a "
        "session token can carry it.",
    )
    clerk_store_external_id: bool = Field(
        default=False,
        description="Store the Twenty user id as `external_id` of a Clerk user that has none. Only with one server.",
    )
    adopt_by_slug: bool = Field(
        default=False,
        description="Give a tenant the Clerk organization that has its slug, where nothing else says whose it is.",
    )
    members_gone: Literal["report", "demote", "remove"] = Field(
        default="report",
        description="What happens in Twenty to a linked member who is banned, deleted or no longer a member at Clerk: "
        "`report`, `demote` (to the default role) or `remove`.",
    )
    email_changes: Literal["report", "follow"] = Field(
        default="report",
        description="What happens when a linked member has another verified e-mail at Clerk: `report`, or `follow` (we "
        "change the e-mail of their account at Twenty, where no other account has it, they have one workspace on "
        "that server, and the account was made here or vouched for).",
    )
    name_changes: Literal["respect", "restore"] = Field(
        default="respect",
        description="What happens to a name that a member changed in Twenty: `respect` (it stays until Clerk's "
        "changes) or `restore` (Clerk's is put back).",
    )
    members_foreign_password: Literal["report", "invite"] = Field(
        default="report",
        description="What happens when a member's account at Twenty has a password of their own, so that we cannot add "
        "them silently: `report`, or `invite` (Twenty sends them an e-mail).",
    )
    members_unproven: Literal["report", "trust-mailbox", "trust"] = Field(
        default="report",
        description="Members whose Twenty account we did not make: `report` (they keep their role, unless you vouch "
        "for them), `trust-mailbox` (those whose mailbox Twenty calls verified count as their addresses' "
        "owners; the admin of any workspace on the server can bring that about without the mailbox) or "
        "`trust` (the first to sign up under an address counts as its owner).",
    )
    members_gone_api_keys: Literal["report", "revoke"] = Field(
        default="report",
        description="Living API keys of a workspace that were made while a member who is now removed could make keys. "
        "Twenty does not record who made a key: `report` them, or `revoke` them all.",
    )
    renew_invite_link: Literal["removals", "never"] = Field(
        default="removals",
        description="When a workspace gets another public invite link, so that no one joins with the earlier one: "
        "after `removals` of members, who could all read it, or `never`. We renew a link that is off and "
        "that we turn on for a join in any case.",
    )
    harm_share: kinds.Share = Field(
        default=0.1,
        description="Removals and demotions that a run may make in a tenant: share of its members, at least one.",
    )
    harm_most: kinds.Count = Field(
        default=50,
        description="Removals and demotions that a run may make in all. Beyond either limit they wait for "
        "`provisioning apply --approve`.",
    )
    tenant_databases: Literal["repair", "report"] = Field(
        default="repair",
        description="What happens to onboarding rows in a tenant's own database that no Twenty server serves: "
        "`repair` (we remove them by SQL and store them for `provisioning undo`) or `report`.",
    )
    tenant_database_connections: kinds.Concurrency = Field(default=8, description="Tenant databases inspected at once.")
    tenant_database_rows: int = Field(
        default=10_000,
        ge=1_000,
        le=100_000,
        description="Relevant rows of one table in a tenant's own database, and 800 bytes for each of all tables "
        "together. We report a database with more and do not read it; a run needs memory in proportion.",
    )
    full_look_seconds: kinds.Seconds = Field(
        default=86400, description="We inspect a tenant database again after this time, even if nothing wrote to it."
    )
    onboarding_people: Literal["ours", "everyone"] = Field(
        default="ours",
        description="Whose wizard we clear: `ours` (members that we added or linked) or `everyone`, also people who "
        "signed up on their own.",
    )
    take_over_members: bool = Field(
        default=True,
        description="Add members of a tenant's workspace that was inserted by SQL, if Clerk does not know them at "
        "all, to its proper workspace.",
    )
    take_over_domains: kinds.Names = Field(
        default=(),
        description="Domains whose addresses may be taken over into any tenant, as a JSON list, besides the tenant's "
        "own: those of its members at Clerk and of its admins, except public mailbox providers.",
        examples=['["acme.com"]'],
    )
    take_over_per_tenant: kinds.Count = Field(
        default=10, description="People that we take over into one tenant without an approval, over all runs."
    )
    take_over_most: kinds.Count = Field(
        default=50,
        description="People that one run takes over without an approval. Beyond either limit they wait for "
        "`provisioning apply --approve`.",
    )
    tenant_manager_roles: kinds.Names = Field(
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
    )
    verify_sample: kinds.Count = Field(
        default=3,
        description="Members of each tenant, besides its admin, whose login a verification proves; others each time.",
    )
    member_password_key: kinds.MemberPasswordKey = Field(
        min_length=16,
        description="Secret from which the passwords of accounts that we create are derived; "
        "never change it once accounts exist.",
        examples=["the output of: openssl rand -hex 32"],
    )
    report_path: kinds.Place = Field(
        default="reports",
        description="Where reports are stored: a folder, or an object store such as s3://bucket/prefix (install its "
        "fsspec package, here s3fs).",
        examples=["/var/lib/provisioning/reports"],
    )
    tables_path: kinds.Place | None = Field(
        default=None,
        description="Where tables (Parquet), plans and the values between Dagster steps are stored: a folder, or an "
        "object store such as s3://bucket/prefix (install its fsspec package, here s3fs). Unset: the folder `tables` "
        "beside the reports. Steps on several machines need a place that all of them reach.",
        examples=["s3://company-provisioning/tables"],
    )
    export_path: kinds.Place | None = Field(
        default=None,
        description="Where a tenant's data go before its workspace is deleted: a folder, or an object store such as "
        "s3://bucket/prefix. Unset: no workspace is exported, so none is deleted.",
        examples=["s3://company-archive/twenty"],
    )
    export_format: Literal["parquet", "csv"] = Field(
        default="parquet",
        description="What an export consists of: a Parquet or a CSV file for each object, beside its files.",
        examples=["csv"],
    )
    files_readable_by: kinds.Readers = Field(
        default="owner",
        description="Who on this machine may read reports, tables, plans, exports and the values between Dagster "
        "steps, which hold e-mail addresses: `owner` (the user that runs the process), `group` (its group, too) or "
        "`everyone`.",
        examples=["group"],
    )
    dagster_url: kinds.HttpUrl | None = Field(
        default=None,
        description="Base URL of Dagster's web server, so that reports and alerts can link to a run.",
        examples=["https://dagster.example.com"],
    )
    dagster_graphql_url: kinds.HttpUrl | None = Field(
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
    api_url: kinds.HttpUrl | None = Field(
        default=None,
        description="Base URL of `provisioning serve`, so that assets in Dagster can link to the report's page.",
        examples=["https://provisioning.example.com"],
    )
    app_url: kinds.HttpUrl | None = Field(
        default=None,
        description="Your application, where people sign in by Clerk: the page that says why GET /v1/session/twenty "
        "did not lead into Twenty links to it.",
        examples=["https://app.example.com"],
    )
    report_password: kinds.ReportPassword | None = Field(
        default=None,
        min_length=12,
        description="Password (any user name) for reports and timelines that `provisioning serve` shows; without it "
        "only callers on the same machine see them.",
        examples=["a-long-random-password"],
    )
    key_requests_per_minute: kinds.Positive = Field(
        default=600,
        description="Requests that one API key may send in a minute to all `provisioning serve` processes together.",
    )
    key_tenants_without_database: kinds.Positive = Field(
        default=20,
        description="Tenants whose database does not exist that one API key may have registered at a time; one more is "
        "refused with 409 until their databases are there, or their rows are gone.",
    )
    sign_ins_per_minute: kinds.Positive = Field(
        default=10,
        description="One-time sign-ins to Twenty that one member may ask for in a minute, at all processes together.",
    )
    impersonated_sign_in: bool = Field(
        default=False,
        description="Let a Clerk session that another user opened in the member's name (claim `act`) sign in to "
        "Twenty as that member.",
    )
    unproven_sign_in: bool = Field(
        default=False,
        description="Dangerous: let a member whose account proves nothing about its address (see "
        "PROVISIONING_MEMBERS_UNPROVEN) sign in to Twenty over HTTP. The person who signed that account up has its "
        "password, and sees everything that the member does there.",
    )
    report_fresh_hours: float = Field(
        default=3.0,
        gt=0,
        le=24 * kinds.MOST_DAYS,
        description="The check report_is_fresh fails when no run over all tenants has finished for so long.",
    )
    keep_outcomes_days: kinds.Days = Field(
        default=90, description="How long the ledger retains what runs did and what drift they found."
    )
    keep_timelines_days: kinds.Days = Field(
        default=365,
        description="How long the ledger retains changes of conditions in tenants' timelines, and the rows of runs.",
    )
    keep_reports_days: kinds.Days = Field(default=30, description="How long report files and saved plans stay.")
    keep_removed_rows_days: kinds.Days = Field(
        default=90,
        description="How long the ledger retains rows that we removed by SQL; after that no `provisioning undo` brings "
        "them back.",
    )
    keep_dagster_days: kinds.Days = Field(
        default=30, description="How long finished runs and their events stay in Dagster."
    )
    tenant_database_pattern: kinds.Pattern = Field(
        default="^twenty_tenant_.+", description="PostgreSQL regular expression that tenant database names must match."
    )
    tenant_database_excluded: kinds.Names = Field(
        default=("twenty_tenant_template",), description="Databases that match but are no tenants, as a JSON list."
    )
    adopt_databases: bool = Field(
        default=True, description="Register a tenant database that the registry does not know."
    )
    registry_pending_statuses: kinds.Names = Field(
        default=("pending", "creating", "provisioning"),
        description="Registry statuses that become the ready status once a tenant is ready, as a JSON list.",
        examples=['["pending", "provisioning"]'],
    )
    registry_ready_status: str = Field(default="active", description="Registry status of a ready tenant.")
    service_member_name: str = Field(
        default="Workspace Provisioning",
        min_length=1,
        description="Name that the service account carries inside each workspace.",
    )
    tenant_concurrency: kinds.Concurrency = Field(default=4, description="Tenants worked on at once.")
    twenty_concurrency: kinds.Concurrency = Field(
        default=8, description="Calls under way at once at one Twenty server; its sign-ups cost processor time."
    )
    activation_timeout_seconds: kinds.Wait = Field(
        default=180.0, description="Longest wait for the answer to the call that activates a workspace."
    )
    lock_wait_seconds: float = Field(
        default=120.0,
        ge=0,
        le=kinds.MOST_WAIT_SECONDS,
        description="Longest wait for another process that works on the same tenant.",
    )
    step_per_tenant_limit: kinds.Count = Field(
        default=20,
        description="Has no effect any more: tenants go in chunks of PROVISIONING_TENANTS_PER_CHUNK, however few they "
        "are. It is still accepted.",
    )
    tenants_per_chunk: int = Field(
        default=100,
        ge=1,
        le=1000,
        description="Most tenants in one chunk of a Dagster run. Each op takes a chunk through its step before the "
        "next op begins; with an executor of many workers, chunks are worked on at once.",
    )
    automation: Literal["running", "stopped"] = Field(
        default="running",
        description="Whether Dagster's sensors and schedules are on when Dagster first sees them: running, or stopped "
        "until an operator switches them on in Dagster. What was switched there stays as it is.",
        examples=["stopped"],
    )
    failure_threshold: kinds.Share = Field(
        default=0.5, description="A Dagster run fails when more than this share of the tenants it worked on failed."
    )
    retry_seconds: float = Field(
        default=60.0, gt=0, le=kinds.MOST_SECONDS, description="First wait before a failed tenant is tried again."
    )
    retry_most_seconds: float = Field(
        default=3600.0, gt=0, le=kinds.MOST_SECONDS, description="Longest wait between two tries of a tenant."
    )

    @field_validator("twenty_base_url", "alert_webhook_url", "app_url", mode="after")
    @classmethod
    def _encrypted(cls, url: str | SecretStr | None, info: ValidationInfo) -> str | SecretStr | None:
        if url is not None:
            text = url.get_secret_value() if isinstance(url, SecretStr) else url
            encrypted(text, but_for=info.data.get("allow_http_hosts", ()))
        return url

    @field_validator("twenty_servers", mode="after")
    @classmethod
    def _some_twenty(cls, servers: tuple[TwentyServer, ...], info: ValidationInfo) -> tuple[TwentyServer, ...]:
        # on the field, not on the model: its faults are then reported together with those of the other fields
        return checked_servers(servers, info.data)

    @property
    def graphql_url(self) -> str | None:
        """Dagster's GraphQL endpoint; None: no web server is known."""
        return self.dagster_graphql_url or (f"{self.dagster_url}/graphql" if self.dagster_url else None)

    def is_tenant_database(self, name: str) -> bool:
        """Whether a database of this name counts as a tenant's."""
        return bool(re.search(self.tenant_database_pattern, name)) and name not in self.tenant_database_excluded

    @property
    def tables(self) -> str:
        """Where tables, plans and the values between Dagster steps are stored: a folder or a URL that fsspec knows."""
        return self.tables_path or f"{self.report_path.rstrip('/')}/tables"

    @property
    def new_statuses(self) -> tuple[str, ...]:
        """What a row that we add to the registry may say, the best first: its table may not know them all."""
        return self.registry_pending_statuses[::-1] or ("provisioning",)

    @cached_property
    def servers(self) -> tuple[TwentyServer, ...]:
        """Every configured Twenty server; the single one is called `twenty`."""
        given = {name.removeprefix("twenty_"): getattr(self, name) for name in SINGLE_SERVER_FIELDS}
        if not all(given.values()):
            return self.twenty_servers
        return (TwentyServer(name=SINGLE_SERVER, capacity=self.twenty_capacity, **given), *self.twenty_servers)


def load_settings(**overrides: Any) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: with one line per fault, naming the environment variable.
    """
    file = overrides.get("_env_file", Settings.model_config.get("env_file"))
    faults = [*environment_faults(), *(file_faults(Path(file)) if file else ())]
    if not faults and (folder := secrets_folder(Environment(Settings), DotEnv(Settings, env_file=file))):
        faults = folder_faults(folder)
    if faults:
        raise SettingsError(faults)
    try:
        return Settings(**overrides)
    except ValidationError as error:
        faults = fault_lines(error)
    # not in the handler: the values hang on the exception that is handled there
    raise SettingsError(faults)
