"""What must hold of a tenant whose workspace was deleted, and of one that only was to be."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provisioning_pipeline_tests.world import World


@dataclass(frozen=True)
class Before:
    """A tenant while it was there."""

    slug: str
    workspace_id: str
    workspace_url: str
    database_name: str
    organization: str
    emails: tuple[str, ...]


def before(world: World, slug: str) -> Before:
    link = world.link(slug)
    emails = tuple(sorted(world.members(slug)))
    return Before(
        slug, link["workspace_id"], link["workspace_url"], link["database_name"], world.organization(slug), emails
    )


def stages(world: World, tenant: Before) -> dict[str, Any]:
    """The tenant's offboarding as the ledger has it."""
    rows = world.registry(
        "SELECT to_jsonb(o) FROM provisioning.offboarding o WHERE database_name = %s AND workspace_id = %s",
        tenant.database_name,
        tenant.workspace_id,
    )
    return dict(rows[0][0])


def assert_gone(world: World, tenant: Before, place: Path) -> None:
    """The workspace is exported, deleted with its members, named nowhere, and its tombstone says all of it."""
    slug = tenant.slug
    (deleted,) = world.twenty('SELECT "deletedAt" IS NOT NULL FROM core.workspace WHERE id = %s', tenant.workspace_id)
    assert deleted[0], slug
    ties = world.twenty(
        'SELECT count(*) FROM core."userWorkspace" WHERE "workspaceId" = %s AND "deletedAt" IS NULL',
        tenant.workspace_id,
    )
    assert ties[0][0] == 0, slug
    living = world.twenty(
        'SELECT email FROM core."user" WHERE "deletedAt" IS NULL AND email = ANY(%s)', [*tenant.emails]
    )
    assert living == [], slug
    for email in tenant.emails:
        with pytest.raises(AssertionError, match="not found"):
            world_login(world, tenant, email)
    link = world.link(tenant.database_name)
    assert (link["workspace_id"], link["server"], link["clerk_org_id"]) == (None, None, None), slug
    (row,) = world.registry(
        "SELECT twenty_workspace_id, twenty_admin_user_id FROM tenant_registry WHERE slug = %s", slug
    )
    assert row == (None, None), slug
    metadata = world.sandbox.clerk.state.organization(tenant.organization).public_metadata
    assert metadata.get("twenty_workspace_id") is None, slug
    conditions = world.conditions(tenant.database_name)
    assert conditions["Lifecycle"] == ("False", "Gone"), slug
    assert "AccessLocked" not in conditions, slug
    for table in ("member_link", "member_intent", "login_proof", "access_lock", "access_lock_item"):
        found = world.registry(
            f"SELECT count(*) FROM provisioning.{table} WHERE database_name = %s", tenant.database_name
        )
        assert found[0][0] == 0, (slug, table)
    tombstone = stages(world, tenant)
    reached = ("exported", "members_removed", "workspace_deleted", "organization_cleared", "gone")
    assert [name for name in reached if tombstone[f"{name}_at"] is None] == [], slug
    assert tombstone["clerk_org_id"] == tenant.organization, slug
    where = place / f"{slug}-{tenant.database_name}" / tenant.workspace_id
    manifest = json.loads((where / "manifest.json").read_text("utf-8"))
    assert manifest["complete"] is True, slug
    counts = {name: known["rows"] for name, known in manifest["objects"].items()}
    assert counts == tombstone["export_counts"], slug
    # the members were there when it was exported
    assert counts["workspaceMember"] == 1 + len(tenant.emails), slug


def world_login(world: World, tenant: Before, email: str) -> None:
    """Sign in as that person with the password that we derive."""
    from provisioning_pipeline.clients.twenty.accounts import derived_password
    from provisioning_pipeline_tests.world import real_login

    password = derived_password(world.settings.member_password_key, email).get_secret_value()
    real_login(world.sandbox.twenty[0], email, password, tenant.workspace_url)
