"""The page of one tenant: what a person reads, and that nothing from outside gets more than read."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from provisioning_pipeline.model.condition import ConditionType, Reason
from provisioning_pipeline.model.history import Actor, Event, Source
from provisioning_pipeline.model.reasons import next_step
from provisioning_pipeline.report import page as report_page
from provisioning_pipeline.report.summary import TenantLine, tenant_lines
from provisioning_pipeline.report.timeline_page import Timeline, event_json, render
from provisioning_pipeline_tests.report.lines import THEN, looked_at, stored, summary

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&{{7*7}}"


class Page(HTMLParser):
    """What a browser would find: elements with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def line(reason: Reason = Reason.ALL_TRUE, **other: object) -> TenantLine:
    conditions = [stored("acme", ConditionType.DETECTED, Reason.DATABASE_MISSING)]
    (found,) = tenant_lines([looked_at("acme", reason, "What happened.", **other)], conditions)
    return found


def test_a_text_that_goes_on_for_ever_is_cut() -> None:
    endless = "n" * 3_000_000
    event = Event(THEN, Actor.SENSOR, Source.ACTION, endless, "run-1")

    html = render(Timeline(line(admin_email=endless, server=endless), events=(event,)))

    assert len(html) < 50_000
    assert "n… (2,998,000 more characters)" in html


def event(what: str = "add member: ada@acme.test", *, minutes: int = 0, failed: bool = False) -> Event:
    return Event(THEN - timedelta(minutes=minutes), Actor.SENSOR, Source.ACTION, what, "run-12345678-rest", failed)


def test_one_sees_who_did_what_when_and_in_which_run() -> None:
    html = render(Timeline(line(), "org_1", 3, (event(), event("gone", minutes=60 * 24)), reported=frozenset()))
    page = Page(html)

    assert "acme is ready" in page.text
    assert [found["datetime"] for found in page.all("time")] == [
        "2026-08-01", "2026-08-01T12:00:00+00:00", "2026-07-31", "2026-07-31T12:00:00+00:00",
    ]  # fmt: skip
    for word in ("sensor", "action", "add member: ada@acme.test", "run-1234", "org_1", "DatabaseMissing"):
        assert word in page.text
    assert page.text.index("ada@acme.test") < page.text.index("gone")


def test_an_unwell_tenant_begins_with_what_to_do_and_when_it_is_tried_again() -> None:
    again = datetime(2026, 8, 1, 12, 42, tzinfo=UTC)
    page = Page(render(Timeline(line(Reason.SERVER_FULL, look_again_at=again))))

    beginning = page.text[: page.text.index("What holds")]
    assert "acme needs a look" in beginning
    assert next_step(Reason.SERVER_FULL) in beginning
    assert "We try again at 2026-08-01 12:42 UTC" in beginning


def test_a_failed_event_is_more_than_a_colour() -> None:
    page = Page(render(Timeline(line(), events=(event(failed=True),))))
    assert [found.get("class") for found in page.all("li")] == ["failed"]
    assert "✗ add member" in re.sub(r"\s+", " ", page.text)


def test_without_events_and_without_conditions_it_says_so() -> None:
    page = Page(render(Timeline(replace(line(), conditions=()))))
    assert "Nothing is recorded yet." in page.text
    assert "No run has looked at it yet." in page.text


def test_it_leads_to_older_events_and_to_reports_that_are_there() -> None:
    shown = Timeline(line(), events=(event(),), begin="2026-08-02T00:00:00Z", next="2026-08-01T12:00:00.000000Z~3")
    links = [found["href"] for found in Page(render(shown, limit=50)).all("a")]
    assert links == ["?before=2026-08-01T12%3A00%3A00.000000Z~3&limit=50", "?limit=50", "../reports/latest"]

    with_report = render(replace(shown, begin=None, next=None, reported=frozenset({"run-12345678-rest"})))
    assert [found["href"] for found in Page(with_report).all("a")] == [
        "../reports/run-12345678-rest", "../reports/latest",
    ]  # fmt: skip


def test_what_comes_from_outside_is_text_and_nothing_else() -> None:
    tenant = line(Reason.SERVER_FULL, server=HOSTILE, workspace_id=HOSTILE, admin_email=HOSTILE)
    tenant = replace(tenant, slug=HOSTILE, message=HOSTILE, database_name=HOSTILE, workspace_url=f"https://{HOSTILE}")
    shown = Timeline(tenant, HOSTILE, 1, (replace(event(HOSTILE), run_id=HOSTILE),), HOSTILE, HOSTILE,
                     frozenset({HOSTILE}))  # fmt: skip
    page = Page(render(shown))

    assert {tag for tag, _ in page.elements} & {"script", "img"} == set()
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.text.count("<script>alert('x')</script>") >= 7
    assert "49" not in page.text


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "//evil.test", " https://evil.test"])
def test_an_address_that_is_no_web_address_is_not_linked(url: str) -> None:
    page = Page(render(Timeline(replace(line(), workspace_id="w", workspace_url=url))))
    assert [found["href"] for found in page.all("a")] == ["../reports/latest"]


def test_nothing_is_loaded_and_the_same_timeline_is_the_same_page() -> None:
    shown = Timeline(line(), events=(event(),))
    html = render(shown)
    assert html == render(shown)
    assert not re.search(r"(src|href)=\"?https?:|url\(|@import|<script", html)


def test_headings_are_in_order_and_the_table_can_be_read_aloud() -> None:
    page = Page(render(Timeline(line(), events=(event(),))))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert {attributes["aria-labelledby"] for _, attributes in page.elements if "aria-labelledby" in attributes} <= ids
    assert all("scope" in found for found in page.all("th"))
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("main")) == 1


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_text_can_be_read_in_both_schemes(scheme: int) -> None:
    palettes = palettes_of(render(Timeline(line())))
    assert palettes[0].keys() == palettes[1].keys()
    palette = palettes[scheme]
    for ink in ("ink", "soft", "good", "bad", "accent"):
        for paper in ("paper", "card"):
            assert contrast(palette[ink], palette[paper]) >= 4.5, (ink, paper)


def test_its_colours_are_those_of_the_report() -> None:
    assert palettes_of(render(Timeline(line()))) == palettes_of(report_page.render(summary()))


def palettes_of(html: str) -> list[dict[str, str]]:
    """The colours of the light scheme and of the dark one, by name."""
    return [dict(re.findall(r"--(\w+): (#[0-9a-f]+)", block)) for block in re.findall(r":root \{([^}]*)\}", html)]


def contrast(one: str, other: str) -> float:
    """By WCAG 2."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_an_event_for_a_machine_has_every_field() -> None:
    assert event_json(event()) == {
        "at": "2026-08-01T12:00:00+00:00",
        "who": "sensor",
        "source": "action",
        "what": "add member: ada@acme.test",
        "run_id": "run-12345678-rest",
        "failed": False,
    }
