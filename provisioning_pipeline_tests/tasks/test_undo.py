"""What a run removed by SQL is put back: whole, once, and never at the cost of what is there now."""

import asyncio
import uuid

import pytest

from provisioning_pipeline.ledger.runs import GONE, CutRuns
from provisioning_pipeline.model.fault import RunFault
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.tasks.undo import Fate, RowResult, Undone, UnknownRun, removed_rows, undo
from provisioning_pipeline_tests.undoing import Site


@pytest.fixture
def site(sandbox_postgres: SandboxPostgres) -> Site:
    return Site(sandbox_postgres)


def undone(site: Site, run_id: str = "r1") -> Undone:
    return asyncio.run(undo(site.settings(), run_id))


def counts(done: Undone) -> tuple[int, int, int]:
    """Put back, there already, not put back."""
    return done.count(Fate.PUT_BACK), done.count(Fate.THERE_ALREADY), done.count(Fate.NOT_PUT_BACK)


def left(site: Site, run_id: str = "r1") -> int:
    return len(asyncio.run(removed_rows(site.settings(), run_id)).rows)


def test_rows_of_a_tenants_own_database_come_back_whole(site: Site) -> None:
    tenant = site.tenant("acme")
    before = tenant.remove("r1")
    assert tenant.rows() == []

    assert counts(undone(site)) == (3, 0, 0)

    assert tenant.rows() == before
    assert left(site) == 0


def test_rows_of_a_twenty_server_come_back_whole(site: Site) -> None:
    tenant = site.tenant("acme", site.server)
    before = tenant.remove("r1")

    assert counts(undone(site)) == (3, 0, 0)

    assert tenant.rows() == before


def test_undoing_twice_is_undoing_once(site: Site) -> None:
    tenant = site.tenant("acme")
    before = tenant.remove("r1")
    undone(site)
    tenant.execute('DELETE FROM core."keyValuePair" WHERE key LIKE %s RETURNING 1', "%PROFILE%")

    assert counts(undone(site)) == (0, 0, 0)

    # what somebody removed since is not ours to put back
    assert len(tenant.rows()) == len(before) - 2


def test_another_run_s_rows_stay_removed(site: Site) -> None:
    one, other = site.tenant("acme"), site.tenant("zeta")
    one.remove("r1")
    other.remove("r2")

    undone(site, "r2")

    assert (len(one.rows()), len(other.rows())) == (0, 3)


def test_a_row_that_came_back_meanwhile_is_told_and_left_as_it_is(site: Site) -> None:
    tenant = site.tenant("acme")
    before = tenant.remove("r1")
    same = before[0] | {"value": False}
    in_its_place = before[1] | {"id": str(uuid.uuid4()), "value": False}
    tenant.insert(same)
    tenant.insert(in_its_place)

    done = undone(site)

    assert counts(done) == (1, 2, 0)
    assert {row["id"]: row["value"] for row in tenant.rows()} == {
        same["id"]: False,
        in_its_place["id"]: False,
        before[2]["id"]: True,
    }
    whys = {told.row.row_id: told.why for told in done.rows}
    assert "came back" in whys[before[0]["id"]]
    assert "Another row" in whys[before[1]["id"]]
    assert left(site) == 0


def test_rows_of_somebody_who_is_gone_are_told_and_the_others_come_back(site: Site) -> None:
    tenant = site.tenant("acme")
    tenant.remove("r1")
    jane, john = tenant.workspace.users
    tenant.execute('DELETE FROM core."user" WHERE id = %s RETURNING 1', jane)

    done = undone(site)

    assert counts(done) == (1, 0, 2)
    assert [row["userId"] for row in tenant.rows()] == [john]
    assert {told.why for told in done.rows if told.fate is Fate.NOT_PUT_BACK} == {f"There is no user {jane} any more."}
    # so that they can be put back once that person is
    assert left(site) == 2


def test_rows_of_a_workspace_that_is_gone_are_told(site: Site) -> None:
    tenant = site.tenant("acme")
    tenant.remove("r1")
    tenant.execute("DELETE FROM core.workspace RETURNING 1")

    done = undone(site)

    assert counts(done) == (0, 0, 3)
    assert all(tenant.workspace.id in told.why for told in done.rows)


def test_a_database_that_is_gone_is_told_and_the_others_go_on(site: Site) -> None:
    gone, there = site.tenant("acme"), site.tenant("zeta")
    gone.remove("r1")
    before = there.remove("r1")
    site.postgres.drop_database(gone.name)

    done = undone(site)

    assert counts(done) == (3, 0, 3)
    assert there.rows() == before
    assert all("cannot be reached" in told.why for told in done.rows if told.fate is Fate.NOT_PUT_BACK)
    assert left(site) == 3


def test_a_server_that_is_no_longer_in_the_settings_is_told(site: Site) -> None:
    tenant = site.tenant("acme", site.server)
    tenant.remove("r1")
    site.postgres.execute(site.registry, "UPDATE provisioning.removed_row SET server = 'eu' RETURNING 1")

    done = undone(site)

    assert counts(done) == (0, 0, 3)
    assert 'server "eu" is not in the settings' in done.rows[0].why


def test_a_deletion_that_was_never_committed_is_found_there_already(site: Site) -> None:
    tenant = site.tenant("acme")
    before = tenant.remove("r1")
    site.postgres.execute(site.registry, "UPDATE provisioning.removed_row SET status = 'removing' RETURNING 1")
    for row in before:
        tenant.insert(row)

    assert counts(undone(site)) == (0, 3, 0)

    assert tenant.rows() == before


def test_what_a_run_had_removed_when_it_was_cut_comes_back(site: Site) -> None:
    """It was killed after its deletion, and before it knew of that."""
    tenant = site.tenant("acme")
    before = tenant.remove("r1")
    site.postgres.execute(site.registry, "UPDATE provisioning.removed_row SET status = 'removing' RETURNING 1")
    assert site.with_ledger(lambda ledger: CutRuns(ledger).end(["r1"], GONE)) == ["r1"]

    assert counts(undone(site)) == (3, 0, 0)

    assert tenant.rows() == before


def test_an_activation_status_is_set_back(site: Site) -> None:
    tenant = site.tenant("acme")
    tenant.activate("r1")
    before = tenant.remove("r1")
    assert tenant.status() == "ACTIVE"

    assert counts(undone(site)) == (4, 0, 0)

    assert tenant.status() == "PENDING_CREATION"
    assert tenant.rows() == before


@pytest.mark.parametrize(
    ("status", "fate"), [("SUSPENDED", Fate.NOT_PUT_BACK), ("PENDING_CREATION", Fate.THERE_ALREADY)]
)
def test_an_activation_status_that_somebody_changed_since_is_left_alone(site: Site, status: str, fate: Fate) -> None:
    tenant = site.tenant("acme")
    tenant.activate("r1")
    tenant.set_status(status)

    (told,) = undone(site).rows

    assert told.fate is fate
    assert status in told.why
    assert tenant.status() == status


def test_a_tenant_that_a_run_is_at_is_told_and_the_others_go_on(site: Site) -> None:
    busy, free = site.tenant("acme"), site.tenant("zeta")
    busy.remove("r1")
    free.remove("r1")
    with site.postgres.connect(site.registry) as run:
        run.execute("SELECT pg_advisory_lock(730155, hashtext(%s))", [busy.name])
        done = asyncio.run(undo(site.settings(lock_wait_seconds=0), "r1"))

    assert counts(done) == (3, 0, 3)
    assert (len(busy.rows()), len(free.rows())) == (0, 3)


def test_every_row_is_told_as_it_goes(site: Site) -> None:
    site.tenant("acme").remove("r1")
    site.tenant("zeta", site.server).remove("r1")
    told: list[RowResult] = []

    done = asyncio.run(undo(site.settings(), "r1", told.append))

    assert sorted(told, key=lambda one: one.row.id) == sorted(done.rows, key=lambda one: one.row.id)


@pytest.mark.parametrize(
    ("table", "privilege"),
    [('core."keyValuePair"', "UPDATE and INSERT"), ('core."workspace"', "UPDATE")],
    ids=["rows", "status"],
)
def test_a_missing_grant_is_named(site: Site, table: str, privilege: str) -> None:
    tenant = site.tenant("acme")
    if "INSERT" in privilege:
        tenant.remove("r1")
    else:
        tenant.activate("r1")
    reader = f"reads_{site.mark}_{privilege.lower()[:6]}_{len(privilege)}"
    with site.postgres.connect(tenant.where) as connection:
        connection.execute(f"CREATE ROLE {reader} LOGIN PASSWORD 'reads-only'")
        connection.execute(f"GRANT USAGE ON SCHEMA core TO {reader}")
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA core TO {reader}")
    url = f"postgresql://{reader}:reads-only@127.0.0.1:{site.postgres.port}/postgres"

    done = asyncio.run(undo(site.settings(tenant_cluster_url=url), "r1"))

    assert done.count(Fate.NOT_PUT_BACK) == len(done.rows) > 0
    assert all(told.why.endswith(f". Grant {privilege} on {table} there and undo again.") for told in done.rows)


def test_a_schema_that_may_not_be_used_is_no_matter_of_that_grant(site: Site) -> None:
    tenant = site.tenant("acme")
    tenant.remove("r1")
    with site.postgres.connect(tenant.where) as connection:
        connection.execute(f"CREATE ROLE stranger_{site.mark} LOGIN PASSWORD 'reads-nothing'")
    url = f"postgresql://stranger_{site.mark}:reads-nothing@127.0.0.1:{site.postgres.port}/postgres"

    done = asyncio.run(undo(site.settings(tenant_cluster_url=url), "r1"))

    assert counts(done) == (0, 0, 3)
    assert not any("INSERT" in told.why for told in done.rows)


def test_a_ledger_that_takes_nothing_is_told_with_what_may_be_back_and_undoing_again_is_safe(site: Site) -> None:
    tenant = site.tenant("acme")
    before = tenant.remove("r1")
    with site.postgres.connect(site.registry) as ledger:
        ledger.execute("ALTER TABLE provisioning.removed_row ADD CONSTRAINT stays CHECK (status <> 'restored')")

    with pytest.raises(RunFault, match=r"Rows may be back already .* undoing it again is safe"):
        undone(site)
    assert tenant.rows() == before

    with site.postgres.connect(site.registry) as ledger:
        ledger.execute("ALTER TABLE provisioning.removed_row DROP CONSTRAINT stays")
    assert counts(undone(site)) == (0, 3, 0)
    assert tenant.rows() == before


# --- what there is to put back ------------------------------------------------------------------------------------


def test_what_would_be_put_back_is_read_without_putting_it_back(site: Site) -> None:
    tenant = site.tenant("acme")
    before = tenant.remove("r1")

    found = asyncio.run(removed_rows(site.settings(), "r1"))

    assert [row.row for row in found.rows] == before
    assert {found.tenant(row) for row in found.rows} == {"acme"}
    assert tenant.rows() == []


def test_a_tenant_that_the_ledger_no_longer_knows_is_called_by_its_database(site: Site) -> None:
    tenant = site.tenant("acme")
    tenant.remove("r1")
    site.postgres.execute(site.registry, "DELETE FROM provisioning.tenant_link RETURNING 1")

    found = asyncio.run(removed_rows(site.settings(), "r1"))

    assert {found.tenant(row) for row in found.rows} == {tenant.name}


def test_an_unknown_run_is_refused_with_the_latest_that_removed_something(site: Site) -> None:
    site.tenant("acme").remove("r1")
    with pytest.raises(UnknownRun, match=r"no run nowhere.*r1 \(.*3 rows, 0 of them put back\)"):
        asyncio.run(removed_rows(site.settings(), "nowhere"))


def test_an_unknown_run_is_refused_where_nothing_was_ever_removed(site: Site) -> None:
    with pytest.raises(UnknownRun, match="no run has removed a row"):
        asyncio.run(removed_rows(site.settings(), "nowhere"))


def test_a_run_that_removed_nothing_is_known_and_has_nothing(site: Site) -> None:
    tenant = site.tenant("acme")
    tenant.execute('DELETE FROM core."keyValuePair" RETURNING 1')
    tenant.remove("r1")

    found = asyncio.run(removed_rows(site.settings(), "r1"))

    assert (found.rows, found.restored) == ((), 0)


def test_the_beginning_of_an_id_is_enough_when_no_other_run_begins_so(site: Site) -> None:
    site.tenant("acme").remove("0a1b2c3d-first")
    site.tenant("zeta").remove("0a1b2c3e-other")

    found = asyncio.run(removed_rows(site.settings(), "0a1b2c3d"))

    assert (found.run_id, len(found.rows)) == ("0a1b2c3d-first", 3)


def test_less_than_eight_characters_are_no_beginning(site: Site) -> None:
    site.tenant("acme").remove("0a1b2c3d-first")

    with pytest.raises(UnknownRun, match="There was no run 0a1b2c3"):
        asyncio.run(removed_rows(site.settings(), "0a1b2c3"))


def test_a_beginning_of_several_runs_is_refused_with_their_ids(site: Site) -> None:
    site.tenant("acme").remove("0a1b2c3d-first")
    site.tenant("zeta").remove("0a1b2c3d-second")

    with pytest.raises(UnknownRun, match=r"2 runs .* 0a1b2c3d: 0a1b2c3d-first, 0a1b2c3d-second\. Give more"):
        asyncio.run(removed_rows(site.settings(), "0a1b2c3d"))


def test_a_whole_id_with_which_another_begins_is_that_run(site: Site) -> None:
    site.tenant("acme").remove("0a1b2c3d")
    site.tenant("zeta").remove("0a1b2c3d-second")

    assert asyncio.run(removed_rows(site.settings(), "0a1b2c3d")).run_id == "0a1b2c3d"
