"""The stand-in Twenty answers as a real server did: the same calls, the recorded answers, and the known differences.

How to record a server anew: `record.py`.
"""

import json
import re
from typing import Any

import pytest

from provisioning_pipeline.sandbox.twenty import StandInTwenty, TwentyOptions
from provisioning_pipeline.sandbox.twenty.versions import Version
from provisioning_pipeline_tests.sandbox.record import FOLDER
from provisioning_pipeline_tests.sandbox.recording.play import play

PLAYED_BY: dict[str, Version] = {"2.21.0": "2.21"}
"""Which version of the stand-in stands for a recorded server."""

KNOWN: dict[str, dict[str, str]] = {
    "2.21.0": {
        "accounts.wrong_tokens: a signature cut short": (
            "the real one signs with ECDSA and fails on a signature of another length with a text of its own; "
            "the stand-in has a secret, and knows only right and wrong"
        )
    }
}
"""What differs, and why it may. One call is not played: the real one leaves `POST {}` without an answer for more than a
minute, and the stand-in refuses it at once."""


def recorded(version: str) -> dict[str, Any]:
    answers: dict[str, Any] = json.loads((FOLDER / f"twenty-{version}.json").read_text("utf-8"))
    return answers


def problems(real: dict[str, Any], ours: dict[str, Any], known: dict[str, str]) -> list[str]:
    """What is wrong between two servers' answers, once the known differences are taken out."""
    found = [f"{label}: not recorded; record a real server anew" for label in ours.keys() - real.keys()]
    found += [f"{label}: recorded, but not played" for label in real.keys() - ours.keys()]
    found += [f"{label}: listed as a difference, but played by nobody" for label in known.keys() - ours.keys()]
    for label in sorted(real.keys() & ours.keys()):
        same = real[label] == ours[label]
        if same and label in known:
            found.append(f"{label}: listed as a difference, and is none any more")
        if not same and label not in known:
            found.append(f"{label}:\n  real {json.dumps(real[label])}\n  ours {json.dumps(ours[label])}")
    return sorted(found)


@pytest.mark.parametrize("version", PLAYED_BY)
def test_the_stand_in_answers_as_the_real_server_did(version: str, database: str) -> None:
    options = TwentyOptions(version=PLAYED_BY[version], workspace_limit=5, activation_seconds=0)
    with StandInTwenty(database, options) as server:
        ours = play(server.base_url, database)
    assert "\n".join(problems(recorded(version), ours, KNOWN.get(version, {}))) == ""


def test_every_recording_is_played() -> None:
    kept = {path.stem.removeprefix("twenty-") for path in FOLDER.glob("twenty-*.json")}
    assert kept == PLAYED_BY.keys()


@pytest.mark.parametrize("version", PLAYED_BY)
def test_a_recording_holds_nothing_that_is_not_everybodys(version: str) -> None:
    text = (FOLDER / f"twenty-{version}.json").read_text("utf-8")
    for kind, pattern in {
        "a token": r"eyJ[\w-]{8}",
        "an id": r"[0-9a-f]{8}-[0-9a-f]{4}-",
        "a secret": r"[0-9a-f]{32}",
        "a path of a machine": r'"/(home|root|tmp|srv|work|app|usr|var)\b',
        "a stack": r"node_modules|\bat \w+ \(",
        "a port": r"(localhost|127\.0\.0\.1):\d",
        "an address that is nobody's": r"@(?!mail\.example|platform\.test|Mail\.Example)[\w.-]+\.\w+",
    }.items():
        assert re.findall(pattern, text) == [], kind


def test_what_differs_without_being_listed_is_found() -> None:
    (problem,) = problems({"a": 1, "b": 1}, {"a": 1, "b": 2}, {})
    assert problem.startswith("b:")


def test_what_is_listed_and_differs_no_more_is_found() -> None:
    assert problems({"a": 1}, {"a": 2}, {"a": "for a reason"}) == []
    assert problems({"a": 1}, {"a": 1}, {"a": "for a reason"}) == ["a: listed as a difference, and is none any more"]


def test_a_call_that_one_side_lacks_is_found() -> None:
    assert problems({}, {"new": 1}, {}) == ["new: not recorded; record a real server anew"]
    assert problems({"old": 1}, {}, {}) == ["old: recorded, but not played"]
    assert problems({}, {}, {"gone": "why"}) == ["gone: listed as a difference, but played by nobody"]
