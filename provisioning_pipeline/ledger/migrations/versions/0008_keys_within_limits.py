"""What keys of services may do, what they were refused, which tenants they registered, and whose organization moved."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is kept about the limits of keys, their refusals, and organizations that were given to other tenants."""
    _remember_registrations()
    _add_scopes()
    _add_refusals()


def downgrade() -> None:
    """Drop the same."""
    op.execute("DROP TABLE provisioning.refusal, provisioning.api_key_scope")
    op.execute(
        "ALTER TABLE provisioning.tenant_link DROP COLUMN registered_by_key, DROP COLUMN organization_moved_at, "
        "DROP COLUMN organization_named"
    )


def _remember_registrations() -> None:
    """The columns; and from what earlier versions left, the tenants that had members of an organization."""
    op.execute(
        """
        ALTER TABLE provisioning.tenant_link
            ADD COLUMN registered_by_key text, ADD COLUMN organization_moved_at timestamptz,
            ADD COLUMN organization_named boolean NOT NULL DEFAULT false;
        COMMENT ON COLUMN provisioning.tenant_link.registered_by_key IS
            'Id of the API key that added the registry row; null: none did, or an earlier version of this program.';
        COMMENT ON COLUMN provisioning.tenant_link.organization_moved_at IS
            'When its organization was given to another tenant: no API key gives it one since; null: it never was.';
        COMMENT ON COLUMN provisioning.tenant_link.organization_named IS
            'The registry row has named the organization: where it does not any more, its owner has taken it out.';
        CREATE INDEX tenant_registered_by_key ON provisioning.tenant_link (registered_by_key)
            WHERE registered_by_key IS NOT NULL;

        -- earlier versions let any claim take an organization, and left no other trace than the members
        UPDATE provisioning.tenant_link l SET organization_moved_at = now()
        WHERE l.clerk_org_id IS NULL AND (
            EXISTS (SELECT 1 FROM provisioning.member_link m WHERE m.database_name = l.database_name)
            OR EXISTS (SELECT 1 FROM provisioning.known_at_clerk k WHERE k.database_name = l.database_name));
        """
    )


def _add_scopes() -> None:
    """A table of its own: servers of earlier versions, which run beside, read whole rows of api_key."""
    op.execute(
        """
        CREATE TABLE provisioning.api_key_scope (
            key_id         text PRIMARY KEY REFERENCES provisioning.api_key ON DELETE CASCADE,
            scopes         text[] NOT NULL,
            tenant         text,
            tenant_prefix  text,
            CHECK (tenant IS NULL OR tenant_prefix IS NULL)
        );
        COMMENT ON TABLE provisioning.api_key_scope IS
            'What a key may do, and with which tenants. A key without a row is older: it may do all.';
        COMMENT ON COLUMN provisioning.api_key_scope.tenant IS 'The only slug; null: any.';
        COMMENT ON COLUMN provisioning.api_key_scope.tenant_prefix IS 'What slugs begin with; null: anything.';
        """
    )


def _add_refusals() -> None:
    op.execute(
        """
        CREATE TABLE provisioning.refusal (
            id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            hour        timestamptz NOT NULL,
            reason      text NOT NULL,
            status      integer NOT NULL,
            api_key_id  text NOT NULL,
            address     text NOT NULL,
            route       text NOT NULL,
            tenant      text NOT NULL,
            detail      text NOT NULL,
            request_id  text NOT NULL,
            first_at    timestamptz NOT NULL,
            last_at     timestamptz NOT NULL,
            times       bigint NOT NULL,
            UNIQUE (hour, reason, status, api_key_id, address, route, tenant)
        );
        CREATE INDEX refusal_last_at ON provisioning.refusal (last_at);
        COMMENT ON TABLE provisioning.refusal IS
            'What services were refused over HTTP: once an hour for each kind, with how many times. Empty: not known.';
        COMMENT ON COLUMN provisioning.refusal.detail IS 'Of the last of them, as the caller was told it.';
        """
    )
