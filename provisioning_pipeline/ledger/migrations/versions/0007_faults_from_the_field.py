"""What faults from the field ask for: who wrote last under a lock."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is kept about locks."""
    _add_lock_signatures()


def downgrade() -> None:
    """Drop the same."""
    op.execute("DROP TABLE provisioning.lock_signature")


def _add_lock_signatures() -> None:
    op.execute(
        """
        CREATE TABLE provisioning.lock_signature (
            kind       integer NOT NULL,
            name       text NOT NULL,
            signature  uuid NOT NULL,
            signed_at  timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (kind, name)
        );
        COMMENT ON TABLE provisioning.lock_signature IS
            'Who wrote last under an advisory lock: whoever lost its connection may go on only while this is theirs.';
        COMMENT ON COLUMN provisioning.lock_signature.kind IS 'First key of the advisory lock.';
        COMMENT ON COLUMN provisioning.lock_signature.name IS 'Database name of a tenant, or name of a Twenty server.';
        """
    )
