"""Budgets that processes share: calls to Clerk, and requests to the HTTP API."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both tables. They are unlogged: what a crash of the server takes away was worth ten seconds, or a minute."""
    op.execute(
        """
        CREATE UNLOGGED TABLE provisioning.call_budget (
            name         text PRIMARY KEY,
            taken_until  timestamptz NOT NULL
        );
        COMMENT ON TABLE provisioning.call_budget IS
            'How far the calls are taken that all processes together may send: one row for each use of a secret key.';
        COMMENT ON COLUMN provisioning.call_budget.name IS
            'The use, and the SHA-256 of the secret key.';
        COMMENT ON COLUMN provisioning.call_budget.taken_until IS
            'When the last call that was given out so far would be due if none could be sent at once.';
        CREATE UNLOGGED TABLE provisioning.request_window (
            caller  text PRIMARY KEY,
            at      double precision NOT NULL,
            taken   integer NOT NULL,
            before  integer NOT NULL,
            let_in  boolean NOT NULL
        );
        COMMENT ON TABLE provisioning.request_window IS
            'Requests to the HTTP API of a caller in this minute and in the one before, at all its processes together.';
        COMMENT ON COLUMN provisioning.request_window.caller IS
            'The SHA-256 of what is limited and of whose it is.';
        COMMENT ON COLUMN provisioning.request_window.at IS
            'When it was last asked, in minutes since 1970; the whole part of it is the minute that is counted.';
        COMMENT ON COLUMN provisioning.request_window.let_in IS
            'Whether the last request was within the limit.';
        """
    )


def downgrade() -> None:
    """Drop the same."""
    op.execute("DROP TABLE provisioning.call_budget, provisioning.request_window")
