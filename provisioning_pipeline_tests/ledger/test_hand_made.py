"""What is kept of hand-made workspaces, whatever their owners called them."""

from collections.abc import Iterator

import pytest

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger import schema
from provisioning_pipeline.ledger.inspections import HandMadeWorkspaces
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.tenant import HandMade
from provisioning_pipeline.sandbox.postgres import SandboxPostgres

pytestmark = pytest.mark.anyio
ID = "11111111-1111-4111-8111-11111111111a"


@pytest.fixture
def url(sandbox_postgres: SandboxPostgres) -> Iterator[str]:
    name = "hand_made_ledger"
    schema.migrate(url := sandbox_postgres.create_database(name))
    yield url
    sandbox_postgres.drop_database(name)


async def test_ids_that_are_none_and_one_id_twice_stop_nobody(sandbox_postgres: SandboxPostgres, url: str) -> None:
    async with Database(url, system="The ledger", unreachable=Reason.REGISTRY_UNREACHABLE, read_only=False) as database:
        kept = HandMadeWorkspaces(database)
        odd = [HandMade(name, "Acme", ("no metadata",)) for name in ("1", "x' --", ID, ID.upper(), "{" + ID + "}")]
        await kept.store({"hostile": odd, "honest": [HandMade(ID, "Honest", ())]})
        await kept.store({"hostile": odd})
    rows = sandbox_postgres.execute(
        "hand_made_ledger",
        "SELECT database_name, workspace_id::text FROM provisioning.hand_made_workspace ORDER BY 1",
    )
    assert rows == [("honest", ID), ("hostile", ID)]
