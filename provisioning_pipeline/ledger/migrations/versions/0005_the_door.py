"""API keys, what their holders asked for, and who marked a tenant."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what the HTTP API needs."""
    op.execute(
        """
        ALTER TABLE provisioning.tenant_link ADD COLUMN marked_by text, ADD COLUMN asked_admin_email text;
        COMMENT ON COLUMN provisioning.tenant_link.marked_by IS
            'Trigger of the run that the mark asks for; null: Clerk, as in older rows.';
        COMMENT ON COLUMN provisioning.tenant_link.asked_admin_email IS
            'Whom the tenant manager named as admin; lower case.';

        CREATE TABLE provisioning.api_key (
            id            text PRIMARY KEY,
            name          text NOT NULL,
            hash          bytea NOT NULL,
            created_at    timestamptz NOT NULL DEFAULT now(),
            expires_at    timestamptz,
            last_used_at  timestamptz,
            revoked_at    timestamptz
        );
        COMMENT ON COLUMN provisioning.api_key.hash IS
            'SHA-256 of the whole key, which is 256 random bits and is kept nowhere.';

        CREATE TABLE provisioning.tenant_request (
            id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            database_name    text NOT NULL REFERENCES provisioning.tenant_link ON DELETE CASCADE,
            api_key_id       text NOT NULL,
            idempotency_key  text,
            fingerprint      text NOT NULL,
            asked_at         timestamptz NOT NULL DEFAULT now(),
            run_id           text
        );
        CREATE UNIQUE INDEX tenant_request_once ON provisioning.tenant_request (api_key_id, idempotency_key)
            WHERE idempotency_key IS NOT NULL;
        CREATE INDEX tenant_request_of_tenant ON provisioning.tenant_request (database_name, asked_at);
        CREATE INDEX tenant_request_at ON provisioning.tenant_request (asked_at);
        COMMENT ON TABLE provisioning.tenant_request IS
            'Every request for a reconciliation, with the run that was launched for it, if any was.';

        CREATE INDEX tenant_of_slug ON provisioning.tenant_link (slug);
        CREATE INDEX condition_of_type ON provisioning.condition (type, status, reason);
        """
    )


def downgrade() -> None:
    """Drop the same."""
    op.execute(
        """
        DROP INDEX provisioning.condition_of_type, provisioning.tenant_of_slug;
        DROP TABLE provisioning.tenant_request, provisioning.api_key;
        ALTER TABLE provisioning.tenant_link DROP COLUMN marked_by, DROP COLUMN asked_admin_email;
        """
    )
