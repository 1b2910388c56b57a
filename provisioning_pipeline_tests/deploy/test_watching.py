"""Alert rules and board: each metric, label and value that they name is one of ours, each link leads somewhere."""

import json
import re
import uuid
from collections import defaultdict

import pytest
from prometheus_client.parser import text_string_to_metric_families

from provisioning_pipeline.http.middleware import QUIET
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.deploy.board import BOARD, ROOT, expressions, panels, rules
from provisioning_pipeline_tests.http.services import caller, key_of, serving, tenants_in
from provisioning_pipeline_tests.test_docs import _anchors, _commands, app, typer

SELECTOR = re.compile(r"\b(provisioning_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
KNOWN_VALUES = {"reason": frozenset(Reason), "route": QUIET | {"/v1/session"}}


@pytest.fixture(scope="module")
def answered(sandbox_postgres: SandboxPostgres) -> dict[str, dict[str, set[str]]]:
    """Sample → label → its values, in a real answer about a fleet in which there is a bit of everything."""
    with tenants_in(sandbox_postgres) as tenants:
        settings = tenants.settings()
        for slug, ready, reason in (("acme", True, ""), ("beta", False, "ServerFull"), ("gone", False, "TenantGone")):
            tenants.looked(str(uuid.uuid4()), tenants.add(slug), ready=ready, reason=reason)
        tenants.sql("INSERT INTO provisioning.run (run_id, trigger, record) VALUES ('r1', 'schedule', '{}')")
        tenants.sql(
            "INSERT INTO provisioning.run (run_id, trigger, record, ended_at, ended_as)"
            " VALUES ('r2', 'clerk', '{}', now(), 'cut')"
        )
        with serving(settings) as url, caller(url, key_of(settings)) as http:
            for path in ("/v1/session", "/v1/tenants/unknown", "/readyz"):
                http.get(path)
            text = http.get("/metrics").text
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = found[sample.name]
            for label, value in sample.labels.items():
                labels[label].add(value)
    return found


def test_each_metric_label_and_value_that_rules_and_board_name_is_one_of_ours(
    answered: dict[str, dict[str, set[str]]],
) -> None:
    named = 0
    for where, expression in expressions():
        for metric, selector in SELECTOR.findall(expression):
            assert metric in answered, f"{where}: there is no metric {metric}"
            for label, values in MATCHER.findall(selector):
                assert label in answered[metric], f"{where}: {metric} has no label {label}"
                known = KNOWN_VALUES.get(label) or answered[metric][label]
                wanted = [value for value in values.split("|") if not re.fullmatch(r"\S+\.\.", value)]
                assert set(wanted) <= known, f"{where}: {label} is never one of {values}"
            named += 1
        for label in (word for words in re.findall(r"\bby \(([^)]*)\)", expression) for word in words.split(", ")):
            metrics = [metric for metric, _ in SELECTOR.findall(expression)]
            assert any(label in answered[metric] for metric in metrics), f"{where}: nothing has a label {label}"
    assert named > 40


def test_each_alert_says_what_happened_what_to_do_and_where_to_read_on() -> None:
    commands = _commands(typer.main.get_command(app))
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    for rule in rules():
        notes = rule["annotations"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert notes["summary"]
        assert notes["description"].endswith(".")
        page, anchor = notes["runbook"].split("#")
        # what a label fills in
        anchors = [reason.lower() for reason in _reasons_of(rule["expr"])] if "{{" in anchor else [anchor]
        assert set(anchors) <= _anchors(ROOT / page), notes["runbook"]
        for line in re.findall(r"`provisioning ([^`]+)`", notes["description"]):
            words = line.split()
            options = commands.get(" ".join(words[:2]), commands.get(words[0]))
            assert options is not None, line
            assert {word for word in words if word.startswith("--")} <= options, line


def _reasons_of(expression: str) -> list[str]:
    asked = re.findall(r'reason=~"([^"]+)"', expression)
    return asked[0].split("|") if asked else list(Reason)


def test_the_board_can_be_imported_beside_any_prometheus() -> None:
    board = json.loads(BOARD.read_text("utf-8"))
    assert [variable["type"] for variable in board["templating"]["list"]] == ["datasource"]
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in panels():
        assert panel["description"], panel["title"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
