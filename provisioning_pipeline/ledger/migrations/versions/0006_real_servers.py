"""What real Twenty servers ask for: certificates, vouched accounts, default roles that were set aside for a join."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is kept about servers, accounts and default roles."""
    op.execute(
        """
        CREATE TABLE provisioning.certificate (
            id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            server        text NOT NULL,
            version       text,
            fingerprint   text NOT NULL,
            holds         boolean NOT NULL,
            report        jsonb NOT NULL,
            certified_at  timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX certificate_of_server ON provisioning.certificate (server, certified_at);
        COMMENT ON TABLE provisioning.certificate IS
            'What `provisioning certify` saw on a Twenty server: each behaviour, each crash point, what was not seen.';
        COMMENT ON COLUMN provisioning.certificate.version IS 'As the server reported it; null: it reports none.';

        CREATE TABLE provisioning.vouched_account (
            server          text NOT NULL,
            twenty_user_id  uuid NOT NULL,
            email           text NOT NULL,
            vouched_by      text NOT NULL,
            why             text NOT NULL,
            vouched_at      timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (server, twenty_user_id)
        );
        COMMENT ON TABLE provisioning.vouched_account IS
            'Accounts that we did not make and that an operator says belong to the person with that e-mail.';

        CREATE TABLE provisioning.account_origin (
            server          text NOT NULL,
            twenty_user_id  uuid NOT NULL,
            email           text NOT NULL,
            clerk_user_id   text,
            ours            boolean NOT NULL,
            run_id          text NOT NULL,
            seen_at         timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (server, twenty_user_id)
        );
        CREATE INDEX account_origin_of_others ON provisioning.account_origin (server) WHERE NOT ours;
        COMMENT ON TABLE provisioning.account_origin IS
            'Accounts at Twenty of which we know who made them: our password lets in, or it does not.';
        COMMENT ON COLUMN provisioning.account_origin.email IS
            'Of the account when we knew it, lower case: what we know holds for that address alone.';
        COMMENT ON COLUMN provisioning.account_origin.clerk_user_id IS
            'For whom we made it; null: for nobody at Clerk, or a login told.';

        ALTER TABLE provisioning.tenant_link ADD COLUMN default_role_before uuid;
        COMMENT ON COLUMN provisioning.tenant_link.default_role_before IS
            'The workspace''s own default role while we have another in its place for a join; null: it has its own.';

        ALTER TABLE provisioning.tenant_link ADD COLUMN restarts integer NOT NULL DEFAULT 0;
        COMMENT ON COLUMN provisioning.tenant_link.restarts IS
            'How often an operator had the tenant get a new workspace in place of one that is gone.';
        """
    )


def downgrade() -> None:
    """Drop the same."""
    op.execute(
        """
        ALTER TABLE provisioning.tenant_link DROP COLUMN default_role_before, DROP COLUMN restarts;
        DROP TABLE provisioning.account_origin, provisioning.vouched_account, provisioning.certificate;
        """
    )
