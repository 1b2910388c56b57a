"""Renders the generated documentation: `python -m provisioning_pipeline.cli.reference`.

The package `settings` is the one place where a setting is described; docs/configuration.md and .env.example come from
it. `model/reasons.py` is the one place where a reason is explained; its part of docs/troubleshooting.md comes from
there. A test fails when a file lags behind its source.
"""

import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path, PurePath
from typing import Any

from pydantic.fields import FieldInfo

from provisioning_pipeline.model.condition import ConditionType, Reason
from provisioning_pipeline.model.reasons import BY_CONDITION, Explanation
from provisioning_pipeline.settings import PREFIX, Settings, TwentyServer
from provisioning_pipeline.settings.twenty_server import SINGLE_SERVER_FIELDS

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = ROOT / "docs" / "configuration.md"
ENV_EXAMPLE = ROOT / ".env.example"
TROUBLESHOOTING = ROOT / "docs" / "troubleshooting.md"


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
        "key_requests_per_minute",
    ),
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
    """The whole of docs/configuration.md."""
    parts = [_HEAD]
    for title, fields in groups().items():
        parts.append(f"## {title}")
        for name, field in fields.items():
            parts.append(_section(name, field))
            if name == "twenty_servers":
                parts.append(_server_section())
    parts.append(_TAIL)
    return "\n\n".join(parts) + "\n"


def env_example() -> str:
    """The whole of .env.example."""
    parts = [_ENV_HEAD]
    for title, fields in groups().items():
        parts.append(f"# ---- {title}")
        parts += [_env_entry(name, field) for name, field in fields.items()]
    return "\n\n".join(parts) + "\n"


def troubleshooting() -> str:
    """The whole of docs/troubleshooting.md: the reasons anew, what stands before and after them as it is."""
    page = TROUBLESHOOTING.read_text(encoding="utf-8")
    before, _, rest = page.partition(_REASONS_BEGIN)
    _, _, after = rest.partition(_REASONS_END)
    return "\n\n".join([before + _REASONS_BEGIN, *_reasons(), _REASONS_END + after])


def write() -> None:
    """Write the files."""
    CONFIGURATION.write_text(configuration(), encoding="utf-8")
    ENV_EXAMPLE.write_text(env_example(), encoding="utf-8")
    TROUBLESHOOTING.write_text(troubleshooting(), encoding="utf-8")


# --- pieces -----------------------------------------------------------------------------------------------------


def _reasons() -> Iterator[str]:
    for condition, explained in BY_CONDITION.items():
        question, about = _QUESTIONS[condition]
        yield f"### {condition}: {question}"
        if about:
            yield about
        for reason, explanation in explained.items():
            yield _reason(reason, explanation)


def _reason(reason: Reason, explanation: Explanation) -> str:
    step = " ".join(filter(None, [explanation.next_step, explanation.details]))
    return f"#### `{reason}`\n\n{explanation.means}\n\n**Next:** {step}"


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


_HEAD = """# Configuration

<!-- Generated from the package settings by `python -m provisioning_pipeline.cli.reference`: edit there, not here. -->

Every setting is an environment variable. The same names may stand in a file `.env` in the folder from which the
program is started; the environment wins. `.env.example` has them all. Lists are JSON. A value that is missing or
malformed ends the program with exit code 2 and one line per fault, which names the variable and never shows a value;
a run in Dagster fails with the same lines.

White space, line ends and byte order marks around a value do not count, in any setting, inside of lists too: a
Kubernetes secret made with `echo` and a file with Windows line ends are taken as they were meant. Line breaks and
other control characters inside a value, and quotation marks around it (docker's `--env-file` keeps them), are refused.
`.env` is in UTF-8, and a line in it that cannot be read is refused, too. In paths `~` is the home; variables like
`$HOME` are not expanded, and refused.

A variable that begins with `PROVISIONING_` and is no setting is ignored: most likely it is misspelt, and a default
holds in its place. Each command says so on standard error, with the setting that seems to be meant.

Secrets are the two passwords of a server (its service account's and the one in its database URL), the two other
database URLs, Clerk's key and webhook secret, and `PROVISIONING_MEMBER_PASSWORD_KEY`. None of them is logged, reported
or stored. The URLs of Clerk, Twenty and the alerts carry some of them, and so begin with `https://`, but for this
machine (`localhost`, names below `.localhost`, `127.0.0.0/8`, `::1`) and for hosts that `PROVISIONING_ALLOW_HTTP_HOSTS`
names."""

_TAIL = """## Database URLs

A database URL begins with `postgresql://` or `postgres://` and is read as libpq reads it, in one way only. In user,
password and database name write `@` as `%40`, `/` as `%2F`, `:` as `%3A`, `?` as `%3F`, `#` as `%23`, `%` as `%25`
and a space as `%20`; `python3 -c 'import urllib.parse; print(urllib.parse.quote(input(), safe=""))'` does it. Several
hosts (`one:5432,two:5432`), sockets (`postgresql:///db?host=/var/run/postgresql`) and libpq's parameters are taken.
Parameters of other programs (Prisma's `schema`, `connection_limit` and `pgbouncer`, `sslmode=no-verify`, JDBC's) are
refused by name, with what to write instead. `key=value` strings are not taken.

To have a server's certificate checked, add `sslmode=verify-full&sslrootcert=/path/to/ca.pem`, or `sslrootcert=system`
for the authorities that the machine trusts. `sslmode=require`, as most providers give it, encrypts and checks nothing.
`SSL_CERT_FILE` does not count here.

## Proxies

`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` hold for all connections over HTTP: to Twenty, Clerk, Clerk's
keys, Dagster and the webhook of alerts. The spelling in lower case goes first. A proxy is a URL with http:// or
https://, or a host and port; user and password in it are percent-encoded and never shown. SOCKS proxies are
refused. `NO_PROXY` is a list of names (with all names below them), addresses, ranges (`10.0.0.0/8`, `fd00::/8`), each
with or without a port and brackets, or `*`. A variable that cannot be used ends the program with exit code 2, as a
setting does.

## Certificates

Over HTTPS we trust what the machine trusts: the system's store (`/etc/ssl/certs` on most; a machine without one
gets Mozilla's list). For a private certificate authority, or a certificate that is signed by itself, either

- add it to the system's store (Debian and Ubuntu: a `.crt` file in `/usr/local/share/ca-certificates`, then
  `update-ca-certificates`), which is best for containers too; or
- set `SSL_CERT_FILE` to a PEM file with it. Clerk and other public servers then have to be in that file or in the
  system's folder: `cat /etc/ssl/certs/ca-certificates.crt our-ca.pem > bundle.pem`; or
- set `SSL_CERT_DIR` to a folder that `openssl rehash` has gone through.

There is no setting that turns the check off. A file that is missing or holds no certificate ends the program with exit
code 2. `REQUESTS_CA_BUNDLE` and `CURL_CA_BUNDLE` are not read."""

_ENV_HEAD = """# Copy to .env and fill in. Generated from provisioning_pipeline/settings by
# `python -m provisioning_pipeline.cli.reference`; docs/configuration.md says more. Lists are JSON."""


_REASONS_BEGIN = (
    "<!-- reasons: generated from provisioning_pipeline/model/reasons.py by "
    "`python -m provisioning_pipeline.cli.reference` -->"
)
_REASONS_END = "<!-- end of reasons -->"

_QUESTIONS: Mapping[ConditionType, tuple[str, str]] = {
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
    ConditionType.WORKSPACE_READY: ("is there an active workspace?", ""),
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
