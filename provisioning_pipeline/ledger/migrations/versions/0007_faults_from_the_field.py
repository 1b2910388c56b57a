"""What faults in the field asked for: turns of due tenants, and the code location that works on this ledger."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is kept about launches."""
    _add_launches()


def downgrade() -> None:
    """Drop the same."""
    _drop_launches()


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


def _drop_launches() -> None:
    op.execute("DROP TABLE provisioning.code_location, provisioning.turn")
