"""Looks into tenant databases, rows that were removed by SQL, proofs of logins, and what each Twenty server has."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what keeping wizards away needs."""
    op.execute(
        """
        CREATE TABLE provisioning.tenant_database_look (
            database_name  text PRIMARY KEY,
            evidence       text NOT NULL,
            looked_at      timestamptz NOT NULL,
            settled        boolean NOT NULL
        );
        COMMENT ON TABLE provisioning.tenant_database_look IS
            'The last look into each tenant database; while nothing wrote to it since, it is not looked into again.';
        COMMENT ON COLUMN provisioning.tenant_database_look.evidence IS
            'Counters of pg_stat_database from before the look, and the policy under which it was made.';
        COMMENT ON COLUMN provisioning.tenant_database_look.settled IS 'The look left nothing to be done.';

        CREATE TABLE provisioning.hand_made_workspace (
            database_name   text NOT NULL,
            workspace_id    uuid NOT NULL,
            display_name    text NOT NULL,
            failed_checks   text[] NOT NULL,
            found_at        timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (database_name, workspace_id)
        );
        COMMENT ON TABLE provisioning.hand_made_workspace IS
            'Workspaces in tenant databases that were inserted by SQL. Their tenants get proper ones; these rows stay.';

        CREATE TABLE provisioning.taken_over_member (
            database_name   text NOT NULL REFERENCES provisioning.tenant_link ON DELETE CASCADE,
            twenty_user_id  uuid NOT NULL,
            email           text NOT NULL,
            run_id          text NOT NULL,
            created_at      timestamptz NOT NULL DEFAULT now(),
            left_at         timestamptz,
            PRIMARY KEY (database_name, twenty_user_id)
        );
        COMMENT ON TABLE provisioning.taken_over_member IS
            'Members that came from a hand-made workspace and that Clerk does not know.';
        COMMENT ON COLUMN provisioning.taken_over_member.left_at IS
            'When they were found to be members no more; the row stays, so that they do not come over again.';

        CREATE TABLE provisioning.known_at_clerk (
            database_name  text NOT NULL,
            email          text NOT NULL,
            PRIMARY KEY (database_name, email)
        );
        COMMENT ON TABLE provisioning.known_at_clerk IS
            'People of hand-made workspaces whom Clerk was seen to know; they are members by its word or not at all.';

        CREATE TABLE provisioning.removed_row (
            id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            run_id         text NOT NULL,
            database_name  text NOT NULL,
            server         text,
            table_name     text NOT NULL,
            row_id         uuid NOT NULL,
            row            jsonb NOT NULL,
            status         text NOT NULL CHECK (status IN ('removing', 'removed', 'restored')),
            removed_at     timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX removed_row_of_run ON provisioning.removed_row (run_id);
        COMMENT ON TABLE provisioning.removed_row IS
            'Rows that a run removed or changed by SQL, as they were before. `provisioning undo` puts them back.';
        COMMENT ON COLUMN provisioning.removed_row.server IS 'Twenty server; null: the tenant''s own database.';
        COMMENT ON COLUMN provisioning.removed_row.status IS
            'removing: written down before the deletion was committed, so the row may still be there.';

        CREATE TABLE provisioning.login_proof (
            database_name   text NOT NULL REFERENCES provisioning.tenant_link ON DELETE CASCADE,
            twenty_user_id  uuid NOT NULL,
            email           text NOT NULL,
            status          text NOT NULL,
            proved_at       timestamptz NOT NULL DEFAULT now(),
            run_id          text NOT NULL,
            PRIMARY KEY (database_name, twenty_user_id)
        );
        COMMENT ON TABLE provisioning.login_proof IS 'What the last real login of each member saw, and when.';

        CREATE TABLE provisioning.server_contract (
            server       text NOT NULL,
            fingerprint  text NOT NULL,
            contract     jsonb NOT NULL,
            first_seen   timestamptz NOT NULL DEFAULT now(),
            checked_at   timestamptz NOT NULL DEFAULT now(),
            proved_at    timestamptz,
            canary       text,
            PRIMARY KEY (server, fingerprint)
        );
        COMMENT ON TABLE provisioning.server_contract IS
            'What each Twenty server has of that which we use; proved once a canary tenant''s login was.';
        """
    )


def downgrade() -> None:
    """Drop the same."""
    op.execute(
        """
        DROP TABLE provisioning.tenant_database_look, provisioning.hand_made_workspace,
            provisioning.taken_over_member, provisioning.known_at_clerk, provisioning.removed_row,
            provisioning.login_proof, provisioning.server_contract;
        """
    )
