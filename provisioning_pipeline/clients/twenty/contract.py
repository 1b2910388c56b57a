"""Does this server have everything that we are going to call?

Twenty refuses introspection to everyone without a workspace (production), and a fresh server has no workspace.
So every operation is sent with its root field skipped: the server validates fields, arguments and types against
its own schema, runs nothing, and names what it lacks. That works without a token and on any version. Only the steps
of the wizard are asked by introspection, where an account of ours is in a workspace.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from provisioning_pipeline.clients.http import OddAnswer
from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.errors import TwentyError
from provisioning_pipeline.clients.twenty.operation import TEXT, field_of
from provisioning_pipeline.clients.twenty.wire import complaints_of
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.contract import Contract, Onboarding
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.names import first_few

COLUMNS: Final[Mapping[str, str]] = {
    f"{table}.{column}": kind
    for table, kinds in {
        "appToken": {"uuid": "workspaceId", "text": "type", "jsonb": "context", "time": "expiresAt deletedAt"},
        "keyValuePair": {"uuid": "id userId workspaceId", "text": "key type", "jsonb": "value", "time": "deletedAt"},
        "objectMetadata": {"uuid": "workspaceId"},
        "role": {"uuid": "id workspaceId", "text": "label", "boolean": "canUpdateAllSettings"},
        "roleTarget": {"uuid": "roleId userWorkspaceId", "time": "createdAt updatedAt"},
        "user": {
            "uuid": "id",
            "text": "email",
            "boolean": "isEmailVerified canAccessFullAdminPanel",
            "time": "createdAt deletedAt",
        },
        "userWorkspace": {"uuid": "id userId workspaceId", "time": "createdAt deletedAt"},
        "workspace": {
            "uuid": "id defaultRoleId",
            "text": "subdomain activationStatus databaseSchema inviteHash",
            "time": "createdAt updatedAt deletedAt",
        },
    }.items()
    for kind, names in kinds.items()
    for column in names.split()
}
"""What is read of schema core, with the kind of its values: an enum counts as text, and time is whatever has a date."""

MEASURED_VERSION: Final = "2.21.0"
"""The version of a real server that this release was run against."""
VALIDATED_VERSION: Final = "2.43"
"""Up to this version every operation was validated against the released schemas; of 2.38 the source was read, too."""

_AT_2_21 = Contract(
    operations=frozenset(
        operation.document
        for operation in operations.ALL
        if operation
        not in (
            operations.SKIP_SYNC_EMAIL_UNRECORDED,
            operations.INSTALL_NO_APPS_UNRECORDED,
            operations.COMPLETE_BOOK_CALL_UNRECORDED,
            operations.SIGN_OUT,
        )
    ),
    columns=COLUMNS,
    activation_statuses=frozenset({"ONGOING_CREATION", "PENDING_CREATION", "ACTIVE", "INACTIVE", "SUSPENDED"}),
    onboarding=Onboarding(
        statuses=frozenset(
            {
                "PLAN_REQUIRED",
                "WORKSPACE_ACTIVATION",
                "PROFILE_CREATION",
                "SYNC_EMAIL",
                "APPS_INSTALLATION",
                "INVITE_TEAM",
                "COMPLETED",
            }
        ),
        mutations=frozenset({"skipSyncEmailOnboardingStep", "triggerInstallAppsOnboardingStep"}),
    ),
)
_AT_2_22 = replace(_AT_2_21, activation_statuses=_AT_2_21.activation_statuses | {"CREATED"})
assert _AT_2_22.onboarding is not None
_AT_2_33 = replace(
    _AT_2_22,
    operations=frozenset(operation.document for operation in operations.ALL),
    onboarding=Onboarding(
        statuses=_AT_2_22.onboarding.statuses | {"BOOK_CALL"},
        mutations=_AT_2_22.onboarding.mutations | {"completeBookCallOnboardingStep", "goBackToPreviousOnboardingStep"},
    ),
)

KNOWN: Final[Mapping[str, Contract]] = {"2.21": _AT_2_21, "2.22": _AT_2_22, "2.33": _AT_2_33}
"""The first version that has it → contract: the first measured, the others read in released schemas and source.

In the newest source `triggerInstallAppsOnboardingStep` is gone. When that was released is not known, so such a server
begins with one tenant.
"""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What schema core has of that which we read.

    Args:
        columns: `table.column` → kind of its values, in the words of `COLUMNS`.
        activation_statuses: what the status of a workspace may be; empty where any text may stand.
    """

    columns: Mapping[str, str]
    activation_statuses: frozenset[str]


TABLES: Final = sorted({name.partition(".")[0] for name in COLUMNS})
_CATALOGUE = """
    SELECT c.relname || '.' || a.attname AS name,
           CASE t.typcategory WHEN 'S' THEN 'text' WHEN 'E' THEN 'text' WHEN 'D' THEN 'time' WHEN 'B' THEN 'boolean'
               ELSE format_type(t.oid, NULL) END AS kind,
           CASE WHEN t.typcategory = 'E'
               THEN ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid) END AS values
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    WHERE n.nspname = 'core' AND c.relname = ANY(%s) AND a.attnum > 0 AND NOT a.attisdropped
"""


async def catalogue_of(database: Database) -> Catalogue:
    """What schema core of a Twenty server's database has of the columns that we read."""
    rows = [row for row in await database.fetch(_CATALOGUE, [TABLES]) if row["name"] in COLUMNS]
    values = next((row["values"] for row in rows if row["name"] == "workspace.activationStatus"), None)
    return Catalogue({row["name"]: row["kind"] for row in rows}, frozenset(values or ()))


async def not_twenty(database: Database, refused: str) -> Fault:
    """What is missing of that which we read, all of it and not only what PostgreSQL met first.

    Args:
        refused: what PostgreSQL said to a read.
    """
    where = f"{database.system} ({database.where})"
    found = {row["name"]: row["kind"] for row in await database.fetch(_CATALOGUE, [TABLES])}
    missing = [f"core.{name}" for name in COLUMNS if name not in found]
    other = ((name, kind) for name, kind in COLUMNS.items() if found.get(name, kind) != kind)
    missing += [f"core.{name} as {kind} (it is {found[name]})" for name, kind in other]
    return Fault(
        FaultKind.SERVER,
        Reason.UNSUPPORTED_TWENTY,
        f"{where} lacks what is read there: {', '.join(missing)}. Nothing was written to that server. This release is "
        f"measured on Twenty {MEASURED_VERSION}."
        if found and missing
        else f"{where} is not the database of a known Twenty: {refused}. Point the setting at Twenty's own database.",
    )


READ_ONBOARDING: Final = """query Onboarding {
    __type(name: "OnboardingStatus") { enumValues(includeDeprecated: true) { name } }
    __schema { mutationType { fields(includeDeprecated: true) { name } } }
}"""
OLDER_PROBE: Final = "mutation Probe { __typename signUpInNewWorkspace @skip(if: true) { loginToken { token } } }"
"""What only a server of 1.x takes on `/graphql` (source only)."""
_ONBOARDING_MUTATION = "OnboardingStep"

_LACKS = (
    re.compile(r'Cannot query field "(?P<field>\w+)" on type "(?P<type>\w+)"'),
    re.compile(r'Unknown argument "(?P<field>\w+)" on field "(?P<type>[\w.]+)"'),
    re.compile(r'Field "(?P<field>\w+)" is not defined by type "(?P<type>\w+)"'),
    re.compile(r'Field "(?P<type>[\w.]+)" argument "(?P<field>\w+)" of type .* is required'),
    re.compile(r'Unknown type "(?P<field>\w+)"'),
)


@dataclass(frozen=True, slots=True)
class Surface:
    """What a server takes of our operations.

    Args:
        operations: the documents that it takes as valid.
        lacks: what it lacks for those of the others that are needed, as `Type.field`.
        older: it has the sign-ups of 1.x.
    """

    operations: frozenset[str]
    lacks: tuple[str, ...]
    older: bool


def lacking(messages: Iterable[str]) -> tuple[str, ...]:
    """What validation errors say is missing, as `Type.field`; any other complaint stands as it is."""
    found: list[str] = []
    for message in messages:
        match = next((hit for pattern in _LACKS if (hit := pattern.search(message))), None)
        if match:
            groups = match.groupdict()
            found.append(f"{groups['type']}.{groups['field']}" if groups.get("type") else groups["field"])
        else:
            found.append(message)
    return tuple(dict.fromkeys(found))


_MOST_NAMED: Final = 20
"""A database that is another program's lacks everything, which would be too much to read."""


def unsupported(system: str, missing: Iterable[str], *, version: str | None = None, older: bool = False) -> Fault:
    """The refusal to write to a server that lacks something; `older` where it was found to be one of 1.x."""
    names = first_few(tuple(missing), _MOST_NAMED)
    says = f"It says that it is {version}. " if version else ""
    what = (
        f"{system} is a Twenty 1.x: its sign-ups are on /graphql, and not on /metadata as in 2.x. Nothing was written "
        f"to it. Upgrade it to 2.21 or later; the next run goes on. It lacks {names}."
        if older
        else f"{system} lacks what workspaces cannot be made, joined or read without: {names}. Nothing was written to "
        f"it. {says}This release of provisioning_pipeline is measured on Twenty {MEASURED_VERSION} and validated up to "
        f"{VALIDATED_VERSION}: upgrade an older Twenty, and for a newer one look for a newer release of this program."
    )
    return Fault(FaultKind.SERVER, Reason.UNSUPPORTED_TWENTY, what)


_OF_VALIDATION: Final = frozenset({"", "GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED", "BAD_USER_INPUT"})


def lacking_by(answer: Mapping[str, Any]) -> tuple[str, ...]:
    """What the answer to a probe says is missing; empty when the server takes the operation.

    Raises:
        OddAnswer: when it says nothing about that: another complaint than of validation, or no answer at all.
    """
    complaints = complaints_of(answer)
    if not complaints:
        field_of(answer, "__typename", TEXT)
        return ()
    errors = [TwentyError.of(complaint) for complaint in complaints]
    if any(error.code not in _OF_VALIDATION or error.message in _NO_COMPLAINT for error in errors):
        raise OddAnswer(f"a check of one operation failed ({errors[0].code or errors[0].message or 'no reason given'})")
    return lacking(error.message for error in errors)


_NO_COMPLAINT: Final = frozenset({"", "Internal server error", "Too many requests"})


def onboarding_of(answer: Mapping[str, Any]) -> Onboarding | None:
    """What introspection with `READ_ONBOARDING` says; None when it says nothing."""
    try:
        data = answer["data"]
        statuses = [str(value["name"]) for value in data["__type"]["enumValues"]]
        mutations = [str(field["name"]) for field in data["__schema"]["mutationType"]["fields"]]
    except (KeyError, TypeError):
        return None
    return Onboarding(frozenset(statuses), frozenset(name for name in mutations if name.endswith(_ONBOARDING_MUTATION)))


def check_config(system: str, config: Mapping[str, Any]) -> None:
    """Refuse a server whose own settings make it send e-mails to new members, or keep programs out.

    Read off Twenty 2.21's source: with e-mail verification required, joining sends an e-mail and no login works
    before it is answered; with a captcha, or without passwords, no program signs in.

    Raises:
        Fault: of kind SERVER, naming the settings to change there.
    """
    wrong = []
    if config.get("isEmailVerificationRequired"):
        wrong.append("IS_EMAIL_VERIFICATION_REQUIRED=false (new members would get an e-mail and could not sign in)")
    if _part(config, "captcha").get("provider"):
        wrong.append("no CAPTCHA_DRIVER (no program can sign in past a captcha)")
    if _part(config, "authProviders").get("password") is False:
        wrong.append("AUTH_PASSWORD_ENABLED=true (the service account signs in by password)")
    if wrong:
        raise Fault(
            FaultKind.SERVER,
            Reason.UNSUPPORTED_TWENTY,
            f"{system} cannot be provisioned as it is set up. Nothing was written to it. It needs {'; '.join(wrong)}.",
        )


def _part(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = config.get(name)
    return part if isinstance(part, dict) else {}
