"""Who signs in to a Twenty server and with what, and the SQL about accounts and about what keeps ours out."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import jwt
from pydantic import SecretStr

_RENEW_BEFORE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A bearer token; its repr shows nothing.

    `refresh` and `cookie` (name and value, as sent) are what ends the login on servers with sessions (2.33 and later).
    """

    value: str
    expires_at: datetime
    refresh: str | None = None
    cookie: str | None = None

    @property
    def workspace_id(self) -> str | None:
        """The workspace that the token says it is for, whatever was asked for; None: it says none."""
        try:
            claims = jwt.decode(self.value, options={"verify_signature": False})
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            return None
        workspace_id = claims.get("workspaceId")
        return workspace_id if isinstance(workspace_id, str) else None

    def is_fresh(self) -> bool:
        """Whether it will last for another minute."""
        return datetime.now(UTC) + _RENEW_BEFORE < self.expires_at


@dataclass(frozen=True, slots=True)
class Account:
    """An account on this server: who signs in, and with which password.

    `user_id`, where it is known, lets the service account impersonate them when the password is not ours.
    """

    email: str
    password: SecretStr
    user_id: str | None = None

    def credentials(self) -> dict[str, str]:
        """E-mail and password as variables of an operation: the password stands in the open."""
        return {"email": self.email, "password": self.password.get_secret_value()}


@dataclass(frozen=True, slots=True)
class WorkspaceAddress:
    """Where one signs in to a workspace. `url` is Twenty's own subdomainUrl; its host is what Twenty checks."""

    workspace_id: str
    url: str


@dataclass(frozen=True, slots=True, repr=False)
class Created:
    """A workspace that was just made, with the login token that leads into it."""

    address: WorkspaceAddress
    login_token: str


@dataclass(frozen=True, slots=True, repr=False)
class InviteLink:
    """What lets one join a workspace without an e-mail, and whether Twenty takes it now.

    Twenty refuses a link that is off to everyone, members included.
    """

    hash: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key of a workspace that is not revoked. Twenty does not record who made it (2.21 to 2.43)."""

    id: str
    name: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Renewal:
    """Whether a login from before a removal can be renewed: `refused` is None where that cannot be told.

    `why` is a clause.
    """

    refused: bool | None
    why: str


@dataclass(frozen=True, slots=True)
class SeenUser:
    """What Twenty shows a signed-in person about themselves."""

    user_id: str
    onboarding_status: str | None
    workspace_id: str | None
    workspace_member_id: str | None
    first_name: str
    last_name: str


def derived_password(key: SecretStr, email: str) -> SecretStr:
    """The password of an account that we create: HMAC of the e-mail, so creating twice is the same as once.

    43 characters of base64url, within Twenty's 8 to 50. It is never stored, and no one signs in with it by hand.
    """
    digest = hmac.new(key.get_secret_value().encode(), email.strip().lower().encode(), hashlib.sha256).digest()
    return SecretStr(base64.urlsafe_b64encode(digest).decode().rstrip("="))


ACCESS: LiteralString = """
    WITH ours AS (
        SELECT uw."workspaceId" AS workspace_id, COALESCE(bool_or(r."canUpdateAllSettings"), false) AS manages,
               (array_agg(r.label ORDER BY r."canUpdateAllSettings" DESC NULLS LAST, r.label))[1] AS role
        FROM core."userWorkspace" uw
        LEFT JOIN core."roleTarget" rt ON rt."userWorkspaceId" = uw.id
        LEFT JOIN core.role r ON r.id = rt."roleId" AND r."workspaceId" = uw."workspaceId"
        WHERE uw."userId" = ANY(%(users)s::uuid[]) AND uw."deletedAt" IS NULL
          AND (%(only)s::uuid[] IS NULL OR uw."workspaceId" = ANY(%(only)s))
        GROUP BY uw."workspaceId"
    ), invited AS (
        SELECT DISTINCT "workspaceId" AS workspace_id FROM core."appToken"
        WHERE type IN ('INVITATION_TOKEN', 'ONBOARDING_INVITATION_TOKEN') AND lower(context->>'email') = %(email)s
          AND "deletedAt" IS NULL AND "expiresAt" > now() AND "workspaceId" IS NOT NULL
          AND (%(only)s::uuid[] IS NULL OR "workspaceId" = ANY(%(only)s))
    )
    SELECT workspace_id::text, ours.workspace_id IS NOT NULL AS member, COALESCE(ours.manages, false) AS manages,
           ours.role, invited.workspace_id IS NOT NULL AS invited,
           -- as JSON, because other versions may not have these columns
           CASE WHEN to_jsonb(w)->>'isPasswordAuthEnabled' = 'false'
                    AND NOT (COALESCE(ours.manages, false)
                        AND COALESCE(to_jsonb(w)->>'isPasswordAuthBypassEnabled', 'false') = 'true')
                THEN 'PasswordLoginOff'
                WHEN to_jsonb(w)->>'isTwoFactorAuthenticationEnforced' = 'true' THEN 'SecondFactorRequired'
           END AS kept_out
    FROM ours FULL JOIN invited USING (workspace_id) JOIN core.workspace w ON w.id = workspace_id
"""
"""Parameters: `users` and `email` of the account, `only`: workspace ids or NULL for all.

An Admin may log in by password where that is off, if the workspace lets admins bypass it (2.21.0, run against it)."""

INVITATIONS: LiteralString = """
    SELECT t."workspaceId"::text AS workspace_id, lower(t.context->>'email') AS email, r.label AS role
    FROM core."appToken" t
    LEFT JOIN core.role r ON r.id::text = t.context->>'roleId' AND r."workspaceId" = t."workspaceId"
    WHERE t.type IN ('INVITATION_TOKEN', 'ONBOARDING_INVITATION_TOKEN') AND t."deletedAt" IS NULL
      AND t."expiresAt" > now() AND t."workspaceId" IS NOT NULL AND t.context->>'email' IS NOT NULL
      AND (%(only)s::uuid[] IS NULL OR t."workspaceId" = ANY(%(only)s))
"""
"""Parameter: workspace ids or NULL for all."""

DELETED_IN_USE: LiteralString = """
    SELECT w.id::text AS workspace_id, w.subdomain, count(*)::int AS members,
           bool_or(uw."userId" = ANY(%s::uuid[])) AS service
    FROM core.workspace w
    JOIN core."userWorkspace" uw ON uw."workspaceId" = w.id AND uw."deletedAt" IS NULL
    JOIN core."user" u ON u.id = uw."userId" AND u."deletedAt" IS NULL
    WHERE w."deletedAt" IS NOT NULL
    GROUP BY w.id, w.subdomain ORDER BY w.subdomain, w.id
"""
"""Parameter: the ids of our account."""

WAS_DELETED: LiteralString = """
    SELECT COALESCE(bool_and("deletedAt" IS NOT NULL), false) AS deleted FROM core."user" WHERE lower(email) = %s
"""

USER_IDS: LiteralString = 'SELECT id::text AS id FROM core."user" WHERE "deletedAt" IS NULL AND '
"""To go on with a condition: `email = %s` goes by the unique index, `lower(email) = %s` reads every account."""
USERS: LiteralString = 'SELECT id::text, left(lower(email), 400) FROM core."user" WHERE "deletedAt" IS NULL'
"""No address has 400 characters; what is longer belongs to no one."""
SOME_USERS: LiteralString = """
    SELECT id::text, lower(email::text) FROM core."user" WHERE "deletedAt" IS NULL AND email = ANY(%s)
    UNION
    SELECT id::text, lower(email::text) FROM core."user"
    WHERE "deletedAt" IS NULL AND email <> lower(email COLLATE "C") AND lower(email) = ANY(%s)
    UNION
    SELECT id::text, lower(email::text) FROM core."user" WHERE "deletedAt" IS NULL AND id = ANY(%s::uuid[])
"""
"""The first part goes by the unique index, the second finds accounts with capitals, which Twenty itself never makes.

Capitals of the Latin alphabet: the byte-wise comparison reads 40,000 accounts in half the time."""
