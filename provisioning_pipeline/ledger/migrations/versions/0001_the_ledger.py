"""Links, conditions, intents, outcomes and runs."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the ledger."""
    op.execute(
        """
        CREATE TABLE provisioning.tenant_link (
            database_name  text PRIMARY KEY,
            slug           text NOT NULL,
            server         text,
            subdomain      text,
            workspace_id   uuid UNIQUE,
            workspace_url  text,
            admin_user_id  uuid,
            admin_email    text,
            attempts       integer NOT NULL DEFAULT 0,
            look_again_at  timestamptz NOT NULL DEFAULT now(),
            ready          boolean NOT NULL DEFAULT false,
            created_at     timestamptz NOT NULL DEFAULT now(),
            updated_at     timestamptz NOT NULL DEFAULT now(),
            UNIQUE (server, subdomain)
        );
        COMMENT ON TABLE provisioning.tenant_link IS
            'Which workspace on which Twenty server belongs to which tenant database.';
        COMMENT ON COLUMN provisioning.tenant_link.workspace_id IS 'Twenty workspace; null until it is made.';
        COMMENT ON COLUMN provisioning.tenant_link.admin_user_id IS 'Twenty user of the workspace''s admin.';

        CREATE TABLE provisioning.condition (
            database_name  text NOT NULL REFERENCES provisioning.tenant_link ON DELETE CASCADE,
            type           text NOT NULL,
            status         text NOT NULL CHECK (status IN ('True', 'False', 'Unknown')),
            reason         text NOT NULL,
            message        text NOT NULL,
            since          timestamptz NOT NULL DEFAULT now(),
            run_id         text NOT NULL,
            PRIMARY KEY (database_name, type)
        );

        CREATE TABLE provisioning.user_link (
            server          text NOT NULL,
            clerk_user_id   text NOT NULL,
            twenty_user_id  uuid NOT NULL,
            linked_at       timestamptz NOT NULL DEFAULT now(),
            run_id          text NOT NULL,
            PRIMARY KEY (server, clerk_user_id),
            UNIQUE (server, twenty_user_id)
        );
        COMMENT ON TABLE provisioning.user_link IS 'Which Clerk user is which Twenty user, per Twenty server.';

        CREATE TABLE provisioning.intent (
            id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            database_name  text NOT NULL REFERENCES provisioning.tenant_link ON DELETE CASCADE,
            server         text NOT NULL,
            subdomain      text NOT NULL,
            begun_at       timestamptz NOT NULL,
            settled_at     timestamptz,
            settled_as     text,
            run_id         text NOT NULL
        );
        CREATE UNIQUE INDEX intent_open ON provisioning.intent (database_name) WHERE settled_at IS NULL;
        COMMENT ON COLUMN provisioning.intent.begun_at IS 'By the clock of the Twenty server''s own database.';
        COMMENT ON TABLE provisioning.intent IS
            'Written before a workspace is created, so that a lost answer can be told from somebody else''s work.';

        CREATE TABLE provisioning.outcome (
            id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            run_id         text NOT NULL,
            database_name  text NOT NULL,
            change         text NOT NULL,
            status         text NOT NULL CHECK (status IN ('done', 'failed')),
            detail         text NOT NULL,
            seconds        double precision NOT NULL,
            at             timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX outcome_of_run ON provisioning.outcome (run_id);
        CREATE INDEX outcome_of_tenant ON provisioning.outcome (database_name, at);

        CREATE TABLE provisioning.run (
            run_id       text PRIMARY KEY,
            trigger      text NOT NULL,
            begun_at     timestamptz NOT NULL DEFAULT now(),
            finished_at  timestamptz,
            ready        integer,
            unwell       integer,
            actions      integer,
            seconds      double precision,
            report       text
        );
        """
    )


def downgrade() -> None:
    """Drop the ledger; the registry keeps its workspace ids."""
    op.execute(
        """
        DROP TABLE provisioning.run, provisioning.outcome, provisioning.intent, provisioning.user_link,
                   provisioning.condition, provisioning.tenant_link
        """
    )
