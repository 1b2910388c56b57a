"""What `deploy/prometheus` and `deploy/grafana` ask of Prometheus; as a program: the board as rules for promtool.

python -m provisioning_pipeline_tests.deploy.board > rules.yaml && promtool check rules rules.yaml
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
ALERTS_TEST = ROOT / "deploy" / "prometheus" / "alerts.test.yaml"
BOARD = ROOT / "deploy" / "grafana" / "board.json"


def rules() -> list[dict[str, Any]]:
    """Every alert rule."""
    return [rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """Every panel of the board that shows something."""
    return [panel for panel in json.loads(BOARD.read_text("utf-8"))["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Where an expression stands, and the expression as Prometheus gets it."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            # Grafana fills that in
            yield panel["title"], re.sub(r"\$__rate_interval", "5m", target["expr"])


def board_as_rules() -> str:
    """The board's expressions as recording rules, which promtool parses."""
    found = [
        {"record": f"panel:{panel['id']}:{target['refId']}", "expr": target["expr"].replace("$__rate_interval", "5m")}
        for panel in panels()
        for target in panel["targets"]
    ]
    return yaml.safe_dump({"groups": [{"name": "board", "rules": found}]}, sort_keys=False)


if __name__ == "__main__":
    sys.stdout.write(board_as_rules())
