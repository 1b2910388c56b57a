"""Values between steps: data alone goes from one to the next, and what somebody else put there is never run."""

import pickle
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

import provisioning_pipeline
from provisioning_pipeline.definitions import defs
from provisioning_pipeline.defs import values
from provisioning_pipeline.defs.provisioning.ops import Chunk, RunFacts
from provisioning_pipeline.defs.provisioning.recording import Failed
from provisioning_pipeline.defs.reconciliation.assets import TABLES
from provisioning_pipeline.defs.tables import tables_io_manager
from provisioning_pipeline.defs.values import values_io_manager
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import Condition, ConditionType, Reason, Status
from provisioning_pipeline.model.onboarding import Flag
from provisioning_pipeline.model.tenant import (
    Address,
    Admin,
    AdminUnknown,
    ClerkRead,
    DatabasePlan,
    Finding,
    InsertedWorkspace,
    MemberPlan,
    Tenant,
    TenantPlan,
    Withdrawal,
)
from provisioning_pipeline.run.work import Totals
from provisioning_pipeline.steps.members.changes import ADD_MEMBER

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dg.op(out=dg.DynamicOut(list[str]))
def fan_out() -> Iterator[dg.DynamicOutput[list[str]]]:
    for name in ("a", "b"):
        yield dg.DynamicOutput([name], mapping_key=name)


@dg.op(config_schema={"broken": dg.Noneable(str)})
def work(context: dg.OpExecutionContext, chunk: list[str]) -> list[str]:
    if context.op_config["broken"] in chunk:
        raise dg.Failure("Broken.", allow_retries=False)
    return [*chunk, "done"]


@dg.op
def gather(done: list[list[str]]) -> list[list[str]]:
    return sorted(done)


@dg.job(resource_defs={"io_manager": values_io_manager}, executor_def=dg.in_process_executor)
def chunks() -> None:
    gather(fan_out().map(work).collect())


def config(broken: str | None) -> dict[str, Any]:
    return QUIET | {"ops": {"work": {"config": {"broken": broken}}}}


def test_a_run_goes_on_from_where_it_failed_with_the_values_of_the_run_before(base: str) -> None:
    with dg.instance_for_test() as instance:
        first = dg.execute_job(dg.reconstructable(chunks), instance, run_config=config("b"))
        assert not first.success
        values = Path(base) / "values"
        assert sorted(path.name for path in (values / first.run_id / "work[a]").iterdir()) == ["result.json"]

        again = dg.execute_job(
            dg.reconstructable(chunks),
            instance,
            run_config=config(None),
            reexecution_options=dg.ReexecutionOptions.from_failure(first.run_id, instance),
        )

        assert again.success
        assert [event.step_key for event in again.all_events if event.is_step_success] == ["work[b]", "gather"]
        with again as result:
            assert result.output_for_node("gather") == [["a", "done"], ["b", "done"]]
        assert sorted(path.name for path in values.iterdir()) == sorted([first.run_id, again.run_id])


# --- data alone --------------------------------------------------------------------------------------------------

TEXT = st.text(max_size=12)
JSON = st.none() | st.booleans() | st.integers() | TEXT | st.lists(TEXT, max_size=2)
MAYBE = st.none() | TEXT
CHANGES = st.lists(st.sampled_from(Change.all_declared()), max_size=3).map(tuple)
FLAGS = st.builds(Flag, key=TEXT, user_id=MAYBE, workspace_id=MAYBE, value=JSON)
CONDITIONS = st.builds(
    Condition,
    type=st.sampled_from(ConditionType.all_declared()),
    status=st.sampled_from(Status),
    reason=st.sampled_from(Reason),
    message=TEXT,
)
MEMBERS = st.builds(
    MemberPlan, clerk_user_id=MAYBE, email=TEXT, first_name=TEXT, last_name=TEXT, role=TEXT, twenty_user_id=MAYBE,
    changes=CHANGES, why=TEXT, changed_at=st.none() | st.integers(), undoes_our_join=st.booleans(),
)  # fmt: skip
DATABASES = st.builds(
    DatabasePlan, evidence=TEXT, looked_at=st.datetimes(timezones=st.just(UTC)), settled=st.booleans(),
    rows=st.lists(FLAGS, max_size=2).map(tuple), activate=st.just(()), known_at_clerk=st.tuples(TEXT),
    hand_made=st.tuples(st.builds(InsertedWorkspace, TEXT, TEXT, st.tuples(TEXT))), after=CONDITIONS,
)  # fmt: skip
PLANS = st.builds(
    TenantPlan, tenant=st.builds(Tenant, TEXT, TEXT, TEXT, MAYBE), changes=CHANGES, adopt=st.booleans(), server=MAYBE,
    subdomains=st.tuples(TEXT), workspace_id=MAYBE, conditions=st.tuples(CONDITIONS),
    admin=st.builds(Admin, TEXT, TEXT, TEXT, MAYBE) | st.builds(AdminUnknown, st.sampled_from(Reason), TEXT),
    members=st.lists(MEMBERS, max_size=2).map(tuple),
    findings=st.tuples(st.builds(Finding, st.just(Reason.INVITED), TEXT, TEXT)),
    withdrawals=st.tuples(st.builds(Withdrawal, TEXT, TEXT)), database=st.none() | DATABASES,
    pending=st.tuples(st.tuples(TEXT)), address=st.none() | st.builds(Address, TEXT, MAYBE),
    look_again_seconds=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip
TOTALS = st.builds(
    Totals, worked_on=st.integers(), calls=st.dictionaries(TEXT, st.integers(), max_size=2).map(Counter),
    phases=st.dictionaries(TEXT, st.floats(0, 1e9), max_size=2), defects=st.lists(TEXT, max_size=2),
)  # fmt: skip
FAILED = st.lists(st.builds(Failed, TEXT, TEXT, TEXT, TEXT, TEXT), max_size=2).map(tuple)
CHUNKS = st.builds(Chunk, st.tuples(PLANS), TOTALS, FAILED)
READS = st.builds(ClerkRead, st.booleans(), st.integers(), st.integers(), st.integers(), MAYBE)
FACTS = st.builds(RunFacts, st.booleans(), st.floats(0, 1e12), TOTALS, st.none() | READS, st.tuples(TEXT), FAILED)


@pytest.mark.parametrize(("kind", "drawn"), [(Chunk, CHUNKS), (RunFacts, FACTS)], ids=["Chunk", "RunFacts"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_what_a_step_hands_on_comes_back_the_same(
    kind: type[Any], drawn: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    value, adapter = data.draw(drawn), TypeAdapter(kind)
    assert adapter.validate_json(values._written(adapter, value)) == value


def test_a_number_of_a_frame_and_half_a_character_are_no_obstacle() -> None:
    member = MemberPlan("u", "a@b.test", "\ud83d", "é", "Admin", None, (ADD_MEMBER,), changed_at=np.int64(5))
    tenant = TenantPlan(Tenant("d", "s", "n"), (), False, None, (), None, Admin("a", "b", "c"), (), (member,))
    adapter = TypeAdapter(Chunk)

    (back,) = adapter.validate_json(values._written(adapter, Chunk((tenant,), Totals()))).plans
    assert (back.members[0].first_name, back.members[0].last_name, back.members[0].changed_at) == ("?", "é", 5)


def test_what_is_no_data_is_not_handed_on() -> None:
    with pytest.raises(TypeError, match="holds a object, which is no data"):
        values._written(TypeAdapter(list[Any]), [object()])


class Trap:
    """A pickle that makes a folder when it is read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self._folder,)


def again(base: str, put: dict[str, bytes | None]) -> str:
    """Why a run that goes on from a failure fails, once somebody else has put this where values lie; None: removed."""
    with dg.instance_for_test() as instance:
        first = dg.execute_job(dg.reconstructable(chunks), instance, run_config=config("b"))
        for name, content in put.items():
            place = Path(base) / "values" / first.run_id / "work[a]" / name
            if content is None:
                place.unlink()
            else:
                place.write_bytes(content)
        second = dg.execute_job(
            dg.reconstructable(chunks),
            instance,
            run_config=config(None),
            reexecution_options=dg.ReexecutionOptions.from_failure(first.run_id, instance),
        )
        (failure,) = [event for event in second.all_events if event.is_step_failure]
        told = failure.step_failure_data
        assert told.user_failure_data is not None, told.error
        return str(told.user_failure_data.description) + str(told.error)


def test_a_planted_pickle_is_never_read(base: str, tmp_path: Path) -> None:
    trap = pickle.dumps(Trap(tmp_path / "sprung"))
    told = again(base, {"result.json": trap, "result": trap})

    assert not (tmp_path / "sprung").exists()
    assert "does not hold what the step before hands on" in told
    assert "Execute the job from the beginning" in told


def test_data_of_another_form_is_refused_without_being_told(base: str) -> None:
    told = again(base, {"result.json": b'["c4nary", {"c4nary": 1}]'})
    assert "(1 faults)" in told
    assert "c4nary" not in told


def test_what_an_older_version_left_is_not_looked_for(base: str) -> None:
    told = again(base, {"result.json": None, "result": pickle.dumps(["a", "done"])})
    assert "under an older version of this program" in told
    assert "Execute the job from the beginning" in told


def test_more_than_any_value_has_is_not_read_whole(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "_MOST_BYTES", 64)
    assert "does not hold" in again(base, {"result.json": b'["' + b"x" * 1000 + b'"]'})


def test_a_step_that_hands_on_too_much_says_what_to_set(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "_MOST_BYTES", 4)
    with pytest.raises(dg.Failure, match="PROVISIONING_TENANTS_PER_CHUNK"):
        chunks.execute_in_process(run_config=config(None))


@dg.op
def untyped():  # that is what is tested
    return 1


def test_a_value_that_says_no_type_is_refused(base: str) -> None:
    @dg.job(resource_defs={"io_manager": values_io_manager}, executor_def=dg.in_process_executor)
    def job() -> None:
        untyped()

    with pytest.raises(TypeError, match="The output result of untyped says no type"):
        job.execute_in_process(run_config=QUIET)


def test_every_value_between_steps_has_a_type_of_data() -> None:
    """Dagster's own I/O manager, which pickles, has no place in any job."""
    found = set()
    for job in defs.resolve_all_job_defs():
        assert job.resource_defs["io_manager"] is values_io_manager, job.name
        for node in job.all_node_defs:
            for output in node.output_defs if isinstance(node, dg.OpDefinition) else ():
                if output.io_manager_key != "io_manager":
                    assert (output.io_manager_key, job.resource_defs[TABLES]) == (TABLES, tables_io_manager)
                elif not output.dagster_type.is_nothing:
                    found.add(output.dagster_type.typing_type)
    # what says no type is kept nowhere
    assert found - {Any} == {Chunk, RunFacts}


def test_nothing_of_ours_reads_a_format_that_can_hold_code() -> None:
    banned = re.compile(r"^\s*(import|from) (_?pickle|dill|cloudpickle|joblib|marshal|shelve)\b", re.MULTILINE)
    package = Path(provisioning_pipeline.__file__).parent
    assert [path for path in package.rglob("*.py") if banned.search(path.read_text("utf-8"))] == []
