"""What faults from the field ask for: who wrote last under a lock, turns of due tenants, and whose ledger it is."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is kept about locks and launches."""
    _add_lock_signatures()
    _add_launches()


def downgrade() -> None:
    """Drop the same."""
    op.execute("DROP TABLE provisioning.lock_signature, provisioning.turn, provisioning.code_location")


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


def _add_launches() -> None:
    op.execute(
        """
        CREATE TABLE provisioning.turn (
            database_name text PRIMARY KEY,
            due_since     timestamptz NOT NULL,
            cause         text,
            attempts      integer NOT NULL DEFAULT 0,
            launched_at   timestamptz,
            work          text,
            asked_by      text
        );
        COMMENT ON TABLE provisioning.turn IS
            'Tenants that sensors saw due, until a run has had them: since when, how often they were launched.';
        COMMENT ON COLUMN provisioning.turn.work IS
            'Value of the tag provisioning/work of the run that was asked for; null: none was yet.';

        CREATE TABLE provisioning.code_location (
            only_row      boolean PRIMARY KEY DEFAULT true CHECK (only_row),
            location      text NOT NULL,
            repository    text NOT NULL,
            seen_at       timestamptz NOT NULL DEFAULT now()
        );
        COMMENT ON TABLE provisioning.code_location IS
            'The code location of Dagster whose sensors work on this ledger.';
        """
    )
