"""Accounts whose e-mail we changed at Twenty, with the address that their password is derived from."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what we write down before an account gets another e-mail."""
    op.execute(
        """
        CREATE TABLE provisioning.moved_account (
            server          text NOT NULL,
            twenty_user_id  uuid NOT NULL,
            email           text NOT NULL,
            password_email  text NOT NULL,
            clerk_user_id   text NOT NULL,
            begun_at        timestamptz NOT NULL DEFAULT now(),
            run_id          text NOT NULL,
            PRIMARY KEY (server, twenty_user_id, email)
        );
        COMMENT ON TABLE provisioning.moved_account IS
            'Written before we give an account another e-mail; a row counts where the account has that e-mail by now.';
        COMMENT ON COLUMN provisioning.moved_account.password_email IS
            'Twenty keeps the password when the e-mail changes: it is still derived from this address.';
        """
    )


def downgrade() -> None:
    """Drop the same."""
    op.execute("DROP TABLE provisioning.moved_account;")
