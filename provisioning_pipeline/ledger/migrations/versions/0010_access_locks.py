"""Which workspaces are locked at Twenty, and what was so before: unlocking gives exactly that back."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the locks and what each of them took."""
    op.execute(
        """
        CREATE TABLE provisioning.access_lock (
            database_name     text PRIMARY KEY REFERENCES provisioning.tenant_link ON DELETE CASCADE,
            server            text NOT NULL,
            workspace_id      uuid NOT NULL,
            why               text NOT NULL,
            begun_at          timestamptz NOT NULL DEFAULT now(),
            locked_at         timestamptz,
            tokens_until      timestamptz,
            release_begun_at  timestamptz,
            released_at       timestamptz,
            run_id            text NOT NULL
        );
        COMMENT ON TABLE provisioning.access_lock IS
            'Workspaces to which we ended access at Twenty; the row stays after it was given back.';
        COMMENT ON COLUMN provisioning.access_lock.locked_at IS 'When the lock was proved first; null: not yet.';
        COMMENT ON COLUMN provisioning.access_lock.tokens_until IS
            'Until when access tokens from before read objects of the system; null: not known.';
        COMMENT ON COLUMN provisioning.access_lock.release_begun_at IS 'Null: it is to stay locked.';
        COMMENT ON COLUMN provisioning.access_lock.released_at IS 'Null: something may still be locked.';

        CREATE TABLE provisioning.access_lock_item (
            database_name  text NOT NULL REFERENCES provisioning.access_lock ON DELETE CASCADE ON UPDATE CASCADE,
            kind           text NOT NULL CHECK (kind IN ('member', 'api_key', 'setting')),
            id             text NOT NULL,
            user_id        uuid,
            name           text NOT NULL,
            before         jsonb NOT NULL,
            recorded_at    timestamptz NOT NULL DEFAULT now(),
            given_back_at  timestamptz,
            PRIMARY KEY (database_name, kind, id)
        );
        COMMENT ON TABLE provisioning.access_lock_item IS
            'What a lock takes, written down before it is taken, and deleted once all of it is given back.';
        COMMENT ON COLUMN provisioning.access_lock_item.id IS
            'Of the member record, the API key, or the name of the setting.';
        COMMENT ON COLUMN provisioning.access_lock_item.before IS
            'What was so before; a later pass over what is locked already does not write over it.';
        """
    )


def downgrade() -> None:
    """Drop the same."""
    op.execute("DROP TABLE provisioning.access_lock_item, provisioning.access_lock")
