"""Where the tenant databases are, and under which user they are opened."""

from psycopg.conninfo import make_conninfo
from pydantic import Field

from provisioning_pipeline.settings.gateway import GatewaySettings
from provisioning_pipeline.settings.types import DatabaseUser, PostgresUrl

_LONGEST_NAME = 63
"""Bytes of a name that PostgreSQL keeps."""


class TenantClusterSettings(GatewaySettings):
    """The settings that lead to a tenant database."""

    tenant_cluster_url: PostgresUrl = Field(
        description="Any database of the cluster that holds the tenant databases. Its user should have no rights but "
        "those that docs/installation.md lists: you may not trust the owner of a tenant database.",
        examples=["postgresql://provisioning_tenants:secret@db.example.com:5432/postgres"],
    )
    tenant_database_user: DatabaseUser | None = Field(
        default=None,
        description="User under which tenant databases are opened; {database} stands for the database's name, so that "
        "each can have a user of its own. Unset: the user of PROVISIONING_TENANT_CLUSTER_URL.",
        examples=["provisioning_{database}"],
    )

    def tenant_cluster_url_for(self, database_name: str) -> str:
        """The cluster's URL under the user that opens this tenant database. It holds the password, where that does."""
        url = self.tenant_cluster_url.get_secret_value()
        if self.tenant_database_user is None:
            return url
        user = self.tenant_database_user.replace("{database}", database_name)
        # as PostgreSQL cuts the name when the role is made
        return make_conninfo(url, user=user.encode()[:_LONGEST_NAME].decode(errors="ignore"))
