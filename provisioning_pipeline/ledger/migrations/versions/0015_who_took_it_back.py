"""Whether an operator took an offboarding back, or the tenant came back by its registry row."""

from alembic import op

revision = "0015"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add when an operator took an offboarding back."""
    op.execute(
        """
        ALTER TABLE provisioning.offboarding ADD COLUMN taken_back_at timestamptz;
        COMMENT ON COLUMN provisioning.offboarding.taken_back_at IS
            'When an operator last took it back by hand. Null: it goes on, or the registry had the tenant again.';
        """
    )


def downgrade() -> None:
    """Drop the same."""
    op.execute("ALTER TABLE provisioning.offboarding DROP COLUMN taken_back_at")
