"""Under which user a tenant database is opened."""

import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import ValidationError

from provisioning_pipeline.run.connections import cluster_url_for
from provisioning_pipeline.settings import Settings
from provisioning_pipeline_tests.settings.complete import COMPLETE

URL = "postgresql://provisioning_tenants:c4nary@db:6543/postgres"


def settings(user: str | None) -> Settings:
    given = {name.lower(): value for name, value in COMPLETE.items()}
    return Settings(_env_file=None, **given | {"tenant_cluster_url": URL, "tenant_database_user": user})


@pytest.mark.parametrize(
    ("user", "name", "expected"),
    [
        (None, "twenty_tenant_acme", "provisioning_tenants"),
        ("looker", "twenty_tenant_acme", "looker"),
        ("provisioning_{database}", "twenty_tenant_acme", "provisioning_twenty_tenant_acme"),
        ("provisioning_{database}", "t" * 63, "provisioning_" + "t" * 50),
        ("p_{database}", "ü" * 31, "p_" + "ü" * 30),
    ],
)
def test_each_database_has_its_user_and_the_clusters_password(user: str | None, name: str, expected: str) -> None:
    found = conninfo_to_dict(cluster_url_for(settings(user), name))
    assert (found["user"], found["password"], found["host"], found["dbname"]) == (expected, "c4nary", "db", "postgres")


@pytest.mark.parametrize("user", ["", "{name}", "provisioning_{database", "{database:x}"])
def test_no_other_placeholder_is_taken(user: str) -> None:
    with pytest.raises(ValidationError, match="tenant_database_user"):
        settings(user)
