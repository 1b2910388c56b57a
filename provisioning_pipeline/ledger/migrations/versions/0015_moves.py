"""Moves: the registry's own id of each tenant, and which names tenants have left."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both, and let the rows of a tenant follow its name."""
    op.execute(
        """
        ALTER TABLE provisioning.tenant_link
            ADD COLUMN registry_id text,
            ADD COLUMN database_oid bigint,
            ADD COLUMN left_for text REFERENCES provisioning.tenant_link ON DELETE SET NULL;
        COMMENT ON COLUMN provisioning.tenant_link.registry_id IS
            'The id of its registry row as text, as a run last read it. Null: none was read, or the table has none.';
        COMMENT ON COLUMN provisioning.tenant_link.database_oid IS
            'The number of its database on the cluster, which stays when it is renamed. Null: no run has read it.';
        COMMENT ON COLUMN provisioning.tenant_link.left_for IS
            'The tenant of this name goes by that one now. Null: none left it, or another tenant has it by a row.';
        CREATE INDEX tenant_of_registry_id ON provisioning.tenant_link (registry_id);
        CREATE INDEX tenant_left_for ON provisioning.tenant_link (left_for) WHERE left_for IS NOT NULL;

        DO $body$
        DECLARE
            found record;
        BEGIN
            FOR found IN
                SELECT c.conrelid::pg_catalog.regclass AS relation, c.conname AS name,
                       pg_catalog.pg_get_constraintdef(c.oid) AS definition
                FROM pg_catalog.pg_constraint c
                WHERE c.contype = 'f' AND c.confupdtype = 'a'
                  AND c.confrelid = 'provisioning.tenant_link'::pg_catalog.regclass
            LOOP
                EXECUTE pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I %s ON UPDATE CASCADE',
                    found.relation, found.name, found.name, found.definition);
            END LOOP;
        END
        $body$;
        """
    )


def downgrade() -> None:
    """Drop the columns; that rows follow a name does no harm."""
    op.execute(
        "ALTER TABLE provisioning.tenant_link DROP COLUMN registry_id, DROP COLUMN database_oid, DROP COLUMN left_for"
    )
