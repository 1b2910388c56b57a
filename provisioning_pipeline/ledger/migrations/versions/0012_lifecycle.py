"""Where tenants are in their lives: what a missing registry row means, once that is settled."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add when it was settled that a registry row was taken away."""
    op.execute(
        """
        ALTER TABLE provisioning.tenant_link ADD COLUMN registry_row_settled_at timestamptz;
        COMMENT ON COLUMN provisioning.tenant_link.registry_row_gone_at IS
            'Since when a run has missed its registry row. Null: it is there, or its loss is not believed.';
        COMMENT ON COLUMN provisioning.tenant_link.registry_row_settled_at IS
            'When a later reading or an operator settled that the row was taken away.';
        """
    )


def downgrade() -> None:
    """Drop the same."""
    op.execute("ALTER TABLE provisioning.tenant_link DROP COLUMN registry_row_settled_at")
