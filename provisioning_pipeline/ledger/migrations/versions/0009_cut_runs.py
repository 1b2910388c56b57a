"""Outcomes from their beginning on, and how every run ended: also those that were cut."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add how runs end, and two states of outcomes: begun, and cut off."""
    op.execute(
        """
        ALTER TABLE provisioning.outcome
            ADD COLUMN key uuid UNIQUE,
            DROP CONSTRAINT outcome_status_check,
            ADD CONSTRAINT outcome_status_check CHECK (status IN ('begun', 'done', 'failed', 'cut'));
        COMMENT ON COLUMN provisioning.outcome.status IS
            'begun: under way; cut: it was sent and cut off, so that nobody knows whether it was made.';
        COMMENT ON COLUMN provisioning.outcome.key IS
            'Given when the change begins, so that its end is written once; null: an earlier version of this program.';

        ALTER TABLE provisioning.run
            ADD COLUMN kind text,
            ADD COLUMN ended_at timestamptz,
            ADD COLUMN ended_as text CHECK (ended_as IN ('done', 'cut')),
            ADD COLUMN cut_why text;
        COMMENT ON COLUMN provisioning.run.kind IS
            'reconciliation, verification, restart or sign-in; null: an earlier version of this program.';
        COMMENT ON COLUMN provisioning.run.ended_at IS
            'Of a run that was killed: when it last recorded anything. Null: it is at work, or its process is gone.';
        COMMENT ON COLUMN provisioning.run.ended_as IS
            'A reconciliation that has finished_at is done, whatever stands here: earlier versions write no end.';

        UPDATE provisioning.run SET ended_at = finished_at, ended_as = 'done' WHERE finished_at IS NOT NULL;
        -- what earlier versions began to say who was behind a verification, a restart or a sign-in, and never ended
        UPDATE provisioning.run SET ended_at = begun_at, ended_as = 'done'
        WHERE finished_at IS NULL AND record IS NULL AND begun_at < now() - interval '1 day';
        CREATE INDEX run_open ON provisioning.run (begun_at) WHERE ended_as IS NULL;
        """
    )


def downgrade() -> None:
    """Drop the same; what was begun or cut counts as failed."""
    op.execute(
        """
        ALTER TABLE provisioning.run
            DROP COLUMN kind, DROP COLUMN ended_at, DROP COLUMN ended_as, DROP COLUMN cut_why;
        UPDATE provisioning.outcome SET status = 'failed' WHERE status IN ('begun', 'cut');
        ALTER TABLE provisioning.outcome
            DROP COLUMN key,
            DROP CONSTRAINT outcome_status_check,
            ADD CONSTRAINT outcome_status_check CHECK (status IN ('done', 'failed'));
        """
    )
