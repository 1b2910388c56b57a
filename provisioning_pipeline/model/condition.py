"""Conditions: what is known about a tenant, in the style of Kubernetes."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ConditionType(StrEnum):
    """The questions that are answered for every tenant, in the order in which they depend on each other."""

    DETECTED = "Detected"
    TENANT_DATABASE = "TenantDatabase"
    REGISTERED = "Registered"
    WORKSPACE_READY = "WorkspaceReady"
    MEMBERS_SYNCED = "MembersSynced"
    ONBOARDING_COMPLETE = "OnboardingComplete"
    LOGIN_PROVED = "LoginProved"
    READY = "Ready"


class Status(StrEnum):
    """Answer to a condition; Unknown means that no run could look yet."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """Why a condition has its status; `model.reasons` explains each."""

    # Detected
    DATABASE_PRESENT = "DatabasePresent"
    DATABASE_MISSING = "DatabaseMissing"
    DATABASE_VANISHED = "DatabaseVanished"
    DATABASE_INVALID = "DatabaseInvalid"
    DATABASE_CLOSED = "DatabaseClosed"
    # TenantDatabase
    DATABASE_UNREACHABLE = "DatabaseUnreachable"
    NO_SCHEMA_YET = "NoSchemaYet"
    DATABASE_REFUSED = "DatabaseRefused"
    TENANT_DATABASE_UNSAFE = "TenantDatabaseUnsafe"
    TENANT_DATABASE_TOO_LARGE = "TenantDatabaseTooLarge"
    OLDER_SCHEMA = "OlderSchema"
    HAND_MADE_WORKSPACE = "HandMadeWorkspace"
    ROWS_REPORTED = "RowsReported"
    ROWS_CHANGED = "RowsChanged"
    NOTHING_PENDING = "NothingPending"
    # Registered
    REGISTRY_ROW = "RegistryRow"
    ADOPTED = "Adopted"
    NOT_REGISTERED = "NotRegistered"
    ADOPTION_REFUSED = "AdoptionRefused"
    TENANT_SUSPENDED = "TenantSuspended"
    TENANT_GONE = "TenantGone"
    REGISTRY_ROW_GONE = "RegistryRowGone"
    REGISTRY_IN_DOUBT = "RegistryInDoubt"
    REGISTRY_AMBIGUOUS = "RegistryAmbiguous"
    REGISTRY_UNREACHABLE = "RegistryUnreachable"
    REGISTRY_REFUSED = "RegistryRefused"
    # WorkspaceReady
    WORKSPACE_ACTIVE = "WorkspaceActive"
    NO_SERVER_FOR_TENANT = "NoServerForTenant"
    SERVER_FULL = "ServerFull"
    SERVER_UNREACHABLE = "ServerUnreachable"
    SERVER_ERROR = "ServerError"
    SERVER_DATABASE_UNREACHABLE = "ServerDatabaseUnreachable"
    SERVER_NOT_CONFIGURED = "ServerNotConfigured"
    CREDENTIALS_REFUSED = "CredentialsRefused"
    SERVICE_ACCOUNT_MISSING = "ServiceAccountMissing"
    CREATION_RESTRICTED = "CreationRestricted"
    UNSUPPORTED_TWENTY = "UnsupportedTwenty"
    SUBDOMAIN_TAKEN = "SubdomainTaken"
    SUBDOMAIN_REFUSED = "SubdomainRefused"
    ACTIVATION_BUSY = "ActivationBusy"
    ACTIVATION_FAILED = "ActivationFailed"
    WORKSPACE_UNPAID = "WorkspaceUnpaid"
    WORKSPACE_GONE = "WorkspaceGone"
    DELETED_WORKSPACE_IN_USE = "DeletedWorkspaceInUse"
    WORKSPACE_SUSPENDED = "WorkspaceSuspended"
    SERVICE_ACCOUNT_REMOVED = "ServiceAccountRemoved"
    SERVICE_ACCOUNT_DEMOTED = "ServiceAccountDemoted"
    CONTRACT_UNPROVED = "ContractUnproved"
    PASSWORD_LOGIN_OFF = "PasswordLoginOff"  # noqa: S105  # a reason, no secret
    SECOND_FACTOR_REQUIRED = "SecondFactorRequired"
    WORKSPACE_INCOMPLETE = "WorkspaceIncomplete"
    REFUSED_BY_TWENTY = "RefusedByTwenty"
    TENANT_BUSY = "TenantBusy"
    UNEXPECTED_ERROR = "UnexpectedError"
    WAITING = "Waiting"
    # MembersSynced
    MEMBERS_LINKED = "MembersLinked"
    NO_ORGANIZATION = "NoOrganization"
    ORGANIZATION_PROPOSED = "OrganizationProposed"
    ORGANIZATION_AMBIGUOUS = "OrganizationAmbiguous"
    ORGANIZATION_MISSING = "OrganizationMissing"
    CLERK_UNREACHABLE = "ClerkUnreachable"
    CLERK_READ_INCOMPLETE = "ClerkReadIncomplete"
    EMAIL_UNVERIFIED = "EmailUnverified"
    EMAIL_CHANGED = "EmailChanged"
    ACCOUNT_AMBIGUOUS = "AccountAmbiguous"
    ACCOUNT_CLAIMED_TWICE = "AccountClaimedTwice"
    ACCOUNT_UNPROVEN = "AccountUnproven"
    FOREIGN_PASSWORD = "ForeignPassword"  # noqa: S105  # a reason, no secret
    INVITED = "Invited"
    HALF_MEMBER = "HalfMember"
    ROLE_UNKNOWN = "RoleUnknown"
    ROLE_DIFFERS = "RoleDiffers"
    MEMBERS_GONE = "MembersGone"
    LAST_ADMIN_KEPT = "LastAdminKept"
    WAITS_FOR_APPROVAL = "WaitsForApproval"
    REMOVAL_NOT_PROVED = "RemovalNotProved"
    EXTERNAL_ID_TAKEN = "ExternalIdTaken"
    # OnboardingComplete
    STEPS_CLEARED = "StepsCleared"
    STEPS_PENDING = "StepsPending"
    # LoginProved
    LOGIN_COMPLETED = "LoginCompleted"
    ADMIN_UNKNOWN = "AdminUnknown"
    ADMIN_EMAIL_UNVERIFIED = "AdminEmailUnverified"
    INVITE_LINK_DISABLED = "InviteLinkDisabled"
    LOGIN_REFUSED = "LoginRefused"
    WRONG_WORKSPACE = "WrongWorkspace"
    WIZARD_SHOWS = "WizardShows"
    # Ready
    ALL_TRUE = "AllTrue"


TOLD_ONLY = frozenset({ConditionType.TENANT_DATABASE})
"""Told to people, and no part of Ready: a login proves what happens in Twenty, whatever old rows lie elsewhere."""

SET_ASIDE = frozenset({Reason.TENANT_SUSPENDED, Reason.TENANT_GONE, Reason.REGISTRY_ROW_GONE})
"""Reasons for which nothing is wanted of a tenant: it is neither ready nor unwell."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One answer about one tenant.

    `message` is a sentence for a person, with what to do next where there is something to do.
    """

    type: ConditionType
    status: Status
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class StoredCondition:
    """A condition as the ledger keeps it: with since when, and the run that set it."""

    database_name: str
    condition: Condition
    since: datetime
    run_id: str


def is_true(type_: ConditionType, reason: Reason, message: str) -> Condition:
    """A condition that holds."""
    return Condition(type_, Status.TRUE, reason, message)


def is_false(type_: ConditionType, reason: Reason, message: str) -> Condition:
    """A condition that does not hold, and why."""
    return Condition(type_, Status.FALSE, reason, message)


def is_unknown(type_: ConditionType, reason: Reason, message: str) -> Condition:
    """A condition that could not be looked at."""
    return Condition(type_, Status.UNKNOWN, reason, message)


def derive_ready(conditions: dict[ConditionType, Condition]) -> Condition:
    """Ready is true when every other condition is (but those `TOLD_ONLY`); otherwise it carries the first that is not.

    A condition that was never set counts as Unknown, so nothing is ready by omission. A tenant that is excluded on
    purpose says so, whatever else is wrong with it.
    """
    questions = [type_ for type_ in ConditionType if type_ is not ConditionType.READY and type_ not in TOLD_ONLY]
    for condition in (conditions[type_] for type_ in questions if type_ in conditions):
        if condition.reason in SET_ASIDE and condition.status is not Status.TRUE:
            return is_false(ConditionType.READY, condition.reason, condition.message)
    for type_ in questions:
        found = conditions.get(type_)
        if found is None:
            return is_false(ConditionType.READY, Reason.WAITING, f"{type_} has not been looked at yet.")
        if found.status is not Status.TRUE:
            return is_false(ConditionType.READY, found.reason, found.message)
    return is_true(
        ConditionType.READY,
        Reason.ALL_TRUE,
        "Workspace, members, onboarding and a real login are all as they should be.",
    )
