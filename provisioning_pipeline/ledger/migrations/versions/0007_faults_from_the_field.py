"""What faults from the field ask for: who wrote last under a lock, turns of due tenants, whose ledger it is, whom a run
was about to let in, and which tenants had a registry row."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is kept about locks, launches, memberships that were begun and registry rows."""
    _add_lock_signatures()
    _add_launches()
    _add_member_intents()
    _remember_registry_rows()


def downgrade() -> None:
    """Drop the same."""
    op.execute("ALTER TABLE provisioning.tenant_link DROP COLUMN registered_at, DROP COLUMN registry_row_gone_at")
    op.execute("DROP TABLE provisioning.lock_signature, provisioning.turn, provisioning.code_location")
    op.execute("DROP TABLE provisioning.member_intent")


def _add_lock_signatures() -> None:
    op.execute(
        """
        CREATE TABLE provisioning.lock_signature (
            kind       integer NOT NULL,
            name       text NOT NULL,
            signature  uuid NOT NULL,
            signed_at  timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (kind, name)
        );
        COMMENT ON TABLE provisioning.lock_signature IS
            'Who wrote last under an advisory lock: whoever lost its connection may go on only while this is theirs.';
        COMMENT ON COLUMN provisioning.lock_signature.kind IS 'First key of the advisory lock.';
        COMMENT ON COLUMN provisioning.lock_signature.name IS 'Database name of a tenant, or name of a Twenty server.';
        """
    )


def _add_launches() -> None:
    op.execute(
        """
        CREATE TABLE provisioning.turn (
            database_name text PRIMARY KEY,
            due_since     timestamptz NOT NULL,
            cause         text,
            attempts      integer NOT NULL DEFAULT 0,
            launched_at   timestamptz,
            work          text,
            asked_by      text
        );
        COMMENT ON TABLE provisioning.turn IS
            'Tenants that sensors saw due, until a run has had them: since when, how often they were launched.';
        COMMENT ON COLUMN provisioning.turn.work IS
            'Value of the tag provisioning/work of the run that was asked for; null: none was yet.';

        CREATE TABLE provisioning.code_location (
            only_row      boolean PRIMARY KEY DEFAULT true CHECK (only_row),
            location      text NOT NULL,
            repository    text NOT NULL,
            seen_at       timestamptz NOT NULL DEFAULT now()
        );
        COMMENT ON TABLE provisioning.code_location IS
            'The code location of Dagster whose sensors work on this ledger.';
        """
    )


def _add_member_intents() -> None:
    """The table; and from what earlier versions wrote down, the people whom they let in and did not link."""
    op.execute(
        """
        CREATE TABLE provisioning.member_intent (
            database_name   text NOT NULL REFERENCES provisioning.tenant_link ON DELETE CASCADE,
            clerk_user_id   text NOT NULL,
            twenty_user_id  uuid,
            email           text NOT NULL,
            begun_at        timestamptz NOT NULL DEFAULT now(),
            run_id          text NOT NULL,
            PRIMARY KEY (database_name, clerk_user_id)
        );
        CREATE INDEX member_intent_of_user ON provisioning.member_intent (clerk_user_id);
        COMMENT ON TABLE provisioning.member_intent IS
            'Clerk members whom we began to let into a workspace and have not linked yet; they can be missed already.';
        COMMENT ON COLUMN provisioning.member_intent.twenty_user_id IS 'Null: the account with this e-mail.';

        INSERT INTO provisioning.member_intent (database_name, clerk_user_id, twenty_user_id, email, run_id)
        SELECT DISTINCT ON (f.database_name, f.clerk_user_id)
            f.database_name, f.clerk_user_id, f.twenty_user_id, f.email, f.run_id
        FROM (
            SELECT l.database_name, l.server, l.admin_user_id AS twenty_user_id, l.admin_email AS email,
                   COALESCE(o.clerk_user_id, u.clerk_user_id) AS clerk_user_id, 'migration' AS run_id
            FROM provisioning.tenant_link l
            LEFT JOIN provisioning.account_origin o ON o.server = l.server AND o.twenty_user_id = l.admin_user_id
            LEFT JOIN provisioning.user_link u ON u.server = l.server AND u.twenty_user_id = l.admin_user_id
            WHERE l.admin_user_id IS NOT NULL AND l.admin_email IS NOT NULL AND l.clerk_org_id IS NOT NULL
            UNION ALL
            SELECT l.database_name, l.server, o.twenty_user_id, o.email,
                   COALESCE(o.clerk_user_id, u.clerk_user_id), d.run_id
            FROM (
                SELECT database_name, split_part(detail, ' as ', 1) AS email, max(run_id) AS run_id
                FROM provisioning.outcome
                WHERE status = 'done' AND change IN ('add admin', 'add member', 'invite member') GROUP BY 1, 2
            ) d
            JOIN provisioning.tenant_link l ON l.database_name = d.database_name AND l.clerk_org_id IS NOT NULL
            JOIN provisioning.account_origin o ON o.server = l.server AND o.email = d.email
            LEFT JOIN provisioning.user_link u ON u.server = o.server AND u.twenty_user_id = o.twenty_user_id
        ) f
        WHERE f.clerk_user_id IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM provisioning.member_link m WHERE m.database_name = f.database_name
              AND (m.clerk_user_id = f.clerk_user_id OR m.twenty_user_id = f.twenty_user_id OR m.email = f.email))
          -- whose link was dropped left on purpose
          AND NOT EXISTS (SELECT 1 FROM provisioning.known_at_clerk k
              WHERE k.database_name = f.database_name AND k.email = f.email)
        ORDER BY f.database_name, f.clerk_user_id, f.run_id = 'migration' DESC;
        """
    )


def _remember_registry_rows() -> None:
    """Which tenants had a registry row, by what the ledger of old says of it: adopted is only what never had one."""
    op.execute(
        """
        ALTER TABLE provisioning.tenant_link ADD COLUMN registered_at timestamptz;
        COMMENT ON COLUMN provisioning.tenant_link.registered_at IS
            'When a run first saw a registry row of the tenant, ours or the tenant manager''s; null: it never had one.';
        ALTER TABLE provisioning.tenant_link ADD COLUMN registry_row_gone_at timestamptz;
        COMMENT ON COLUMN provisioning.tenant_link.registry_row_gone_at IS
            'When a run took it as settled that the row was taken away; null: the row is there, or never was.';

        UPDATE provisioning.tenant_link l SET registered_at = l.created_at
        WHERE l.workspace_id IS NOT NULL OR EXISTS (
            SELECT 1 FROM provisioning.condition c WHERE c.database_name = l.database_name AND c.type = 'Registered'
            AND c.reason IN ('RegistryRow', 'Adopted', 'TenantSuspended', 'TenantGone', 'RegistryAmbiguous'));
        UPDATE provisioning.tenant_link l SET registry_row_gone_at = now()
        WHERE l.registered_at IS NOT NULL AND EXISTS (
            SELECT 1 FROM provisioning.condition c WHERE c.database_name = l.database_name AND c.type = 'Registered'
            AND c.reason = 'TenantGone');
        """
    )
