"""Renders the generated documentation: `python -m provisioning_pipeline.cli.reference`.

The package `settings` is the one place where a setting is described, `model/reasons.py` the one where a reason is
explained: .env.example, docs/settings.schema.json, and parts of docs/configuration.md and docs/troubleshooting.md,
come from there. A test fails when a file lags behind its source.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path, PurePath
from typing import Any

from pydantic.fields import FieldInfo

from provisioning_pipeline.cli import settings_schema
from provisioning_pipeline.model.condition import ConditionType
from provisioning_pipeline.model.reasons import BY_CONDITION
from provisioning_pipeline.settings import PREFIX, Settings, TwentyServer
from provisioning_pipeline.settings.twenty_server import SINGLE_SERVER_FIELDS

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = ROOT / "docs" / "configuration.md"
ENV_EXAMPLE = ROOT / ".env.example"
TROUBLESHOOTING = ROOT / "docs" / "troubleshooting.md"
SETTINGS_SCHEMA = ROOT / "docs" / "settings.schema.json"


class Need(StrEnum):
    """Whether a setting must be given; the word stands in .env.example."""

    REQUIRED = "required"
    ONE_OF = "required, or taken out (all four) where PROVISIONING_TWENTY_SERVERS names the servers"
    OPTIONAL = "optional"


_SENTENCES: Mapping[Need, str] = {
    Need.REQUIRED: "Required.",
    Need.ONE_OF: f"Required, unless `{PREFIX}TWENTY_SERVERS` is set; then give all four of the single server or none.",
    Need.OPTIONAL: "Optional.",
}
_BOUNDS: Mapping[str, str] = {
    "ge": "at least",
    "gt": "more than",
    "le": "at most",
    "min_length": "length at least",
    "max_length": "length at most",
}

_GROUPS: Mapping[str, tuple[str, ...]] = {
    "Tenants and registry": (
        "registry_url",
        "tenant_cluster_url",
        "tenant_database_user",
        "registry_table",
        "tenant_database_pattern",
        "tenant_database_excluded",
        "adopt_databases",
        "registry_excluded_statuses",
        "registry_gone_statuses",
        "registry_row_gone",
        "registry_row_gone_seconds",
        "suspended",
        "suspended_most",
        "gone",
        "gone_grace_days",
        "gone_most",
        "registry_pending_statuses",
        "registry_ready_status",
        "registry_lost_share",
        "registry_lost_most",
    ),
    "Twenty": (
        *SINGLE_SERVER_FIELDS,
        "twenty_capacity",
        "twenty_servers",
        "service_member_name",
        "member_password_key",
    ),
    "Clerk": (
        "clerk_secret_key",
        "clerk_base_url",
        "allow_http_hosts",
        "clerk_requests_per_10_seconds",
        "clerk_share",
        "clerk_webhook_secret",
        "clerk_store_workspace_id",
        "clerk_store_external_id",
    ),
    "Members": (
        "adopt_by_slug",
        "member_roles",
        "member_default_role",
        "members_gone",
        "members_gone_api_keys",
        "renew_invite_link",
        "members_foreign_password",
        "members_unproven",
        "harm_share",
        "harm_most",
    ),
    "Sessions and keys (`provisioning serve`)": (
        "clerk_issuers",
        "clerk_jwks_url",
        "clerk_authorized_parties",
        "clerk_keys_stale_seconds",
        "clerk_look_share",
        "session_cache_seconds",
        "impersonated_sign_in",
        "unproven_sign_in",
        "sign_ins_per_minute",
        "app_url",
        "key_requests_per_minute",
    ),
    "Webhooks that leave": ("webhook_urls", "webhook_secret"),
    "Secret files": ("secrets_dir",),
}
_REST = "Runs and reports"


def groups() -> dict[str, dict[str, FieldInfo]]:
    """Every setting once, by group; a setting that no group names stands in the last one."""
    fields = dict(Settings.model_fields)
    found = {title: {name: fields.pop(name) for name in names} for title, names in _GROUPS.items()}
    return {**found, _REST: fields}


def need(name: str, field: FieldInfo) -> Need:
    """Whether this setting must be given."""
    if field.is_required():
        return Need.REQUIRED
    return Need.ONE_OF if name in SINGLE_SERVER_FIELDS else Need.OPTIONAL


def text_of(value: Any) -> str:
    """A default as one writes it in the environment."""
    if value is None:
        return ""
    if isinstance(value, bool | tuple | list | dict):
        return json.dumps(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.as_posix() if isinstance(value, PurePath) else str(value)


def configuration() -> str:
    """The whole of docs/configuration.md: the settings anew, what stands before and after them as it is."""
    parts: list[str] = []
    for title, fields in groups().items():
        parts.append(f"## {title}")
        for name, field in fields.items():
            parts.append(_section(name, field))
            if name == "twenty_servers":
                parts.append(_server_section())
    return _renewed(CONFIGURATION, _SETTINGS_BEGIN, parts, _SETTINGS_END)


def env_example() -> str:
    """The whole of .env.example."""
    parts = [_ENV_HEAD]
    for title, fields in groups().items():
        parts.append(f"# ---- {title}")
        parts += [_env_entry(name, field) for name, field in fields.items()]
    return "\n\n".join(parts) + "\n"


def troubleshooting() -> str:
    """The whole of docs/troubleshooting.md: the reasons anew, what stands before and after them as it is."""
    return _renewed(TROUBLESHOOTING, _REASONS_BEGIN, _reasons(), _REASONS_END)


def write() -> None:
    """Write the files."""
    CONFIGURATION.write_text(configuration(), encoding="utf-8")
    ENV_EXAMPLE.write_text(env_example(), encoding="utf-8")
    TROUBLESHOOTING.write_text(troubleshooting(), encoding="utf-8")
    SETTINGS_SCHEMA.write_text(settings_schema.rendered(), encoding="utf-8")


def _renewed(path: Path, begin: str, parts: Iterable[str], end: str) -> str:
    page = path.read_text(encoding="utf-8")
    return "\n\n".join([page.partition(begin)[0] + begin, *parts, end + page.partition(end)[2]])


def _reasons() -> Iterator[str]:
    for condition, explained in BY_CONDITION.items():
        question, about = _QUESTIONS[condition]
        yield f"### {condition}: {question}"
        if about:
            yield about
        for reason, explanation in explained.items():
            step = " ".join(filter(None, [explanation.next_step, explanation.details]))
            yield f"#### `{reason}`\n\n{explanation.means}\n\n**Next:** {step}"


def _section(name: str, field: FieldInfo) -> str:
    default = "" if field.is_required() else text_of(field.get_default())
    example = text_of(field.examples[0]) if field.examples else ""
    lines = [f"### `{PREFIX}{name.upper()}`", "", str(field.description), "", f"- {_SENTENCES[need(name, field)]}"]
    if need(name, field) is Need.OPTIONAL:
        lines.append(f"- Default: `{default}`" if default else "- Default: none")
    if limits := _limits(field):
        lines.append(f"- Allowed: {limits}")
    if example and example != default:
        lines.append(f"- Example: `{example}`")
    return "\n".join(lines)


def _limits(field: FieldInfo) -> str:
    """The bounds of a number or a length, in words."""
    words = []
    for bound in field.metadata:
        for name, word in _BOUNDS.items():
            value = getattr(bound, name, None)
            if value is not None and (name, value) != ("min_length", 1):
                words.append(f"{word} {value:.12g}")
    return ", ".join(words)


def _server_section() -> str:
    rows = [
        "#### Fields of one server",
        "",
        "| field | meaning | required | default |",
        "|---|---|---|---|",
    ]
    for name, field in TwentyServer.model_fields.items():
        default = "" if field.is_required() else text_of(field.get_default()) or "none"
        rows.append(f"| `{name}` | {field.description} | {'yes' if field.is_required() else 'no'} | {default} |")
    return "\n".join(rows)


def _env_entry(name: str, field: FieldInfo) -> str:
    default = "" if field.is_required() else text_of(field.get_default())
    example = text_of(field.examples[0]) if field.examples else ""
    wanted = need(name, field)
    # what must be given stands ready to be filled in; a comment shows what it may look like
    note = f"# {field.description}" + ("" if wanted is Need.OPTIONAL else f"\n# {wanted[0].upper()}{wanted[1:]}.")
    variable = PREFIX + name.upper()
    if wanted is Need.OPTIONAL:
        return f"{note}\n#{variable}={_quoted(example if default in ('', '[]') else default)}"
    return f"{note} For example: {example}\n{variable}="


def _quoted(value: str) -> str:
    """In single quotes where a shell would read it otherwise."""
    plain = value and all(character.isalnum() or character in "_-./:@%+," for character in value)
    return value if plain else f"'{value}'"


_ENV_HEAD = """# Copy to .env and fill in. Generated from provisioning_pipeline/settings by
# `python -m provisioning_pipeline.cli.reference`; docs/configuration.md says more. Lists are JSON."""


_SETTINGS_BEGIN = (
    "<!-- settings: generated from provisioning_pipeline/settings by "
    "`python -m provisioning_pipeline.cli.reference` -->"
)
_SETTINGS_END = "<!-- end of settings -->"
_REASONS_BEGIN = (
    "<!-- reasons: generated from provisioning_pipeline/model/reasons.py by "
    "`python -m provisioning_pipeline.cli.reference` -->"
)
_REASONS_END = "<!-- end of reasons -->"

_QUESTIONS: Mapping[ConditionType, tuple[str, str]] = {
    ConditionType.LIFECYCLE: (
        "where is it in its life?",
        """The reason is the state, and the message its evidence. It is no part of Ready: it says what a run may do, not
whether anything is lacking.""",
    ),
    ConditionType.DETECTED: ("is its database there?", ""),
    ConditionType.TENANT_DATABASE: (
        "what stands in its own database?",
        """This is about a tenant's own database, which no Twenty server serves: a copy of schema `core` that the
tenant manager left, and workspaces inserted there by SQL. None of these reasons keeps a tenant from being ready. A
database that no run had cause to read has no such condition.

`Waiting` stands here while a run is about to repair the database, `TenantBusy` when another run holds the tenant or
another session the rows, `DatabaseVanished` when it was dropped meanwhile.""",
    ),
    ConditionType.REGISTERED: ("may we work on it?", ""),
    ConditionType.OFFBOARDED: (
        "has it left?",
        """Only a tenant that is offboarded, or whose workspace was exported, has this condition. It keeps none from
being ready. Where Twenty, Clerk or the registry refuses a call, its reason stands here.""",
    ),
    ConditionType.WORKSPACE_READY: ("is there an active workspace?", ""),
    ConditionType.ACCESS_LOCKED: (
        "is access at Twenty ended?",
        """Only a tenant that was locked at least once has this condition. It is false of an active tenant, and keeps
none from being ready. Where Twenty refuses a call of the lock, its reason stands here.""",
    ),
    ConditionType.MEMBERS_SYNCED: (
        "is every Clerk member the right member?",
        """One member who needs a person makes this false (`AccountUnproven` of a member who is in the workspace is only
reported); we finish the others all the same. If there are several findings, the condition takes the first reason in
the order below, those that keep the tenant from being ready before the others, and its message has up to three
findings. `provisioning plan acme --json` lists all that a run can find without trying.""",
    ),
    ConditionType.ONBOARDING_COMPLETE: ("is the wizard silent?", ""),
    ConditionType.LOGIN_PROVED: (
        "do the admin and our members get in?",
        """A reconciliation proves the admin's login, and those of all members that we added or linked in a tenant that
it changed. A [verification](operations.md#verification) also makes this false, by a login that failed; it is true
again once the admin and each member who failed got in. Where each person who could be the admin has an account that
proves nothing (`AccountUnproven`, above), the logins of the members count instead.""",
    ),
    ConditionType.READY: ("does everything hold?", ""),
}
"""Condition → the question that it answers, and what the page says about it before its reasons."""


if __name__ == "__main__":
    write()
