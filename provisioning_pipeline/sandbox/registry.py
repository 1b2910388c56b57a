"""The tenant manager's own tables, and rows in them as it writes them."""

import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg

REGISTRY_DATABASE = "tenant_manager"
TEMPLATE_DATABASE = "twenty_tenant_template"
NAMESPACE = uuid.UUID("6f1b2c3d-5a77-4e1e-9c0b-7d1f0f5b4a21")
POSTGRES_NAME_LIMIT = 63
CUT_SLUG = 30

TABLES = """
CREATE TABLE IF NOT EXISTS tenant_registry (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  slug text NOT NULL UNIQUE,
  name text NOT NULL,
  database_name text NOT NULL UNIQUE,
  database_url text NOT NULL,
  status text NOT NULL DEFAULT 'provisioning',
  plan text NOT NULL DEFAULT 'standard',
  admin_user_id uuid,
  clerk_org_id text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS global_users (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  email text NOT NULL UNIQUE,
  first_name text,
  last_name text,
  clerk_user_id text,
  tenant_id uuid REFERENCES tenant_registry (id) ON DELETE SET NULL,
  role text NOT NULL DEFAULT 'member',
  is_active boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
"""


@dataclass(frozen=True)
class SeededMember:
    """A person in a tenant's Clerk organization and in `global_users`."""

    email: str
    first_name: str
    last_name: str
    clerk_user_id: str
    role: str


@dataclass(frozen=True)
class SeededTenant:
    """One tenant as it was made."""

    id: str
    slug: str
    name: str
    database_name: str
    clerk_org_id: str | None
    members: tuple[SeededMember, ...] = ()
    status: str = "provisioning"

    @property
    def admin(self) -> SeededMember | None:
        """The first organization admin."""
        return next((member for member in self.members if member.role == "org:admin"), None)


def tenant_id(slug: str) -> str:
    """The same id for the same slug in every sandbox."""
    return str(uuid.uuid5(NAMESPACE, slug))


def database_name_for(slug: str, salt: str = "") -> str:
    """`twenty_tenant_<slug>_<8 hex>`, the slug cut to 30 characters when the name would be too long."""
    digest = hashlib.sha256(f"{slug}{salt}".encode()).hexdigest()[:8]
    name = f"twenty_tenant_{slug}_{digest}"
    return name if len(name) <= POSTGRES_NAME_LIMIT else f"twenty_tenant_{slug[:CUT_SLUG]}_{digest}"


def write_tenants(
    connection: psycopg.Connection[tuple[Any, ...]],
    tenants: Iterable[SeededTenant],
    urls: dict[str, str],
) -> None:
    """Insert registry rows and their people; `urls` maps database names to the kept `database_url`."""
    tenants = list(tenants)
    rows = [{**vars(tenant), "url": urls[tenant.database_name]} for tenant in tenants]
    people = [
        {**vars(member), "tenant_id": tenant.id, "short_role": member.role.removeprefix("org:")}
        for tenant in tenants
        for member in tenant.members
    ]
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO tenant_registry (id, slug, name, database_name, database_url, status, clerk_org_id)"
            " VALUES (%(id)s, %(slug)s, %(name)s, %(database_name)s, %(url)s, %(status)s, %(clerk_org_id)s)",
            rows,
        )
        # A person who works for several tenants has one row: the e-mail is unique.
        cursor.executemany(
            "INSERT INTO global_users (email, first_name, last_name, clerk_user_id, tenant_id, role)"
            " VALUES (%(email)s, %(first_name)s, %(last_name)s, %(clerk_user_id)s, %(tenant_id)s,"
            " %(short_role)s)"
            " ON CONFLICT (email) DO NOTHING",
            people,
        )
        cursor.execute(
            "UPDATE tenant_registry SET admin_user_id = u.id FROM global_users u"
            " WHERE u.tenant_id = tenant_registry.id AND u.role = 'admin' AND admin_user_id IS NULL"
        )
