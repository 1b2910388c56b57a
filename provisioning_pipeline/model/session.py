"""Clerk sessions, the workspace that one leads to, and why one leads nowhere."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Session:
    """What a verified session token says.

    Args:
        user_id: at Clerk, like the two that follow.
        session_id: of the sign-in that issued it.
        organization_id: the one that is active in it.
        role: of the user in that organization, as Clerk's Backend API writes it (`org:admin`).
        issuer: Clerk's Frontend API that signed it.
        expires_at: seconds since 1970.
        workspace_id: the claim `twenty_workspace_id` as it stands there; None: the token has none.
        impersonator: the user who opened the session in this user's name; None: they did it themselves.
    """

    user_id: str
    session_id: str
    organization_id: str
    role: str
    issuer: str
    expires_at: int
    workspace_id: str | None
    impersonator: str | None


@dataclass(frozen=True, slots=True)
class WorkspaceContext:
    """The workspace that a session leads to, and who its holder is there.

    Args:
        tenant: its slug; its database name where another tenant has that slug, too.
        database_name: the tenant's identity.
        server: name of its Twenty server in the settings.
        workspace_id: at Twenty.
        workspace_url: where its members sign in.
        twenty_user_id: of the member; None for a member at Clerk that no run has added yet. Never None behind
            `ClerkWorkspaceMiddleware`.
        role: label of the role in Twenty that the role at Clerk stands for.
        session: what the token says.
    """

    tenant: str
    database_name: str
    server: str
    workspace_id: str
    workspace_url: str
    twenty_user_id: str | None
    role: str
    session: Session


@dataclass(frozen=True, slots=True)
class LinkedTenant:
    """What the ledger knows of the tenant of an organization, and of one person in it.

    Args:
        slug_is_its_own: no other tenant has it for a slug, or for a database name.
        ready_reason: why it is, or is not, ready: a `Reason`, or a word of another version; None before any run looked.
        workspace_status, workspace_reason: of its condition WorkspaceReady, likewise.
        twenty_user_id: the person's account; None for a person who is not linked.
        organization_named: the tenant's registry row has named the organization, now or once.
    """

    database_name: str
    slug: str
    slug_is_its_own: bool
    server: str | None
    workspace_id: str | None
    workspace_url: str | None
    ready_reason: str | None
    workspace_status: str | None
    workspace_reason: str | None
    twenty_user_id: str | None
    organization_named: bool = False


@dataclass(frozen=True, slots=True)
class RegisteredTenant:
    """A registry row that names the organization, or the database of the tenant that the ledger gives it to."""

    database_name: str
    clerk_org_id: str | None
    status: str | None


class Refusal(StrEnum):
    """Why a request is not let through; the word is in the answer, and in docs/troubleshooting.md."""

    # 401: there is no valid session
    NO_SESSION = "no_session"
    TOKENS_DISAGREE = "tokens_disagree"
    INVALID_TOKEN = "invalid_token"  # noqa: S105  # a word, no secret
    TOKEN_EXPIRED = "token_expired"  # noqa: S105  # a word, no secret
    TOKEN_NOT_YET_VALID = "token_not_yet_valid"  # noqa: S105  # a word, no secret
    NOT_A_SESSION = "not_a_session"
    WRONG_PARTY = "wrong_party"
    SESSION_PENDING = "session_pending"
    # 403: there is one, and it leads to no workspace
    NO_ORGANIZATION = "no_organization"
    NO_WORKSPACE = "no_workspace"
    WORKSPACE_NOT_READY = "workspace_not_ready"
    ORGANIZATION_DISPUTED = "organization_disputed"
    TENANT_SUSPENDED = "tenant_suspended"
    NOT_A_MEMBER = "not_a_member"
    MEMBER_NOT_LINKED = "member_not_linked"
    LOGIN_DISABLED = "login_disabled"
    WORKSPACE_CLAIM_WRONG = "workspace_claim_wrong"
    OTHER_TENANT = "other_tenant"
    FOREIGN_ORIGIN = "foreign_origin"
    IMPERSONATED = "impersonated"
    ACCOUNT_UNPROVEN = "account_unproven"
    NOT_A_NAVIGATION = "not_a_navigation"


UNAUTHENTICATED = frozenset(
    {
        Refusal.NO_SESSION,
        Refusal.TOKENS_DISAGREE,
        Refusal.INVALID_TOKEN,
        Refusal.TOKEN_EXPIRED,
        Refusal.TOKEN_NOT_YET_VALID,
        Refusal.NOT_A_SESSION,
        Refusal.WRONG_PARTY,
        Refusal.SESSION_PENDING,
    }
)
"""Answered with 401: another token may help. The others are answered with 403."""


class Refused(Exception):
    """A request that is not let through.

    Args:
        detail: a sentence for the caller, which repeats nothing of the token.
    """

    def __init__(self, why: Refusal, detail: str) -> None:
        super().__init__(detail)
        self.why = why
        self.detail = detail


class CannotTell(Exception):
    """We cannot know at present whether the request may pass, so it does not; later it may.

    Args:
        detail: a sentence for the caller.
        retry_seconds: when to come again.
    """

    def __init__(self, detail: str, retry_seconds: int = 5) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_seconds = retry_seconds
