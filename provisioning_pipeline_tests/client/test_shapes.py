"""Answers are read as pydantic, by which the server writes them, would read them; anything else is refused in words."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from provisioning_pipeline.client.answers import EventPage, TenantPage
from provisioning_pipeline.client.shapes import Misshapen, read_json
from provisioning_pipeline.client.tenant import Condition, Event, ManyAsked, Tenant

TEXTS = st.text(max_size=8)
TIMES = st.datetimes(
    datetime(1900, 1, 1),  # noqa: DTZ001  # the zones are drawn beside
    datetime(2200, 1, 1),  # noqa: DTZ001  # as above
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=8))]),
)
CONDITIONS = st.builds(Condition, type=TEXTS, status=TEXTS, reason=TEXTS, message=TEXTS, since=TIMES)
TENANTS = st.builds(
    Tenant,
    slug=TEXTS,
    conditions=st.lists(CONDITIONS, max_size=3).map(tuple),
    look_again_at=st.none() | TIMES,
    waiting=st.booleans(),
)
PAGES = st.one_of(
    TENANTS,
    st.builds(TenantPage, items=st.lists(TENANTS, max_size=2).map(tuple)),
    st.builds(EventPage, events=st.lists(st.builds(Event, at=TIMES), max_size=2).map(tuple)),
    st.builds(ManyAsked),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["items", "next", "slug"]), inner),
    max_leaves=8,
)


@given(PAGES)
def test_what_the_server_writes_is_read_back(page: Any) -> None:
    document = TypeAdapter(type(page)).dump_json(page)

    assert read_json(type(page), document) == page
    assert read_json(type(page), json.dumps(json.loads(document) | {"unknown": [1]}).encode()) == page


@given(JSON, st.sampled_from([Tenant, TenantPage, EventPage, ManyAsked]))
def test_anything_else_is_refused_without_its_values(document: Any, shape: type[Any]) -> None:
    told = ""
    try:
        read_json(shape, json.dumps(document).encode())
    except Misshapen as fault:
        told = str(fault)
    assert told.isprintable()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"requested": True}, "requested: Input should be a whole number"),
        ({"requested": "1"}, "requested: Input should be a whole number"),
        ({"items": {}}, "items: Input should be a list"),
        ({"items": [{"tenant": "a", "result": None}]}, "items.0.result: Input should be a text"),
        ({"run_id": 7}, "run_id: Input should be a text"),
    ],
)
def test_a_fault_says_where_it_is(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(Misshapen) as refused:
        read_json(ManyAsked, json.dumps({"requested": 1, "items": []} | changes).encode())
    assert str(refused.value) == says
