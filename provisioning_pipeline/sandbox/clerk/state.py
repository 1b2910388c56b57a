"""The state of a stand-in Clerk instance and everything that changes it."""

import json
import random
import re
import secrets
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from provisioning_pipeline.sandbox.clerk.errors import (
    ClerkRefusalError,
    identifier_taken,
    invalid_parameter,
    not_found,
)
from provisioning_pipeline.sandbox.clerk.options import ClerkOptions
from provisioning_pipeline.sandbox.clerk.records import EmailAddress, Membership, Organization, User
from provisioning_pipeline.sandbox.clerk.texts import Texts

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SLUG = re.compile(r"[a-z0-9-]+")
ROLE = re.compile(r"org:[a-z0-9_]+")


def merged(current: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`current` with `change` merged in at every depth; null deletes a key."""
    answer = dict(current)
    for key, value in change.items():
        if value is None:
            answer.pop(key, None)
        elif isinstance(value, dict):
            nested = answer.get(key)
            answer[key] = merged(nested if isinstance(nested, dict) else {}, value)
        else:
            answer[key] = value
    return answer


class ClerkState:
    """Users, organizations and memberships of one instance. Safe to use from several threads."""

    def __init__(self, options: ClerkOptions) -> None:
        self.options = options
        self.lock = threading.RLock()
        self.users: dict[str, User] = {}
        self.organizations: dict[str, Organization] = {}
        self.memberships: dict[tuple[str, str], Membership] = {}
        self.texts = Texts()
        self._users_in_order: list[User] | None = None
        self._memberships_in_order: list[Membership] | None = None
        self._by_organization: dict[str, dict[str, Membership]] = {}
        self._by_user: dict[str, dict[str, Membership]] = {}
        self._by_email: dict[str, str] = {}
        self._by_external_id: dict[str, str] = {}
        self._slugs: dict[str, str] = {}
        self._random = random.Random(options.seed)
        self._last_ms = 0
        self.instance_id = self.new_id("ins")
        self.secret_key = f"sk_test_{secrets.token_hex(21)}"

    def new_id(self, prefix: str) -> str:
        """A fresh identifier as Clerk makes them."""
        return f"{prefix}_3" + "".join(self._random.choices(ALPHABET, k=26))

    def now(self) -> int:
        """Milliseconds, never the same twice: the order of creation is then a total one."""
        self._last_ms = max(self._last_ms + 1, int(time.time() * 1000))
        return self._last_ms

    def clear(self) -> None:
        """Forget all people and organizations; the instance and its key stay."""
        with self.lock:
            for kept in (self.users, self.organizations, self.memberships, self._slugs):
                kept.clear()
            for index in (self._by_organization, self._by_user, self._by_email, self._by_external_id):
                index.clear()
            self.texts.clear()
            self._users_in_order = self._memberships_in_order = None

    # --- organizations

    def organization(self, id_or_slug: str) -> Organization:
        found = self.organizations.get(self._slugs.get(id_or_slug, id_or_slug))
        if found is None:
            raise not_found("organization", id_or_slug)
        return found

    def add_organization(
        self,
        name: str,
        *,
        slug: str | None = None,
        created_by: str | None = None,
        public_metadata: dict[str, Any] | None = None,
        private_metadata: dict[str, Any] | None = None,
        max_allowed_memberships: int | None = None,
    ) -> Organization:
        """Create an organization; `created_by` becomes its first admin."""
        with self.lock:
            if created_by is not None:
                self.user(created_by)
            if slug is not None and not SLUG.fullmatch(slug):
                raise invalid_parameter("slug", "slug may contain only lowercase letters, digits and dashes")
            if slug is not None and slug in self._slugs:
                raise identifier_taken("slug")
            now = self.now()
            organization = Organization(
                id=self.new_id("org"),
                name=name,
                slug=(slug or self._free_slug(name, now)) if self.options.organization_slugs else None,
                created_at=now,
                updated_at=now,
                created_by=created_by,
                max_allowed_memberships=max_allowed_memberships or self.options.max_allowed_memberships,
                public_metadata=public_metadata or {},
                private_metadata=private_metadata or {},
            )
            self._keep_organization(organization)
            if created_by is not None:
                self.add_membership(organization.id, created_by, "org:admin")
            return organization

    def delete_organization(self, organization_id: str) -> Organization:
        with self.lock:
            organization = self.organization(organization_id)
            for user_id in list(self._by_organization[organization.id]):
                self.remove_membership(organization.id, user_id)
            del self.organizations[organization.id], self._by_organization[organization.id]
            if organization.slug is not None:
                del self._slugs[organization.slug]
            return organization

    # --- users

    def user(self, user_id: str) -> User:
        found = self.users.get(user_id)
        if found is None:
            raise not_found("user", user_id)
        return found

    def users_in_order(self) -> list[User]:
        """All users, oldest first. Made once until one comes or goes: a walk asks for it on each of its pages."""
        if self._users_in_order is None:
            self._users_in_order = list(self.users.values())
        return self._users_in_order

    def user_by_email(self, email: str) -> User | None:
        """The user that holds an address, whatever its case."""
        user_id = self._by_email.get(email.lower())
        return self.users[user_id] if user_id else None

    def add_user(
        self,
        email: str | None = None,
        *,
        first_name: str | None = None,
        last_name: str | None = None,
        status: str | None = "verified",
        reserved: bool = False,
        external_id: str | None = None,
        other_emails: tuple[str, ...] = (),
        public_metadata: dict[str, Any] | None = None,
    ) -> User:
        """Create a user; `status` is the verification status of the addresses (None: no verification)."""
        addresses = [address for address in (email, *other_emails) if address]
        with self.lock:
            if any(address.lower() in self._by_email for address in addresses):
                raise identifier_taken("email_address")
            if external_id is not None and external_id in self._by_external_id:
                raise identifier_taken("external_id")
            now = self.now()
            emails = [
                EmailAddress(self.new_id("idn"), address, now, status, reserved=reserved) for address in addresses
            ]
            user = User(
                id=self.new_id("user"),
                created_at=now,
                updated_at=now,
                first_name=first_name,
                last_name=last_name,
                external_id=external_id,
                emails=emails,
                primary_email_id=emails[0].id if emails else None,
                public_metadata=public_metadata or {},
            )
            self._keep_user(user)
            return user

    def delete_user(self, user_id: str) -> User:
        with self.lock:
            user = self.user(user_id)
            for organization_id in list(self._by_user[user_id]):
                self.remove_membership(organization_id, user_id)
            for email in user.emails:
                del self._by_email[email.email.lower()]
            if user.external_id is not None:
                del self._by_external_id[user.external_id]
            del self.users[user_id], self._by_user[user_id]
            self._users_in_order = None
            return user

    def set_external_id(self, user: User, external_id: str | None) -> None:
        with self.lock:
            if external_id is not None and self._by_external_id.get(external_id, user.id) != user.id:
                raise identifier_taken("external_id")
            if user.external_id is not None:
                del self._by_external_id[user.external_id]
            user.external_id = external_id or None
            if user.external_id is not None:
                self._by_external_id[user.external_id] = user.id

    def touch(self, thing: User | Organization | Membership) -> None:
        """Mark as updated now."""
        thing.updated_at = self.now()

    # --- memberships

    def memberships_in_order(self) -> list[Membership]:
        """All memberships, oldest first; made once like `users_in_order`."""
        if self._memberships_in_order is None:
            self._memberships_in_order = list(self.memberships.values())
        return self._memberships_in_order

    def members_of(self, organization_id: str) -> list[Membership]:
        return list(self._by_organization.get(organization_id, {}).values())

    def memberships_of(self, user_id: str) -> list[Membership]:
        return list(self._by_user.get(user_id, {}).values())

    def membership(self, organization_id: str, user_id: str) -> Membership:
        found = self.memberships.get((organization_id, user_id))
        if found is None:
            raise not_found("organization membership", user_id)
        return found

    def add_membership(self, organization_id: str, user_id: str, role: str = "org:member") -> Membership:
        with self.lock:
            organization = self.organization(organization_id)
            self.user(user_id)
            self.check_role(role)
            if (organization.id, user_id) in self.memberships:
                raise ClerkRefusalError(
                    400,
                    "already_a_member_in_organization",
                    "already a member",
                    "User is already a member of the organization.",
                )
            if len(self._by_organization[organization.id]) >= organization.max_allowed_memberships:
                raise ClerkRefusalError(
                    403,
                    "organization_membership_quota_exceeded",
                    "membership quota exceeded",
                    "You have reached your limit of organization memberships.",
                )
            now = self.now()
            membership = Membership(self.new_id("orgmem"), organization.id, user_id, role, now, now)
            self._keep_membership(membership)
            return membership

    def set_role(self, organization_id: str, user_id: str, role: str) -> Membership:
        with self.lock:
            self.check_role(role)
            membership = self.membership(organization_id, user_id)
            membership.role = role
            self.touch(membership)
            return membership

    def remove_membership(self, organization_id: str, user_id: str) -> Membership:
        with self.lock:
            membership = self.membership(organization_id, user_id)
            del self.memberships[organization_id, user_id]
            del self._by_organization[organization_id][user_id]
            del self._by_user[user_id][organization_id]
            self._memberships_in_order = None
            return membership

    @staticmethod
    def check_role(role: str) -> None:
        """Refuse what cannot be a role key."""
        if not ROLE.fullmatch(role):
            raise ClerkRefusalError(404, "resource_not_found", "not found", f"Role not found: {role}")

    # --- snapshot

    def save(self, path: Path, extra: dict[str, Any]) -> None:
        """Write everything to a JSON file, in one move."""
        with self.lock:
            snapshot = {
                "instance_id": self.instance_id,
                "secret_key": self.secret_key,
                "users": [asdict(user) for user in self.users.values()],
                "organizations": [asdict(organization) for organization in self.organizations.values()],
                "memberships": [asdict(membership) for membership in self.memberships.values()],
                **extra,
            }
        draft = path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(snapshot))
        draft.replace(path)

    def load(self, path: Path) -> dict[str, Any]:
        """Read a file that `save` wrote; returns all of it."""
        snapshot: dict[str, Any] = json.loads(path.read_text())
        self.instance_id = snapshot["instance_id"]
        self.secret_key = snapshot["secret_key"]
        for user in snapshot["users"]:
            emails = [EmailAddress(**email) for email in user.pop("emails")]
            self._keep_user(User(**user, emails=emails))
        for organization in snapshot["organizations"]:
            self._keep_organization(Organization(**organization))
        for membership in snapshot["memberships"]:
            self._keep_membership(Membership(**membership))
        # Ids and times that were handed out are not handed out again; the clock of a busy start runs ahead.
        records: list[User | Organization | Membership] = [*self.users.values(), *self.organizations.values()]
        records += self.memberships.values()
        self._last_ms = max((record.updated_at for record in records), default=0)
        # The same seed would hand out the ids that are already here.
        self._random = random.Random(f"{self.options.seed}-{time.time_ns()}")
        return snapshot

    # --- indexes

    def _keep_user(self, user: User) -> None:
        self.users[user.id] = user
        self._users_in_order = None
        self._by_user[user.id] = {}
        self._by_email.update({email.email.lower(): user.id for email in user.emails})
        if user.external_id is not None:
            self._by_external_id[user.external_id] = user.id

    def _keep_organization(self, organization: Organization) -> None:
        self.organizations[organization.id] = organization
        self._by_organization[organization.id] = {}
        if organization.slug is not None:
            self._slugs[organization.slug] = organization.id

    def _keep_membership(self, membership: Membership) -> None:
        self.memberships[membership.organization_id, membership.user_id] = membership
        self._memberships_in_order = None
        self._by_organization[membership.organization_id][membership.user_id] = membership
        self._by_user[membership.user_id][membership.organization_id] = membership

    def _free_slug(self, name: str, now: int) -> str:
        base = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "organization"
        return base if base not in self._slugs else f"{base}-{now}"
