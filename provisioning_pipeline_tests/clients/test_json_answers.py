"""JSON that is odd and no fault: one cut emoji costs a page nothing."""

import httpx
import pytest

from provisioning_pipeline.clients.clerk.walk import organization_row, page_of
from provisioning_pipeline.clients.http import OddAnswer, json_of


def answer(body: str | bytes) -> httpx.Response:
    return httpx.Response(200, content=body)


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (r'{"name": "Acme \ud83d"}', {"name": "Acme �"}),
        (r'{"name": "\ude00 Acme"}', {"name": "� Acme"}),
        (r'[{"\ud83d": ["\ud83d\ude00", "\ud83d"]}]', [{"�": ["😀", "�"]}]),
        (r'{"name": "\\ud83d"}', {"name": r"\ud83d"}),
        ('{"n": 1e999, "m": 123456789012345678901234567890}', {"n": float("inf"), "m": 123456789012345678901234567890}),
    ],
)
def test_json_that_every_browser_reads_is_read(body: str, read: object) -> None:
    assert json_of(answer(body)) == read


@pytest.mark.parametrize(
    "body", ["", "<html>", '{"name": "Acme', "NaN", '{"n": -Infinity}', b'{"a": "\xff"}', "[" * 9999]
)
def test_what_is_no_json_is_an_odd_answer(body: str | bytes) -> None:
    with pytest.raises(OddAnswer):
        json_of(answer(body))


def test_a_cut_emoji_costs_nobody_on_the_page_anything() -> None:
    entries = json_of(answer(r'[{"id": "org_1", "name": "A \ud83d", "slug": "a"}, {"id": "org_2", "name": "B"}]'))
    page = page_of(entries, organization_row)
    assert page.odd == ()
    assert page.rows == {"org_1": ("org_1", "A �", "a", None), "org_2": ("org_2", "B", None, None)}
