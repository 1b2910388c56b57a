"""What a stand-in Clerk keeps, and the shape in which its Backend API shows it."""

from dataclasses import dataclass, field
from typing import Any

AVATAR = "https://img.clerk.test/avatar.png"


@dataclass
class EmailAddress:
    """One e-mail address of a user. `status` None: Clerk's `verification` is null."""

    id: str
    email: str
    created_at: int
    status: str | None = "verified"
    reserved: bool = False

    def shown(self) -> dict[str, Any]:
        verification: dict[str, Any] | None = None
        if self.status is not None:
            by_code = self.status != "verified"
            verification = {
                "object": "verification_otp" if by_code else "verification_admin",
                "status": self.status,
                "strategy": "email_code" if by_code else "admin",
                "attempts": None,
                "expire_at": None,
            }
        return {
            "id": self.id,
            "object": "email_address",
            "email_address": self.email,
            "reserved": self.reserved,
            "verification": verification,
            "linked_to": [],
            "matches_sso_connection": False,
            "created_at": self.created_at,
            "updated_at": self.created_at,
        }


@dataclass
class User:
    """A person."""

    id: str
    created_at: int
    updated_at: int
    first_name: str | None = None
    last_name: str | None = None
    username: str | None = None
    external_id: str | None = None
    emails: list[EmailAddress] = field(default_factory=list)
    primary_email_id: str | None = None
    public_metadata: dict[str, Any] = field(default_factory=dict)
    private_metadata: dict[str, Any] = field(default_factory=dict)
    unsafe_metadata: dict[str, Any] = field(default_factory=dict)
    banned: bool = False
    locked: bool = False

    @property
    def primary_email(self) -> str | None:
        """The address that `primary_email_address_id` points at."""
        return next((email.email for email in self.emails if email.id == self.primary_email_id), None)

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "user",
            "username": self.username,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "locale": None,
            "image_url": AVATAR,
            "has_image": False,
            "primary_email_address_id": self.primary_email_id,
            "primary_phone_number_id": None,
            "primary_web3_wallet_id": None,
            "password_enabled": False,
            "two_factor_enabled": False,
            "totp_enabled": False,
            "backup_code_enabled": False,
            "email_addresses": [email.shown() for email in self.emails],
            "phone_numbers": [],
            "web3_wallets": [],
            "passkeys": [],
            "external_accounts": [],
            "saml_accounts": [],
            "enterprise_accounts": [],
            "public_metadata": self.public_metadata,
            "private_metadata": self.private_metadata,
            "unsafe_metadata": self.unsafe_metadata,
            "external_id": self.external_id,
            "last_sign_in_at": None,
            "banned": self.banned,
            "locked": self.locked,
            "lockout_expires_in_seconds": 3600 if self.locked else None,
            "verification_attempts_remaining": 0 if self.locked else 100,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "delete_self_enabled": True,
            "create_organization_enabled": True,
            "last_active_at": None,
            "mfa_enabled_at": None,
            "mfa_disabled_at": None,
            "legal_accepted_at": None,
        }

    def shown_to_the_public(self) -> dict[str, Any]:
        """The part that a membership carries."""
        return {
            "user_id": self.id,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "profile_image_url": AVATAR,
            "image_url": AVATAR,
            "has_image": False,
            "identifier": self.primary_email,
            "username": self.username,
            "banned": self.banned,
        }


@dataclass
class Organization:
    """A customer."""

    id: str
    name: str
    slug: str | None
    created_at: int
    updated_at: int
    created_by: str | None = None
    max_allowed_memberships: int = 1000
    public_metadata: dict[str, Any] = field(default_factory=dict)
    private_metadata: dict[str, Any] = field(default_factory=dict)

    def shown(self, members_count: int | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "object": "organization",
            "id": self.id,
            "name": self.name,
            "image_url": AVATAR,
            "has_image": False,
            "max_allowed_memberships": self.max_allowed_memberships,
            "admin_delete_enabled": True,
            "public_metadata": self.public_metadata,
            "private_metadata": self.private_metadata,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }
        if self.slug is not None:
            answer["slug"] = self.slug
        if self.created_by is not None:
            answer["created_by"] = self.created_by
        if members_count is not None:
            answer["members_count"] = members_count
        return answer


@dataclass
class Membership:
    """A user in an organization, with a role."""

    id: str
    organization_id: str
    user_id: str
    role: str
    created_at: int
    updated_at: int
    public_metadata: dict[str, Any] = field(default_factory=dict)
    private_metadata: dict[str, Any] = field(default_factory=dict)

    def shown(self, organization: Organization, user: User) -> dict[str, Any]:
        return {
            **self.shown_alone(),
            "organization": organization.shown(),
            "public_user_data": user.shown_to_the_public(),
        }

    def shown_alone(self) -> dict[str, Any]:
        """Without the organization and the user."""
        return {
            "id": self.id,
            "object": "organization_membership",
            "role": self.role,
            "role_name": self.role.removeprefix("org:").replace("_", " ").title(),
            "permissions": permissions(self.role),
            "public_metadata": self.public_metadata,
            "private_metadata": self.private_metadata,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }


def permissions(role: str) -> list[str]:
    """The system permissions of a role: all for admins, reading for everybody else."""
    if role == "org:admin":
        return ["org:sys_profile:manage", "org:sys_memberships:read", "org:sys_memberships:manage"]
    return ["org:sys_memberships:read"]
