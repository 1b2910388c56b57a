"""Conditions: what is known about a tenant, in the style of Kubernetes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

if TYPE_CHECKING:
    from pydantic_core import CoreSchema


class Declared(str):
    """A name with all that is known of it. It is a string: what stands in the ledger or in JSON is the name alone.

    A name that was not declared, as another version of this program may have stored it, is shown like any other, and
    nothing is known of it.

    Raises:
        ValueError: when it was declared before.
    """

    __slots__ = ()
    _declared: ClassVar[dict[str, Any]]

    def __init_subclass__(cls) -> None:
        cls._declared = {}

    def _declare(self) -> None:
        if self._declared.setdefault(str(self), self) is not self:
            raise ValueError(f"{type(self).__name__} {str(self)!r} is declared twice.")

    @classmethod
    def named(cls, name: str) -> Self:
        """What was declared under this name; else the name alone."""
        known: Self | None = cls._declared.get(name)
        return cls._undeclared(name) if known is None else known

    @classmethod
    def _undeclared(cls, name: str) -> Self:
        raise NotImplementedError  # each kind of declaration gives its own

    @classmethod
    def all_declared(cls) -> tuple[Self, ...]:
        """Everything that was declared, in that order."""
        return tuple(cls._declared.values())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).named, (str(self),)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> "CoreSchema":
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(
            cls.named, core_schema.str_schema(), serialization=core_schema.plain_serializer_function_ser_schema(str)
        )


class ConditionType(Declared):
    """A question that is answered for every tenant. A step whose question is not among these declares its own.

    Args:
        name: kept in the ledger for ever, so it never changes.
        after: the question that is asked before; None: in the order of their declaration.
        told_only: it is told to people, and no part of Ready.
    """

    __slots__ = ("rank", "told_only")
    rank: float
    """Where it stands among the others; one that this program does not know comes last."""

    told_only: bool

    DETECTED: ClassVar["ConditionType"]
    TENANT_DATABASE: ClassVar["ConditionType"]
    REGISTERED: ClassVar["ConditionType"]
    OFFBOARDED: ClassVar["ConditionType"]
    WORKSPACE_READY: ClassVar["ConditionType"]
    ACCESS_LOCKED: ClassVar["ConditionType"]
    MEMBERS_SYNCED: ClassVar["ConditionType"]
    ONBOARDING_COMPLETE: ClassVar["ConditionType"]
    LOGIN_PROVED: ClassVar["ConditionType"]
    READY: ClassVar["ConditionType"]
    LIFECYCLE: ClassVar["ConditionType"]

    def __new__(
        cls, name: str, *, after: "ConditionType | None" = None, told_only: bool = False, declared: bool = True
    ) -> Self:
        self = super().__new__(cls, name)
        place = len(cls._declared)
        self.rank = float(place) if after is None else after.rank + place / 1_000
        self.told_only = told_only
        if declared:
            self._declare()
        return self

    @classmethod
    def _undeclared(cls, name: str) -> Self:
        return cls(name, declared=False)

    @classmethod
    def all_declared(cls) -> tuple[Self, ...]:
        """The questions in the order in which they depend on each other."""
        return tuple(sorted(super().all_declared(), key=lambda type_: type_.rank))


# it says what a run may do, not what is lacking
ConditionType.LIFECYCLE = ConditionType("Lifecycle", told_only=True)
ConditionType.DETECTED = ConditionType("Detected")
# a login proves what happens in Twenty, whatever old rows lie elsewhere
ConditionType.TENANT_DATABASE = ConditionType("TenantDatabase", told_only=True)
ConditionType.REGISTERED = ConditionType("Registered")
# a tenant that is left by its customer is out, which Ready says by itself
ConditionType.OFFBOARDED = ConditionType("Offboarded", told_only=True)
ConditionType.WORKSPACE_READY = ConditionType("WorkspaceReady")
# a locked tenant is suspended, which Ready says by itself
ConditionType.ACCESS_LOCKED = ConditionType("AccessLocked", told_only=True)
ConditionType.MEMBERS_SYNCED = ConditionType("MembersSynced")
ConditionType.ONBOARDING_COMPLETE = ConditionType("OnboardingComplete")
ConditionType.LOGIN_PROVED = ConditionType("LoginProved")
ConditionType.READY = ConditionType("Ready")

ALWAYS_ASKED: Final = tuple(
    type_ for type_ in ConditionType.all_declared() if type_ is not ConditionType.READY and not type_.told_only
)
"""What Ready is made of, whatever steps there are. A step adds its own condition: `steps.questions`."""


class Status(StrEnum):
    """Answer to a condition; Unknown means that no run could look yet."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """Why a condition has its status; `model.reasons` explains each."""

    # Lifecycle
    LIFE_NEW = "New"
    LIFE_ACTIVE = "Active"
    LIFE_SUSPENDED = "Suspended"
    LIFE_OFFBOARDING = "Offboarding"
    LIFE_GONE = "Gone"
    LIFE_IN_DOUBT = "InDoubt"
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
    MOVE_IN_DOUBT = "MoveInDoubt"
    DATABASE_LEFT = "DatabaseLeft"
    REGISTRY_AMBIGUOUS = "RegistryAmbiguous"
    REGISTRY_UNREACHABLE = "RegistryUnreachable"
    REGISTRY_REFUSED = "RegistryRefused"
    REGISTRY_CHANGED = "RegistryChanged"
    # Offboarded
    ARCHIVED = "Archived"
    EXPORTED = "Exported"
    WORKSPACE_DELETED = "WorkspaceDeleted"
    OFFBOARDING_WAITS = "OffboardingWaits"
    EXPORT_INCOMPLETE = "ExportIncomplete"
    EXPORT_NOT_WRITTEN = "ExportNotWritten"
    DELETION_NOT_PROVED = "DeletionNotProved"
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
    # AccessLocked
    ACCESS_LOCKED = "AccessLocked"
    LOCK_NOT_PROVED = "LockNotProved"
    ACCESS_OPEN = "AccessOpen"
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
    API_KEYS_UNCERTAIN = "ApiKeysUncertain"
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


SET_ASIDE = frozenset({Reason.TENANT_SUSPENDED, Reason.TENANT_GONE, Reason.REGISTRY_ROW_GONE, Reason.DATABASE_LEFT})
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
    return Condition(type_, Status.TRUE, reason, message)


def is_false(type_: ConditionType, reason: Reason, message: str) -> Condition:
    return Condition(type_, Status.FALSE, reason, message)


def is_unknown(type_: ConditionType, reason: Reason, message: str) -> Condition:
    """A condition that could not be looked at."""
    return Condition(type_, Status.UNKNOWN, reason, message)


def with_newer(conditions: Iterable[Condition], *newer: Condition) -> tuple[Condition, ...]:
    """These conditions, without those to whose questions there is a newer answer, and the newer ones after them."""
    answered = {condition.type for condition in newer}
    return (*(known for known in conditions if known.type not in answered), *newer)


_READY = is_true(
    ConditionType.READY, Reason.ALL_TRUE, "Workspace, members, onboarding and a real login are all as they should be."
)


def derive_ready(
    conditions: dict[ConditionType, Condition], asked: Sequence[ConditionType] = ALWAYS_ASKED
) -> Condition:
    """Ready is true when every condition that is asked for is; otherwise it carries the first that is not.

    A condition that was never set counts as Unknown, so nothing is ready by omission. A tenant that is excluded on
    purpose says so, whatever else is wrong with it.
    """
    for condition in (conditions[type_] for type_ in asked if type_ in conditions):
        if condition.status is not Status.TRUE and condition.reason in SET_ASIDE:
            return is_false(ConditionType.READY, condition.reason, condition.message)
    for type_ in asked:
        found = conditions.get(type_)
        if found is None:
            return is_false(ConditionType.READY, Reason.WAITING, f"{type_} has not been looked at yet.")
        if found.status is not Status.TRUE:
            return is_false(ConditionType.READY, found.reason, found.message)
    return _READY
