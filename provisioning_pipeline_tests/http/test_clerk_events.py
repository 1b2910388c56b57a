"""What is read from Clerk's events: the shapes of its documentation, and what is none of them."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioning_pipeline.http.webhooks import NotAnEvent, clerk_event
from provisioning_pipeline.ledger.pending import ClerkEvent

SPECIFICATION = Path(__file__).resolve().parents[3] / "shared" / "data" / "clerk" / "webhooks-2025-04-15.yml"
HAPPENED = datetime(2024, 5, 28, 8, 0, tzinfo=UTC)
ORGANIZATION = "org_2g7np7Hrk0SN6kj5EDMLDaKNL0S"
USER, MEMBER = "user_2g7np7Hrk0SN6kj5EDMLDaKNL0S", "user_2h8op3Isl1QR7tKu5FGNfaLKEoU"
FAMILIES: dict[str, tuple[str | None, str | None]] = {
    "organization": (ORGANIZATION, None),
    "organizationMembership": (ORGANIZATION, MEMBER),
    "user": (None, USER),
}


@cache
def specification() -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loaded: dict[str, Any] = yaml.load(SPECIFICATION.read_text("utf-8"), Loader=loader)
    return loaded


def example(type_: str) -> dict[str, Any]:
    content = specification()["x-webhooks"][type_]["post"]["requestBody"]["content"]["application/json"]
    if "example" in content:
        return dict(content["example"])
    (reference,) = content["examples"].values()
    name = reference["$ref"].rsplit("/", 1)[1]
    return dict(specification()["components"]["examples"][name]["value"])


@pytest.mark.skipif(not SPECIFICATION.exists(), reason="Clerk's webhooks-2025-04-15.yml is not beside this checkout")
def test_every_example_of_clerks_own_specification_is_read() -> None:
    read: dict[str, ClerkEvent] = {}
    for type_ in specification()["x-webhooks"]:
        event = clerk_event("msg_1", example(type_))
        if event is not None:
            read[type_] = event

    verbs = ("created", "updated", "deleted")
    assert set(read) == {f"{family}.{verb}" for family in FAMILIES for verb in verbs}
    for type_, event in read.items():
        whom = FAMILIES[type_.partition(".")[0]]
        assert event == ClerkEvent("msg_1", type_, *whom, HAPPENED), type_


@pytest.mark.parametrize(
    ("body", "whom"),
    [
        ({"type": "organization.deleted", "data": {"id": "org_1", "slug": "a", "deleted": True}}, ("org_1", None)),
        ({"type": "user.deleted", "data": {"id": "user_1", "deleted": True}}, (None, "user_1")),
        ({"type": "organizationMembership.deleted", "data": {"organization": {"id": "org_1"}}}, ("org_1", None)),
        (
            {"type": "organizationMembership.created", "data": {"public_user_data": {"user_id": "user_1"}}},
            (None, "user_1"),
        ),
        ({"type": "organization.updated"}, (None, None)),
        ({"type": "organization.updated", "data": ["org_1"]}, (None, None)),
        ({"type": "user.updated", "data": {"id": 7}}, (None, None)),
        ({"type": "user.updated", "data": {"id": "user_\u0000"}}, (None, None)),
        ({"type": "user.updated", "data": {"id": "\ud800"}}, (None, None)),
        ({"type": "user.updated", "data": {"id": "u" * 201}}, (None, None)),
        ({"type": "organizationMembership.updated", "data": {"organization": "org_1"}}, (None, None)),
    ],
)
def test_an_event_that_carries_little_is_about_those_whom_it_names(
    body: dict[str, Any], whom: tuple[str | None, str | None]
) -> None:
    assert clerk_event("msg_1", body) == ClerkEvent("msg_1", body["type"], *whom, None)


@pytest.mark.parametrize(
    ("type_", "banned", "gone"),
    [
        ("user.updated", True, True),
        ("user.updated", False, False),
        ("user.updated", "true", False),
        ("user.updated", None, False),
        ("organization.updated", True, False),
    ],
)
def test_who_is_banned_is_told(type_: str, banned: object, gone: bool) -> None:
    event = clerk_event("msg_1", {"type": type_, "data": {"id": "x_1", "banned": banned}})
    assert event is not None
    assert event.gone is gone


@pytest.mark.parametrize("type_", ["session.created", "organizationInvitation.created", "users.created", "user"])
def test_other_types_are_left_alone(type_: str) -> None:
    assert clerk_event("msg_1", {"type": type_, "data": {"id": "user_1"}}) is None


@pytest.mark.parametrize(
    ("timestamp", "happened_at"),
    [
        (1716883200, HAPPENED),
        (1716883200000, HAPPENED),
        (1716883200000.0, HAPPENED),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (10**30, None),
        (-(10**30), None),
        (float("nan"), None),
        ("1716883200", None),
        (True, None),
        (None, None),
    ],
)
def test_the_time_may_be_in_seconds_or_milliseconds_and_is_left_out_otherwise(
    timestamp: object, happened_at: datetime | None
) -> None:
    event = clerk_event("msg_1", {"type": "user.created", "timestamp": timestamp})
    assert event is not None
    assert event.happened_at == happened_at


@pytest.mark.parametrize("body", [[], "user.created", None, 7, {}, {"type": 7}, {"type": ""}, {"type": "user.\u0000"}])
def test_what_is_no_event_is_refused(body: object) -> None:
    with pytest.raises(NotAnEvent):
        clerk_event("msg_1", body)
