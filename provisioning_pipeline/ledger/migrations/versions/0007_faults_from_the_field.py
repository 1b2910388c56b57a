"""What faults from the field ask for: who wrote last under a lock, and which tenants had a registry row."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is kept about locks and registry rows."""
    _add_lock_signatures()
    _remember_registry_rows()


def downgrade() -> None:
    """Drop the same."""
    op.execute("ALTER TABLE provisioning.tenant_link DROP COLUMN registered_at, DROP COLUMN registry_row_gone_at")
    op.execute("DROP TABLE provisioning.lock_signature")


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
