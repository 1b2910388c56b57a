"""No customer's name stops a run: the key of a tenant's history in Dagster is valid, whatever it was made of."""

import builtins
import keyword
import re
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.partitions.utils.base import raise_error_on_invalid_partition_key_substring
from dagster._core.definitions.utils import DISALLOWED_NAMES
from hypothesis import example, given
from hypothesis import strategies as st

from provisioning_pipeline.definitions import build_defs, defs
from provisioning_pipeline.defs.names import partition_keys
from provisioning_pipeline.model.tenant import Tenant
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.defs.conftest import world_of
from provisioning_pipeline_tests.world import World

ODD = [
    *sorted({*keyword.kwlist, *keyword.softkwlist, *DISALLOWED_NAMES}),
    *("", " ", "_", "__", "-", ".", "..", "/", "a/b", "../../etc", "con", "nul", "[x]", "a\nb", "a\x00b", "%s", "{}"),
    *("日本語", "ACME", "Acme", "acme", "ﬀ", "ẞ", "é", "e\u0301", "🚀", "\u202eacme", "a b", "a-b", "a_b", "a.b"),
    *("x" * 63, "x" * 64, "x" * 5000, "1", "0x", "chunk_1", "result", "collect", "?", "None", "class_", "lambda_"),
]


def tenant(slug: str, database: str) -> Tenant:
    return Tenant(database, slug, slug)


def check(tenants: list[Tenant]) -> list[str]:
    keys = partition_keys(tenants)
    raise_error_on_invalid_partition_key_substring(keys)
    for key in keys:
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,53}", key), "it is part of URLs and of a file's name"
    assert len({key.lower() for key in keys}) == len(tenants), "some file systems do not tell A from a"
    return keys


def test_slugs_that_dagster_or_a_file_system_would_refuse_all_together() -> None:
    check([tenant(slug, f"twenty_tenant_{number}") for number, slug in enumerate(ODD)])


@pytest.mark.parametrize("slug", sorted(set(dir(builtins))))
def test_every_builtin_makes_a_key(slug: str) -> None:
    check([tenant(slug, "db")])


def test_a_plain_slug_is_the_key_and_of_any_other_one_reads_what_can_be_read() -> None:
    slugs = ["acme", "north_2", "a-b", "Lambda", "lambda", "日本"]

    keys = partition_keys([tenant(slug, f"db_{slug}") for slug in slugs])

    assert keys[:3] == ["acme", "north_2", "a-b"]
    assert keys[4] == "lambda"
    assert [key.rpartition("_")[0] for key in (keys[3], keys[5])] == ["Lambda", "tenant"]


SLUGS = st.one_of(st.sampled_from(ODD), st.text(max_size=80), st.from_regex(r"[a-c]_?[0-9a-f]{0,12}", fullmatch=True))


@pytest.mark.slow
@given(st.dictionaries(st.text(min_size=1, max_size=63), SLUGS, max_size=25))
@example({"db1": "acme", "db2": "acme", "db3": "ACME"})
def test_any_tenants_get_keys_that_are_valid_distinct_and_theirs(slugs: dict[str, str]) -> None:
    tenants = [tenant(slug, database) for database, slug in slugs.items()]

    keys = dict(zip(slugs, check(tenants), strict=True))

    assert dict(zip(reversed(slugs), partition_keys(tenants[::-1]), strict=True)) == keys, "the order plays no part"
    for database, slug in slugs.items():
        if list(slugs.values()).count(slug) == 1:
            assert partition_keys([tenant(slug, database)]) == [keys[database]], "nor who else is in the run"


def test_a_key_that_looks_like_one_of_ours_is_hashed_itself() -> None:
    (ours,) = partition_keys([tenant("a b", "db_1")])

    check([tenant("a b", "db_1"), tenant(ours, "db_2")])


# --- real runs --------------------------------------------------------------------------------------------------

HOSTILE = [
    "lambda",
    "None",
    "type",
    "",
    "日本語",
    "ACME",
    "a/../b",
    "x" * 63,
    "e\u0301 🚀",
    "con",
    "<b>|%s{}\n",
    "class",
]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    options = SandboxOptions(tenants=0, members=1, twenty=(TwentyOptions(activation_seconds=0.0),))
    with Sandbox(options) as sandbox:
        world = world_of(sandbox, monkeypatch)
        monkeypatch.setenv("PROVISIONING_TABLES_PATH", str(tmp_path / "tables"))
        for number, slug in enumerate(["acme", *HOSTILE]):
            sandbox.add_tenant(f"t{number}", members=1)
            world.registry("UPDATE tenant_registry SET slug = %s WHERE slug = %s RETURNING 1", slug, f"t{number}")
        yield world


def outcome(world: World) -> dict[str, tuple[str, str]]:
    rows = world.registry(
        "SELECT l.slug, c.status, c.reason FROM provisioning.tenant_link l JOIN provisioning.condition c "
        "USING (database_name) WHERE c.type = 'Ready'"
    )
    return {slug: (status, reason) for slug, status, reason in rows}


@pytest.mark.slow
def test_a_run_reconciles_everybody_whatever_customers_are_called(world: World) -> None:
    """One whose slug cannot be had is told so; the run, and everybody else, goes on."""
    with dg.instance_for_test() as instance:
        result = defs.resolve_job_def("reconcile_tenants").execute_in_process(
            instance=instance,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
        assert result.success, [event for event in result.all_events if event.is_failure]
        histories = instance.get_dynamic_partitions("tenants")
    assert len(histories) == 1 + len(HOSTILE)
    assert "acme" in histories
    found = outcome(world)
    assert found["acme"] == ("True", "AllTrue")
    assert {slug: state for slug, state in found.items() if state[0] != "True"} == {}
    # a row without a slug takes the one in the database's name
    assert len(found) == 1 + len(HOSTILE)
    assert set(found) >= {"acme", *HOSTILE} - {""}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_same_with_a_process_for_each_op(world: World, tmp_path: Path) -> None:
    names = [
        row[0] for row in world.registry("SELECT database_name FROM tenant_registry WHERE slug IN ('lambda', '日本語')")
    ]
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        result = dg.execute_job(
            dg.reconstructable(in_processes),
            instance=instance,
            run_config={
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                "ops": {"detect_tenants": {"config": {"tenants": names}}},
            },
        )
    assert result.success
    assert {slug: state[0] for slug, state in outcome(world).items()} == {"lambda": "True", "日本語": "True"}


def in_processes() -> dg.JobDefinition:
    """The job as a code location with Dagster's own executor has it."""
    return build_defs(executor=dg.multiprocess_executor).resolve_job_def("reconcile_tenants")
