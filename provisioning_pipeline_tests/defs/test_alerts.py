"""Alerts: what reaches a real webhook of failed runs and checks, what never does, and what a tick remembers."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned

from provisioning_pipeline.defs.operations import alerts
from provisioning_pipeline.defs.operations.alerts import AlertNotSent, check_failed_alert, run_failed_alert
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.clients.test_webhook import SECRET, Receiver, receiving
from provisioning_pipeline_tests.defs.dagster_runs import THERE, made
from provisioning_pipeline_tests.http.fleet import Fleet, fleet_in

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
CANARY = "canary-password"
ENDLESS = 10.0**12
"""A day that no test outlives."""


@pytest.fixture
def fleet(sandbox_postgres: SandboxPostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """A ledger with one ready tenant and two that are not."""
    monkeypatch.setattr(alerts, "_DAY_SECONDS", ENDLESS)
    with fleet_in(sandbox_postgres) as made:
        for name, value in (made.environment() | {"PROVISIONING_DAGSTER_URL": "https://dagster.test"}).items():
            monkeypatch.setenv(name, value)
        for name, reason in (("acme", Reason.ALL_TRUE), ("beta", Reason.SERVER_FULL), ("gamma", Reason.SERVER_FULL)):
            made.link(name)
            unwell(made, name, reason)
        yield made


@pytest.fixture
def receiver(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving() as server:
        monkeypatch.setenv("PROVISIONING_ALERT_WEBHOOK_URL", server.url)
        yield server


def unwell(fleet: Fleet, name: str, reason: Reason) -> None:
    fleet.sql("DELETE FROM provisioning.condition WHERE database_name = %s", name)
    fleet.sql(
        "INSERT INTO provisioning.condition (database_name, type, status, reason, message, run_id) "
        "VALUES (%s, 'Ready', %s, %s, %s, 'r0')",
        *(name, str(reason is Reason.ALL_TRUE), reason, CANARY),
    )


class Sensor:
    """A sensor as Dagster's daemon evaluates it: the cursor moves when a tick ends well."""

    def __init__(self, sensor: dg.SensorDefinition, instance: dg.DagsterInstance) -> None:
        self.sensor, self.instance = sensor, instance
        self.cursor: str | None = None

    def tick(self) -> str:
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, definitions=DEFINITIONS, sensor_name=self.sensor.name
        )
        data = self.sensor.evaluate_tick(context)
        assert not [reaction for reaction in data.dagster_run_reactions or () if reaction.error]
        self.cursor = data.cursor
        return str(data.skip_message)

    def fails(self) -> str:
        """A tick that fails with a sentence; what all of the trace says."""
        before = self.cursor
        with pytest.raises(AlertNotSent) as found:
            self.tick()
        assert self.cursor == before
        return "\n".join([str(found.value), str(found.value.__cause__), repr(found.value.__context__)])


# --- failed runs ------------------------------------------------------------------------------------------------


@dg.op(config_schema={"how": str, "words": str})
def fail(context: dg.OpExecutionContext) -> None:
    words = context.op_config["words"]
    if context.op_config["how"] == "ours":
        try:
            raise ValueError(f"postgresql://us:{CANARY}@host/db")
        except ValueError as error:
            raise dg.Failure(words, metadata={"note": CANARY}, allow_retries=False) from error
    try:
        raise KeyError(CANARY)
    except KeyError as error:
        raise RuntimeError(f"postgresql://us:{CANARY}@host/db {words}") from error


@dg.resource
def broken(_context: dg.InitResourceContext) -> None:
    raise RuntimeError(f"password={CANARY}")


@dg.op(required_resource_keys={"broken"})
def need() -> None:
    """Never gets so far."""


@dg.job(name="reconcile_tenants")
def reconcile() -> None:
    fail()


@dg.job(name="verify", resource_defs={"broken": broken})
def cannot_begin() -> None:
    need()


@dg.job(name="somebody_elses")
def another() -> None:
    fail()


def failed(instance: dg.DagsterInstance, words: str = "Clerk is away.", how: str = "ours", job: Any = reconcile) -> str:
    config = QUIET | {"ops": {"fail": {"config": {"how": how, "words": words}}}}
    result = job.execute_in_process(instance=instance, run_config=config, raise_on_error=False)
    assert not result.success
    return str(result.run_id)


@pytest.fixture
def of_runs(instance: dg.DagsterInstance, fleet: Fleet) -> Sensor:
    sensor = Sensor(run_failed_alert, instance)
    failed(instance, "Before the sensor was there.")
    sensor.tick()
    return sensor


@pytest.mark.slow
def test_a_failed_run_is_one_message_with_its_cause_the_unwell_and_the_run(of_runs: Sensor, receiver: Receiver) -> None:
    run_id = failed(of_runs.instance)
    failed(of_runs.instance, job=another)

    assert of_runs.tick() == f"Reported that run {run_id} of reconcile_tenants failed."
    for _ in range(3):
        of_runs.tick()

    (message,) = receiver.received
    assert message["text"].startswith("reconcile_tenants failed\nfail: Clerk is away.\n*ServerFull*, 2 tenants: ")
    assert "beta, gamma\nNext: Raise `capacity`" in message["text"]
    assert f"<https://dagster.test/runs/{run_id}|Run {run_id[:8]}>" in message["text"]
    assert "acme" not in message["text"]
    text = {"type": "mrkdwn", "text": "*reconcile_tenants failed*", "verbatim": True}
    assert message["blocks"][0]["text"] == text


def test_no_words_of_an_exception_and_no_message_of_a_tenant_reach_the_webhook(
    of_runs: Sensor, receiver: Receiver
) -> None:
    failed(of_runs.instance)
    failed(of_runs.instance, how="theirs")
    result = cannot_begin.execute_in_process(instance=of_runs.instance, run_config=QUIET, raise_on_error=False)
    assert not result.success
    for _ in range(4):
        of_runs.tick()

    sent = str(receiver.received)
    assert len(receiver.received) == 3
    assert CANARY not in sent
    assert SECRET not in sent
    assert "fail: KeyError" in sent
    assert "RuntimeError" in sent
    assert CANARY in "".join(
        str(entry) for run in of_runs.instance.get_runs() for entry in of_runs.instance.all_logs(run.run_id)
    )


def test_the_same_failure_is_told_once_a_day_and_another_at_once(
    of_runs: Sensor, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in ("3 of 10 tenants failed.", "4 of 10 tenants failed.", "Clerk is away.", "5 of 10 tenants failed."):
        failed(of_runs.instance, words)
    told = [of_runs.tick() for _ in range(4)]

    assert [answer.startswith("Reported") for answer in told] == [True, False, True, False]
    assert len(receiver.received) == 2
    monkeypatch.setattr(alerts, "_DAY_SECONDS", 1e-9)
    failed(of_runs.instance, "3 of 10 tenants failed.")
    of_runs.tick()
    assert len(receiver.received) == 3


def test_while_the_webhook_refuses_nothing_is_lost_and_afterwards_nothing_is_told_twice(
    of_runs: Sensor, receiver: Receiver
) -> None:
    failed(of_runs.instance, "First.")
    failed(of_runs.instance, "Second.")
    receiver.status = 503

    for _ in range(2):
        told = of_runs.fails()
        assert "The alert was not sent: the webhook answered HTTP 503. Check PROVISIONING_ALERT_WEBHOOK_URL" in told
        assert SECRET not in told
    receiver.received.clear()
    receiver.status = 200
    of_runs.tick()
    receiver.status = 503
    of_runs.fails()
    receiver.status = 200
    receiver.received.pop()
    for _ in range(3):
        of_runs.tick()

    assert [message["text"].splitlines()[1] for message in receiver.received] == ["fail: First.", "fail: Second."]


def test_without_a_webhook_a_tick_says_how_to_turn_alerts_on_and_nothing_piles_up(
    of_runs: Sensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed(of_runs.instance, "Long ago.")
    assert "set PROVISIONING_ALERT_WEBHOOK_URL" in of_runs.tick()

    with receiving() as receiver:
        monkeypatch.setenv("PROVISIONING_ALERT_WEBHOOK_URL", receiver.url)
        of_runs.tick()
        assert receiver.received == []


def test_places_of_apprise_get_the_same_words_and_what_misses_them_is_told_once(
    of_runs: Sensor, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with receiving() as place:
        json_url = f"json://127.0.0.1:{place.server_port}/{SECRET}?overflow=split"
        monkeypatch.setenv("PROVISIONING_ALERT_URLS", json.dumps([json_url, f"nothing-known://{SECRET}"]))
        run_id = failed(of_runs.instance)
        told = of_runs.tick()

        (posted,), (notified,) = receiver.received, place.received
        assert posted["text"].splitlines()[0] == notified["title"] == "reconcile_tenants failed"
        assert notified["message"].startswith("fail: Clerk is away.\n\n*ServerFull*, 2 tenants: beta, gamma\nNext: ")
        assert notified["message"].endswith(f"Run {run_id[:8]}: https://dagster.test/runs/{run_id}")
        assert "Not everywhere: number 2 (nothing-known) is no URL that apprise takes. Check PROV" in told

        receiver.status = place.status = 503
        failed(of_runs.instance, "Twenty is away.")
        told = of_runs.fails()
        assert "The alert was not sent: the webhook answered HTTP 503. Check PROVISIONING_ALERT_WEBHOOK_URL; " in told
        assert "number 1 (json) did not take it; number 2 (nothing-known) is no URL" in told
        assert SECRET not in caplog.text + told


def test_a_ledger_that_is_away_does_not_keep_the_alert_back(of_runs: Sensor, receiver: Receiver, fleet: Fleet) -> None:
    fleet.shut()
    failed(of_runs.instance, "The tenant registry cannot be reached.")
    of_runs.tick()

    (message,) = receiver.received
    assert "fail: The tenant registry cannot be reached.\nThe ledger cannot be read" in message["text"]


def test_settings_that_are_wrong_fail_the_tick_and_the_run_waits(
    of_runs: Sensor, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed(of_runs.instance)
    monkeypatch.setenv("PROVISIONING_HARM_MOST", "many")
    assert "PROVISIONING_HARM_MOST" in of_runs.fails()

    monkeypatch.setenv("PROVISIONING_HARM_MOST", "1")
    of_runs.tick()
    assert len(receiver.received) == 1


# --- failed checks ----------------------------------------------------------------------------------------------

CHECKS = {"all_tenants_are_ready": "tenant_inventory", "login_proved": "onboarding_status"}


def _check(name: str, asset: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=asset, name=name, description=f"What {name} is for.")
    def check() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    return check


DEFINITIONS = dg.Definitions(
    assets=[dg.AssetSpec(asset) for asset in CHECKS.values()],
    asset_checks=[_check(name, asset) for name, asset in CHECKS.items()],
    jobs=[reconcile, cannot_begin, another],
)


@dg.op(config_schema={"results": dict})
def evaluate(context: dg.OpExecutionContext) -> None:
    for name, unwell_tenants in context.op_config["results"].items():
        context.log_event(
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(CHECKS[name]),
                check_name=name,
                passed=not unwell_tenants,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"unwell_tenants": unwell_tenants, "who": CANARY, "doubt": True, "hours": 1.5},
            )
        )


@dg.job
def evaluation() -> None:
    evaluate()


def evaluated(instance: dg.DagsterInstance, **results: int) -> str:
    config = QUIET | {"ops": {"evaluate": {"config": {"results": results}}}}
    return str(evaluation.execute_in_process(instance=instance, run_config=config).run_id)


@pytest.fixture
def of_checks(instance: dg.DagsterInstance, fleet: Fleet) -> Sensor:
    return Sensor(check_failed_alert, instance)


def test_checks_of_an_hourly_run_are_told_when_they_begin_get_worse_and_end(
    of_checks: Sensor, receiver: Receiver, fleet: Fleet
) -> None:
    assert "No check was evaluated" in of_checks.tick()
    run_id = evaluated(of_checks.instance, all_tenants_are_ready=2, login_proved=0)
    of_checks.tick()
    (begun,) = receiver.received
    assert begun["text"].startswith("A check fails: all_tenants_are_ready\n*all_tenants_are_ready* (warning; unwell ")
    assert (
        "tenants 2). Should be: What all_tenants_are_ready is for.\n*ServerFull*, 2 tenants: beta, gamma"
        in (begun["text"])
    )
    assert f"/runs/{run_id}|" in begun["text"]
    assert CANARY not in str(begun)

    for _ in range(3):
        evaluated(of_checks.instance, all_tenants_are_ready=2, login_proved=0)
        of_checks.tick()
    assert len(receiver.received) == 1

    unwell(fleet, "acme", Reason.WIZARD_SHOWS)
    evaluated(of_checks.instance, all_tenants_are_ready=3, login_proved=1)
    of_checks.tick()
    assert receiver.received[1]["text"].startswith("2 checks fail: all_tenants_are_ready, login_proved\n")
    assert "*WizardShows*, 1 tenant: acme" in receiver.received[1]["text"]

    evaluated(of_checks.instance, all_tenants_are_ready=0, login_proved=0)
    assert of_checks.tick() == "Reported: All clear: every check passes again."
    assert len(receiver.received) == 3
    assert "No check was evaluated" in of_checks.tick()
    assert len(of_checks.cursor or "") < 200


def test_a_check_that_was_planned_before_another_and_evaluated_after_it_is_not_missed(
    of_checks: Sensor, receiver: Receiver
) -> None:
    def event(data: Any, kind: dg.DagsterEventType) -> None:
        entry = dg.DagsterEvent(kind.value, "reconcile_tenants", event_specific_data=data)
        of_checks.instance.report_dagster_event(entry, run_id=run_id)

    key = dg.AssetKey("onboarding_status")
    run_id = of_checks.instance.create_run_for_job(cannot_begin).run_id
    event(
        AssetCheckEvaluationPlanned(asset_key=key, check_name="login_proved"),
        dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
    )
    evaluated(of_checks.instance, all_tenants_are_ready=2)
    of_checks.tick()
    event(
        dg.AssetCheckEvaluation(asset_key=key, check_name="login_proved", passed=False),
        dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    )
    of_checks.tick()

    assert [message["text"].splitlines()[0] for message in receiver.received] == [
        "A check fails: all_tenants_are_ready",
        "2 checks fail: login_proved, all_tenants_are_ready",
    ]


def test_a_check_that_the_webhook_did_not_take_is_told_once_it_does(of_checks: Sensor, receiver: Receiver) -> None:
    receiver.status = 500
    for _ in range(3):
        evaluated(of_checks.instance, all_tenants_are_ready=2)
        told = of_checks.fails()
        assert "The alert was not sent: the webhook answered HTTP 500" in told
        assert SECRET not in told
    receiver.status = 200
    receiver.received.clear()
    of_checks.tick()
    of_checks.tick()

    assert len(receiver.received) == 1


def test_without_a_webhook_nothing_is_remembered_and_what_fails_is_told_when_there_is_one(
    of_checks: Sensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated(of_checks.instance, all_tenants_are_ready=2)
    assert "set PROVISIONING_ALERT_WEBHOOK_URL" in of_checks.tick()
    assert of_checks.cursor is None

    with receiving() as receiver:
        monkeypatch.setenv("PROVISIONING_ALERT_WEBHOOK_URL", receiver.url)
        of_checks.tick()
        assert len(receiver.received) == 1


def test_a_cursor_of_another_version_is_begun_anew(of_checks: Sensor, receiver: Receiver) -> None:
    evaluated(of_checks.instance, all_tenants_are_ready=2)
    for number, cursor in enumerate(("7", "[]", "no json", '{"told": {"unknown": 1}}', '{"told": 3}'), 1):
        of_checks.cursor = cursor
        of_checks.tick()
        assert len(receiver.received) == number


def test_checks_outlive_the_run_that_evaluated_them(of_checks: Sensor, receiver: Receiver) -> None:
    of_checks.instance.delete_run(evaluated(of_checks.instance, all_tenants_are_ready=2))
    of_checks.tick()

    assert len(receiver.received) == 1


# --- another code location in the same Dagster -------------------------------------------------------------------


def test_checks_of_another_code_location_are_not_ours(of_checks: Sensor, receiver: Receiver) -> None:
    evaluated(of_checks.instance, all_tenants_are_ready=0)
    of_checks.tick()
    theirs = made(of_checks.instance, dg.DagsterRunStatus.STARTED, [], location=THERE)
    evaluation = dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(CHECKS["all_tenants_are_ready"]), check_name="all_tenants_are_ready", passed=False
    )
    kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION.value
    for _ in range(3):
        event = dg.DagsterEvent(kind, "reconcile_tenants", event_specific_data=evaluation)
        of_checks.instance.report_dagster_event(event, run_id=theirs)
        assert "No check was evaluated" in of_checks.tick()
    assert receiver.received == []

    evaluated(of_checks.instance, all_tenants_are_ready=1)
    of_checks.tick()
    assert receiver.received[0]["text"].startswith("A check fails: all_tenants_are_ready")


def test_a_failure_in_another_code_location_neither_alerts_nor_silences_ours(
    of_runs: Sensor, receiver: Receiver
) -> None:
    instance = of_runs.instance
    for location in (THERE, None, THERE, None):
        run = instance.get_run_by_id(made(instance, dg.DagsterRunStatus.STARTED, [], location=location))
        assert run is not None
        instance.report_run_failed(run, "The process of this run is gone.")
        of_runs.tick()

    (message,) = receiver.received
    assert "its process may have been killed" in message["text"]


def test_both_run_by_themselves() -> None:
    for sensor in (run_failed_alert, check_failed_alert):
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
        assert 10 <= (sensor.minimum_interval_seconds or 0) <= 60
