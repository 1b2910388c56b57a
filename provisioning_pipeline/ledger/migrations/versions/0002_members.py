"""Members, the Clerk organization of a tenant, marks and Clerk's events."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what keeping members true needs."""
    op.execute(
        """
        ALTER TABLE provisioning.tenant_link
            ADD COLUMN clerk_org_id text UNIQUE,
            ADD COLUMN marked_at timestamptz,
            ADD COLUMN invite_link_opened boolean NOT NULL DEFAULT false;
        COMMENT ON COLUMN provisioning.tenant_link.clerk_org_id IS 'Clerk organization whose members are its members.';
        COMMENT ON COLUMN provisioning.tenant_link.marked_at IS
            'Somebody said that it should be looked at again; null once a run has looked.';
        COMMENT ON COLUMN provisioning.tenant_link.invite_link_opened IS
            'We turned the public invite link on for a join and have not turned it off again yet.';
        CREATE INDEX tenant_marked ON provisioning.tenant_link (marked_at) WHERE marked_at IS NOT NULL;

        CREATE TABLE provisioning.member_link (
            database_name   text NOT NULL REFERENCES provisioning.tenant_link ON DELETE CASCADE,
            clerk_user_id   text NOT NULL,
            twenty_user_id  uuid NOT NULL,
            email           text NOT NULL,
            first_name      text NOT NULL,
            last_name       text NOT NULL,
            created_at      timestamptz NOT NULL DEFAULT now(),
            run_id          text NOT NULL,
            PRIMARY KEY (database_name, clerk_user_id),
            UNIQUE (database_name, twenty_user_id)
        );
        CREATE INDEX member_link_of_user ON provisioning.member_link (clerk_user_id);
        COMMENT ON TABLE provisioning.member_link IS
            'Which Clerk member of a tenant is which member of its workspace; nobody else is ever removed.';
        COMMENT ON COLUMN provisioning.member_link.first_name IS 'As we last set it in Twenty.';

        CREATE TABLE provisioning.clerk_event (
            event_id         text PRIMARY KEY,
            type             text NOT NULL,
            organization_id  text,
            user_id          text,
            happened_at      timestamptz,
            received_at      timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX clerk_event_of_user ON provisioning.clerk_event (user_id, received_at);
        COMMENT ON TABLE provisioning.clerk_event IS
            'Webhooks that arrived, each once by its svix-id; they say whom to look at, never what to do.';
        """
    )


def downgrade() -> None:
    """Drop the same."""
    op.execute(
        """
        DROP TABLE provisioning.clerk_event, provisioning.member_link;
        ALTER TABLE provisioning.tenant_link
            DROP COLUMN clerk_org_id, DROP COLUMN marked_at, DROP COLUMN invite_link_opened;
        """
    )
