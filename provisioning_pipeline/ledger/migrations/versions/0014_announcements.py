"""Webhooks that leave: what is told of tenants, and how far each delivery is."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the deliveries."""
    op.execute(
        """
        CREATE TABLE provisioning.webhook_delivery (
            id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            message_id     uuid NOT NULL,
            endpoint       text NOT NULL,
            database_name  text NOT NULL,
            type           text NOT NULL,
            payload        jsonb NOT NULL,
            created_at     timestamptz NOT NULL DEFAULT now(),
            next_try_at    timestamptz NOT NULL DEFAULT now(),
            attempts       integer NOT NULL DEFAULT 0,
            delivered_at   timestamptz,
            failed_at      timestamptz,
            last_error     text,
            UNIQUE (message_id, endpoint)
        );
        CREATE INDEX webhook_delivery_open ON provisioning.webhook_delivery (database_name, endpoint, id)
            WHERE delivered_at IS NULL AND failed_at IS NULL;
        CREATE INDEX webhook_delivery_at ON provisioning.webhook_delivery (created_at);
        COMMENT ON TABLE provisioning.webhook_delivery IS
            'What is told of a tenant by webhook, written together with the condition that says so.';
        COMMENT ON COLUMN provisioning.webhook_delivery.message_id IS
            'The same for each endpoint and each try.';
        COMMENT ON COLUMN provisioning.webhook_delivery.endpoint IS
            'The beginning of the SHA-256 of its URL, which may hold a secret.';
        COMMENT ON COLUMN provisioning.webhook_delivery.attempts IS
            'Counted before each try, so that one that is cut off counts, too.';
        """
    )


def downgrade() -> None:
    """Drop the same."""
    op.execute("DROP TABLE provisioning.webhook_delivery")
