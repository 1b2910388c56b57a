"""How far the offboarding of a tenant is, and what is left of those that are gone."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a row for each tenant that is or was offboarded."""
    op.execute(
        """
        CREATE TABLE provisioning.offboarding (
            database_name            text NOT NULL,
            slug                     text NOT NULL,
            clerk_org_id             text,
            server                   text NOT NULL,
            workspace_id             uuid NOT NULL,
            why                      text NOT NULL,
            policy                   text NOT NULL,
            begun_at                 timestamptz NOT NULL DEFAULT now(),
            archived_at              timestamptz,
            delete_begun_at          timestamptz,
            export_path              text,
            exported_at              timestamptz,
            export_counts            jsonb,
            members_removed_at       timestamptz,
            workspace_deleted_at     timestamptz,
            organization_cleared_at  timestamptz,
            gone_at                  timestamptz,
            undone_at                timestamptz,
            taken_back_at            timestamptz,
            run_id                   text NOT NULL,
            PRIMARY KEY (database_name, workspace_id)
        );
        COMMENT ON TABLE provisioning.offboarding IS
            'One row for each workspace that a tenant leaves: when each stage was proved. It outlives the tenant.';
        COMMENT ON COLUMN provisioning.offboarding.workspace_id IS
            'The workspace that it is about: another one that the tenant gets later is not touched.';
        COMMENT ON COLUMN provisioning.offboarding.export_counts IS 'Object -> records; null: not exported.';
        COMMENT ON COLUMN provisioning.offboarding.gone_at IS
            'Set last: from then on the row is all that is left, and it stays for ever.';
        COMMENT ON COLUMN provisioning.offboarding.undone_at IS 'The tenant came back before it was deleted.';
        COMMENT ON COLUMN provisioning.offboarding.taken_back_at IS
            'When an operator last took it back by hand. Null: it goes on, or the registry had the tenant again.';
        COMMENT ON COLUMN provisioning.offboarding.run_id IS 'The run that began it.';
        """
    )


def downgrade() -> None:
    """Drop the same; the workspaces stay as they are."""
    op.execute("DROP TABLE provisioning.offboarding")
