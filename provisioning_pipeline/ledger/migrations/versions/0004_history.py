"""What changed and when: conditions over time, the drift that runs found, and what each run was like."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables of history."""
    op.execute(
        """
        ALTER TABLE provisioning.run ADD COLUMN record jsonb;
        COMMENT ON COLUMN provisioning.run.record IS
            'What a report needs besides outcomes: forecast, figures, calls, versions, settings without secrets.';
        ALTER TABLE provisioning.tenant_link ADD COLUMN found_by text;
        COMMENT ON COLUMN provisioning.tenant_link.found_by IS 'The run that saw it first; null for older rows.';
        CREATE INDEX clerk_event_received ON provisioning.clerk_event (received_at);
        CREATE INDEX run_begun ON provisioning.run (begun_at);
        CREATE INDEX outcome_at ON provisioning.outcome (at);

        CREATE TABLE provisioning.condition_change (
            id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            database_name  text NOT NULL,
            type           text NOT NULL,
            status         text NOT NULL,
            reason         text NOT NULL,
            message        text NOT NULL,
            at             timestamptz NOT NULL DEFAULT now(),
            run_id         text NOT NULL
        );
        CREATE INDEX condition_change_of_tenant ON provisioning.condition_change (database_name, at);
        CREATE INDEX condition_change_at ON provisioning.condition_change (at);
        COMMENT ON TABLE provisioning.condition_change IS
            'Every change of a condition''s status or reason; one that held from its first look is none, but Ready.';

        CREATE TABLE provisioning.drift (
            id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            run_id         text NOT NULL,
            database_name  text NOT NULL,
            cause          text NOT NULL,
            source         text NOT NULL,
            who            text NOT NULL,
            detail         text NOT NULL,
            at             timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX drift_of_run ON provisioning.drift (run_id);
        CREATE INDEX drift_of_tenant ON provisioning.drift (database_name, at);
        CREATE INDEX drift_at ON provisioning.drift (at);

        CREATE INDEX clerk_event_of_organization ON provisioning.clerk_event (organization_id, received_at);
        CREATE INDEX intent_of_tenant ON provisioning.intent (database_name, begun_at);
        CREATE INDEX removed_row_of_tenant ON provisioning.removed_row (database_name, removed_at);
        COMMENT ON TABLE provisioning.drift IS
            'What each run found to differ before it did anything, and who is behind it as far as that can be told.';
        """
    )


def downgrade() -> None:
    """Drop the same."""
    op.execute(
        """
        DROP INDEX provisioning.removed_row_of_tenant, provisioning.intent_of_tenant,
            provisioning.clerk_event_of_organization;
        DROP TABLE provisioning.drift, provisioning.condition_change;
        DROP INDEX provisioning.outcome_at, provisioning.run_begun, provisioning.clerk_event_received;
        ALTER TABLE provisioning.tenant_link DROP COLUMN found_by;
        ALTER TABLE provisioning.run DROP COLUMN record;
        """
    )
