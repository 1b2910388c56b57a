"""An export has every record and file of a workspace, goes on where it was cut off, and is never half a file."""

import asyncio
import json
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import fsspec
import pytest

from provisioning_pipeline.clients.transport import Effect, watched
from provisioning_pipeline.clients.twenty import export
from provisioning_pipeline.model.condition import ConditionType, Reason, Status
from provisioning_pipeline.run.work import TenantResult
from provisioning_pipeline.steps.offboarding.changes import ARCHIVE_WORKSPACE, EXPORT_WORKSPACE
from provisioning_pipeline_tests.steps.offboarding.conftest import Offboarded
from provisioning_pipeline_tests.steps.offboarding.records import (
    add,
    add_attachment,
    add_object,
    fill,
    folder,
    manifest,
    rows_of,
)
from provisioning_pipeline_tests.world import World, browser, login_of


@pytest.fixture(scope="module")
def slug(world: World) -> str:
    """A tenant with records of several kinds, more of them than fit on a page."""
    world.sandbox.add_tenant("full", members=2)
    world.apply("full")
    fill(world, "full", companies=12)
    add_attachment(world, "full", b"an offer")
    return "full"


@pytest.fixture
def own(world: World) -> str:
    """A tenant of this test alone."""
    slug = f"own-{uuid4().hex[:6]}"
    world.sandbox.add_tenant(slug, members=1)
    world.apply(slug)
    return slug


@pytest.fixture(autouse=True)
def _short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "PAGE", 5)


def read_as_us(world: World, slug: str, document: str) -> Any:
    """What our account reads of the workspace's records."""
    us = world.settings.servers[0]
    with browser(world.sandbox.twenty[0]) as http:
        token = login_of(
            http, us.service_email, us.service_password.get_secret_value(), world.link(slug)["workspace_url"]
        )
        headers = {"authorization": f"Bearer {token}"}
        return http.post("/graphql", json={"query": document}, headers=headers).json()["data"]


def outcome(result: TenantResult) -> tuple[Status, Reason]:
    (found,) = (known for known in result.conditions if known.type is ConditionType.OFFBOARDED)
    return found.status, found.reason


def test_every_record_is_read_back_as_it_was_in_either_format(
    world: World, slug: str, offboarded: Offboarded, tmp_path: Path
) -> None:
    tables = {}
    for kind in ("parquet", "csv"):
        place = tmp_path / kind
        result = offboarded(slug, EXPORT_WORKSPACE, export_path=str(place), export_format=kind)
        assert outcome(result) == (Status.TRUE, Reason.EXPORTED), result.conditions
        where = folder(world, slug, place)
        found = manifest(where)
        assert (found["complete"], found["format"]) == (True, kind)
        tables[kind] = {name: rows_of(where, name, found) for name in found["objects"]}
        assert {name: len(rows) for name, rows in tables[kind].items()} == {
            name: known["rows"] for name, known in found["objects"].items()
        }
    assert tables["csv"] == tables["parquet"]

    read = tables["parquet"]
    # as many objects as Twenty makes, and the customer's own
    assert len(read) == 29
    assert len(read["company"]) == 12
    (third,) = (row for row in read["company"] if row["employees"] == 3)
    assert third["name"] == 'Company "3",\nÜ'
    assert third["domainNamePrimaryLinkUrl"] == "https://3.example"
    assert third["accountOwnerId"] is None
    (person,) = read["person"]
    assert person["deletedAt"]
    assert (person["nameFirstName"], person["nameLastName"]) == ("Ada", "")
    assert json.loads(person["emailsAdditionalEmails"]) == ["a@b.c"]
    assert read["note"][0]["bodyV2Markdown"] == "# Hello"
    (rocket,) = read["rocket"]
    assert (rocket["manned"], json.loads(rocket["kinds"]), json.loads(rocket["plan"])) == (
        True,
        ["A", "B"],
        {"stages": [1, 2]},
    )
    assert {row["userEmail"] for row in read["workspaceMember"]} >= set(world.members(slug))


@pytest.mark.slow
def test_who_owns_what_is_exported_of_a_locked_workspace_too(
    world: World, own: str, offboarded: Offboarded, tmp_path: Path
) -> None:
    add_object(world, own, "rocket", "rockets", "name:TEXT pilot:>workspaceMember")
    ((schema,),) = world.twenty(
        'SELECT "databaseSchema" FROM core.workspace WHERE id = %s', world.link(own)["workspace_id"]
    )
    members = sorted(str(row[0]) for row in world.twenty(f'SELECT id FROM "{schema}"."workspaceMember"'))
    for member in members:
        add(world, own, "company", accountOwnerId=member)
        add(world, own, "task", assigneeId=member)
        add(world, own, "rocket", pilotId=member)
    deleted = add(world, own, "company", deleted=True)
    add(world, own, "person", companyId=deleted)
    offboarded(own, ARCHIVE_WORKSPACE)
    assert outcome(offboarded(own, EXPORT_WORKSPACE)) == (Status.TRUE, Reason.EXPORTED)

    where = folder(world, own, tmp_path)
    found = manifest(where)
    for name, column in (("company", "accountOwnerId"), ("task", "assigneeId"), ("rocket", "pilotId")):
        assert sorted(row[column] for row in rows_of(where, name, found) if row[column]) == members, name
    assert [row["companyId"] for row in rows_of(where, "person", found)] == [deleted]
    # as on 2.21.0, who asks for the owners themselves loses their ids, too
    owners = read_as_us(
        world, own, "{companies(filter:{deletedAt:{is:NULL}}){edges{node{accountOwnerId accountOwner{id}}}}}"
    )
    (us,) = (row["id"] for row in rows_of(where, "workspaceMember", found) if row["deletedAt"] is None)
    seen = [edge["node"] for edge in owners["companies"]["edges"]]
    assert sorted(str(node["accountOwnerId"]) for node in seen) == sorted([us, *["None"] * len(members)])
    assert [node["accountOwner"] for node in seen if node["accountOwnerId"]] == [{"id": us}]
    assert any(what.startswith("API keys") for what in found["not_exported"])


@pytest.mark.slow
def test_files_lie_beside_the_tables_and_no_url_with_its_token_is_written(
    world: World, slug: str, offboarded: Offboarded, tmp_path: Path
) -> None:
    lost = add_attachment(world, slug, None)
    offboarded(slug, EXPORT_WORKSPACE)

    where = folder(world, slug, tmp_path)
    found = manifest(where)
    assert [path.read_bytes() for path in (where / "files").iterdir()] == [b"an offer"]
    rows = rows_of(where, "attachment", found)
    files = [json.loads(row["file"])[0] for row in rows]
    assert {(where / file["file"]).exists() for file in files if file["fileId"] != lost} == {True}
    # what Twenty itself has lost is named
    assert found["objects"]["attachment"]["missing_files"] == [lost]
    assert found["files"] == 1
    assert not any("token=" in json.dumps(row) for row in rows)
    world.twenty("DELETE FROM sandbox_twenty.record WHERE data->'file'->0->>'fileId' = %s RETURNING 1", lost)


@pytest.mark.slow
def test_only_those_who_may_read_reports_may_read_an_export(
    world: World, slug: str, offboarded: Offboarded, tmp_path: Path
) -> None:
    offboarded(slug, EXPORT_WORKSPACE, files_readable_by="group")
    where = folder(world, slug, tmp_path)
    modes = {path.stat().st_mode & 0o777 for path in where.rglob("*") if path.is_file()}
    assert modes == {0o640}


@pytest.mark.slow
def test_an_export_goes_to_any_place_that_fsspec_knows(world: World, slug: str, offboarded: Offboarded) -> None:
    place = f"memory://exports-{uuid4().hex}"
    result = offboarded(slug, EXPORT_WORKSPACE, export_path=place)
    assert outcome(result) == (Status.TRUE, Reason.EXPORTED), result.conditions
    store = fsspec.filesystem("memory")
    paths = {path.rsplit("/", 1)[1] for path in store.find(place)}
    assert {"manifest.json", "company.parquet", "rocket.parquet"} <= paths
    assert not any(path.startswith(".") for path in paths)


def test_without_a_place_nothing_is_exported_and_the_setting_is_named(slug: str, offboarded: Offboarded) -> None:
    result = offboarded(slug, EXPORT_WORKSPACE, export_path=None)
    assert outcome(result) == (Status.FALSE, Reason.OFFBOARDING_WAITS)
    assert "PROVISIONING_EXPORT_PATH" in result.conditions[-1].message


@pytest.mark.slow
def test_a_place_that_cannot_be_written_to_is_named(slug: str, offboarded: Offboarded, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = offboarded(slug, EXPORT_WORKSPACE, export_path=str(tmp_path / "file"))
    assert outcome(result) == (Status.FALSE, Reason.EXPORT_NOT_WRITTEN)
    assert f"{tmp_path}/file is a file, and not a folder" in result.conditions[-1].message


@pytest.mark.slow
def test_what_is_exported_is_read_again_only_where_it_changed(
    world: World, own: str, offboarded: Offboarded, tmp_path: Path
) -> None:
    fill(world, own, companies=3)
    offboarded(own, EXPORT_WORKSPACE)
    where = folder(world, own, tmp_path)
    before = {path: path.stat().st_ino for path in where.glob("*.parquet")}

    # one more, and one that is another one since
    add(world, own, "note", title="new")
    world.twenty(
        'UPDATE sandbox_twenty.record SET data = \'{"name": "Two"}\', "updatedAt" = now() + interval \'1 s\' '
        "WHERE object = 'rocket' AND \"workspaceId\" = %s RETURNING 1",
        world.link(own)["workspace_id"],
    )
    offboarded(own, EXPORT_WORKSPACE)

    written = {path.stem for path, inode in before.items() if path.stat().st_ino != inode}
    assert written == {"note", "rocket"}
    found = manifest(where)
    assert [row["name"] for row in rows_of(where, "rocket", found)] == ["Two"]
    assert len(rows_of(where, "note", found)) == 2


@pytest.mark.slow
def test_a_table_that_got_lost_is_written_again(world: World, own: str, offboarded: Offboarded, tmp_path: Path) -> None:
    fill(world, own, companies=1)
    offboarded(own, EXPORT_WORKSPACE)
    where = folder(world, own, tmp_path)
    (where / "company.parquet").unlink()
    offboarded(own, EXPORT_WORKSPACE)
    assert len(rows_of(where, "company", manifest(where))) == 1


class _Cut(Exception):
    """Stands for the end of the process."""


@pytest.mark.slow
def test_an_export_that_is_cut_off_leaves_no_half_file_and_the_next_goes_on(
    world: World, own: str, offboarded: Offboarded, tmp_path: Path
) -> None:
    fill(world, own, companies=12)
    pages = 0

    def cut(name: str, _: Effect, when: Literal["before", "after"]) -> None:
        nonlocal pages
        pages += name == "people" and when == "before"
        if pages > 1:
            raise _Cut

    with watched(cut):
        result = offboarded(own, EXPORT_WORKSPACE)
    assert result.defect is not None
    where = folder(world, own, tmp_path)
    found = manifest(where)
    assert found["complete"] is False
    assert "company" in found["objects"]
    assert "person" not in found["objects"]
    assert not (where / "person.parquet").exists()
    assert [path.name for path in where.iterdir() if path.name.startswith(".")] == []
    company = (where / "company.parquet").stat().st_ino

    assert outcome(offboarded(own, EXPORT_WORKSPACE)) == (Status.TRUE, Reason.EXPORTED)
    assert manifest(where)["complete"] is True
    assert (where / "company.parquet").stat().st_ino == company


@pytest.mark.slow
@pytest.mark.parametrize(("times", "wanted"), [(1, Reason.EXPORTED), (9, Reason.EXPORT_INCOMPLETE)])
def test_an_object_that_is_written_to_meanwhile_is_read_again_and_then_reported(
    world: World, own: str, offboarded: Offboarded, tmp_path: Path, times: int, wanted: Reason
) -> None:
    add(world, own, "company", name="first")
    written = 0

    def write(name: str, _: Effect, when: Literal["before", "after"]) -> None:
        nonlocal written
        # after it was counted, and once more after it was read
        if name == "companies" and when == "after" and written < times:
            written += 1
            add(world, own, "company", name=f"meanwhile {written}")

    with watched(write):
        result = offboarded(own, EXPORT_WORKSPACE)
    assert outcome(result)[1] is wanted
    if wanted is Reason.EXPORTED:
        where = folder(world, own, tmp_path)
        assert len(rows_of(where, "company", manifest(where))) == 2
    else:
        assert "companies" in result.conditions[-1].message
        assert "3 times" in result.conditions[-1].message


@pytest.mark.slow
def test_a_field_of_a_type_that_we_do_not_know_is_reported_and_not_left_out(
    world: World, own: str, offboarded: Offboarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    from provisioning_pipeline.clients.twenty import objects

    add_object(world, own, "probe", "probes", "reading:NUMERIC")
    known = dict(objects._SIMPLE)
    known.pop("NUMERIC")
    monkeypatch.setattr(objects, "_SIMPLE", known)
    result = offboarded(own, EXPORT_WORKSPACE)
    assert outcome(result) == (Status.FALSE, Reason.EXPORT_INCOMPLETE)
    assert "probe.reading (NUMERIC)" in result.conditions[-1].message


@pytest.mark.slow
def test_each_object_is_reported_as_soon_as_it_is_done(world: World, own: str, tmp_path: Path) -> None:
    told = asyncio.run(_told(world, own, tmp_path))
    assert len(told) == 28
    assert told[0] == "attachments (1 of 28): 0 records exported"


async def _told(world: World, slug: str, place: Path) -> list[str]:
    from datetime import UTC, datetime

    from upath import UPath

    from provisioning_pipeline.run.connections import connect
    from provisioning_pipeline.steps.offboarding.export import Destination, export_workspace
    from provisioning_pipeline.steps.offboarding.manifest import Manifest

    told: list[str] = []
    async with connect(world.settings, dry_run=True, logins=True) as connections:
        (server,) = connections.servers.values()
        workspace = world.link(slug)["workspace_id"]
        reader = export.WorkspaceReader(server.client, await server.client.address(workspace))
        about: Any = Manifest(slug, "db", "twenty", None, workspace, "csv", datetime.now(UTC), False, {})
        await export_workspace(reader, Destination(UPath(place), "csv", "owner"), about, told.append)
    return told
