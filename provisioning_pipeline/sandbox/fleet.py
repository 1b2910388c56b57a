"""What a tenant manager made: registry rows, tenant databases, and organizations with people at Clerk."""

import re
import uuid
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import httpx2
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from provisioning_pipeline.sandbox import hand_made
from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline.sandbox.people import Person, companies, staff
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.registry import (
    REGISTRY_DATABASE,
    TABLES,
    TEMPLATE_DATABASE,
    SeededMember,
    SeededTenant,
    database_name_for,
    tenant_id,
    write_tenants,
)

ADMIN = "org:admin"
MEMBER = "org:member"
BROKEN_SLUG = "half-made"
SLUG = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38}[A-Za-z0-9])?")


class SlugError(ValueError):
    """The slug cannot be used; the message says what it may hold."""


class TenantExistsError(ValueError):
    """There is a tenant of that slug already."""


class NotASandboxError(RuntimeError):
    """What answers at the address is no sandbox, so nothing is written to it."""


class Directory(Protocol):
    """Where organizations and people are made: the stand-in itself, or its HTTP API from another process."""

    def person(self, person: Person) -> str:
        """Create a user, or find the one with that e-mail; returns its id."""

    def organization(self, name: str, slug: str | None) -> str:
        """Create an organization without members; returns its id."""

    def join(self, organization_id: str, user_id: str, role: str) -> None:
        """Make a person a member."""


class InProcess:
    """A directory on the stand-in's own methods: quick enough for thousands."""

    def __init__(self, clerk: StandInClerk) -> None:
        self._clerk = clerk

    def person(self, person: Person) -> str:
        known = self._clerk.state.user_by_email(person.email)
        if known is not None:
            return known.id
        return self._clerk.add_user(person.email, first_name=person.first_name, last_name=person.last_name or None).id

    def organization(self, name: str, slug: str | None) -> str:
        return self._clerk.add_organization(name, slug=slug).id

    def join(self, organization_id: str, user_id: str, role: str) -> None:
        self._clerk.add_membership(organization_id, user_id, role)


class OverHttp:
    """A directory on the Backend API of a stand-in that runs elsewhere."""

    def __init__(self, base_url: str, secret_key: str) -> None:
        headers = {"Authorization": f"Bearer {secret_key}"}
        self._client = httpx2.Client(base_url=base_url, headers=headers, timeout=10, trust_env=False)

    def close(self) -> None:
        self._client.close()

    def check_that_it_is_a_stand_in(self) -> None:
        """Refuse anything that does not answer as the sandbox's Clerk does."""
        root = self._client.base_url.copy_with(path="/sandbox/state")
        try:
            answer = self._client.get(root)
            stand_in = answer.status_code == httpx2.codes.OK and answer.json().get("stand_in") == "clerk"
        except (httpx2.HTTPError, ValueError, AttributeError):
            stand_in = False
        if not stand_in:
            message = (
                f"{self._client.base_url.host} is no sandbox (or is not running): tenants are added to a "
                "running sandbox only. Start one with `provisioning sandbox up` and load its env file."
            )
            raise NotASandboxError(message)

    def person(self, person: Person) -> str:
        known = self._answer("GET", "/users", params={"email_address": [person.email]})
        if known:
            return str(known[0]["id"])
        body = {"email_address": [person.email], "first_name": person.first_name}
        return str(self._answer("POST", "/users", json={**body, "last_name": person.last_name or None})["id"])

    def organization(self, name: str, slug: str | None) -> str:
        return str(self._answer("POST", "/organizations", json={"name": name, "slug": slug})["id"])

    def join(self, organization_id: str, user_id: str, role: str) -> None:
        path = f"/organizations/{organization_id}/memberships"
        self._answer("POST", path, json={"user_id": user_id, "role": role})

    def _answer(self, method: str, path: str, **options: Any) -> Any:
        answer = self._client.request(method, path, **options)
        answer.raise_for_status()
        return answer.json()


def prepare(postgres: SandboxPostgres) -> None:
    """The registry's database with its tables, and the template of tenant databases. Safe to repeat."""
    missing = {REGISTRY_DATABASE, TEMPLATE_DATABASE} - postgres.databases()
    postgres.create_databases(sorted(missing))
    postgres.execute(REGISTRY_DATABASE, TABLES)
    if TEMPLATE_DATABASE in missing:
        with postgres.connect(TEMPLATE_DATABASE) as template:
            hand_made.create_core(template)


def enrol(
    directory: Directory, name: str, slug: str | None, people: list[Person], roles: tuple[str, ...] = (ADMIN,)
) -> tuple[str, tuple[SeededMember, ...]]:
    """An organization whose first people get `roles` and the rest are plain members."""
    organization_id = directory.organization(name, slug)
    members: list[SeededMember] = []
    for index, person in enumerate(people):
        role = roles[index] if index < len(roles) else MEMBER
        user_id = directory.person(person)
        directory.join(organization_id, user_id, role)
        members.append(SeededMember(person.email, person.first_name, person.last_name, user_id, role))
    return organization_id, tuple(members)


def seed_fresh(
    postgres: SandboxPostgres, clerk: StandInClerk, *, tenants: int, members: int, databases: bool = True
) -> list[SeededTenant]:
    """So many new, healthy tenants: a row, an empty database, and an organization with people.

    With `databases` False no database is created, for fleets so large that creating them would take minutes.
    """
    prepare(postgres)
    directory = InProcess(clerk)
    made: list[SeededTenant] = []
    for slug, name in islice(companies(), tenants):
        organization_id, people = enrol(directory, name, slug, staff(f"{slug}.example", members))
        made.append(SeededTenant(tenant_id(slug), slug, name, database_name_for(slug), organization_id, people))
    _write(postgres, made)
    if databases:
        postgres.create_databases([tenant.database_name for tenant in made])
    return made


def seed_broken(postgres: SandboxPostgres, clerk: StandInClerk, *, members: int = 2) -> SeededTenant:
    """A tenant whose manager crashed between committing the registry row and CREATE DATABASE."""
    prepare(postgres)
    slug, name = BROKEN_SLUG, "Half Made Ltd"
    organization_id, people = enrol(InProcess(clerk), name, slug, staff(f"{slug}.example", members))
    tenant = SeededTenant(tenant_id(slug), slug, name, database_name_for(slug), organization_id, people)
    _write(postgres, [tenant])
    return tenant


def _write(postgres: SandboxPostgres, tenants: list[SeededTenant]) -> None:
    urls = {tenant.database_name: postgres.url(tenant.database_name) for tenant in tenants}
    with postgres.connect(REGISTRY_DATABASE) as connection:
        write_tenants(connection, tenants, urls)


@dataclass(frozen=True)
class AddedTenant:
    """A tenant that was added while the sandbox runs."""

    tenant: SeededTenant
    admin_email: str

    @property
    def slug(self) -> str:
        return self.tenant.slug

    @property
    def database_name(self) -> str:
        return self.tenant.database_name

    @property
    def clerk_org_id(self) -> str:
        return str(self.tenant.clerk_org_id)


def check_slug(slug: str) -> None:
    """Refuse a slug that the tenant manager would not take."""
    if not SLUG.fullmatch(slug):
        message = f"'{slug}' cannot be a slug: use letters, digits and hyphens, at most 40, no hyphen at either end"
        raise SlugError(message)


def add_tenant(
    *,
    registry_url: str,
    clerk_base_url: str,
    clerk_secret_key: str,
    slug: str,
    name: str | None = None,
    members: int = 2,
) -> AddedTenant:
    """Add a tenant to a running sandbox as its tenant manager would: row, database, organization, people.

    Raises:
        SlugError: the slug holds something else than letters, digits and hyphens.
        NotASandboxError: the Clerk address is not a sandbox's.
        TenantExistsError: the slug is taken.
    """
    check_slug(slug)
    slug = slug.lower()
    name = name or slug.replace("-", " ").title()
    directory = OverHttp(clerk_base_url, clerk_secret_key)
    try:
        directory.check_that_it_is_a_stand_in()
        with psycopg.connect(registry_url, autocommit=True) as registry:
            if registry.execute("SELECT 1 FROM tenant_registry WHERE slug = %s", [slug]).fetchone():
                message = f"there is a tenant {slug} already"
                raise TenantExistsError(message)
            organization_id, people = enrol(directory, name, slug, staff(f"{slug}.example", max(1, members)))
            new_id = str(uuid.uuid4())
            database = database_name_for(slug, new_id)
            tenant = SeededTenant(new_id, slug, name, database, organization_id, people)
            write_tenants(registry, [tenant], {database: with_database(registry_url, database)})
    finally:
        directory.close()
    # as the tenant manager: the role for tenant databases may make none
    with psycopg.connect(with_database(registry_url, "postgres"), autocommit=True) as cluster:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE template0 STRATEGY file_copy")
        cluster.execute(create.format(sql.Identifier(database)))
    return AddedTenant(tenant, people[0].email)


def with_database(url: str, database: str) -> str:
    """The URL of another database on the same cluster."""
    parts = httpx2.URL(url)
    return str(parts.copy_with(path=f"/{database}")) if parts.host else make_conninfo(url, dbname=database)
