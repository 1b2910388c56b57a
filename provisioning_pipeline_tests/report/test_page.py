"""The HTML page: one file that needs nothing else, runs nothing of what it shows, and says first who is unwell."""

import re
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.reasons import next_step
from provisioning_pipeline.report import page
from provisioning_pipeline.report.summary import Summary, tenant_lines
from provisioning_pipeline_tests.report.lines import (
    THEN,
    forecast,
    large_fleet,
    lines,
    looked_at,
    point,
    summary,
    told_in_full,
)

HOSTILE = """<script>alert("x")</script>' onmouseover='y' "><img src=https://evil.test/p.png>"""


class Page(HTMLParser):
    """The elements of a page with their attributes, its references, its headings, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[str] = []
        self.open: list[str] = []
        self.references: list[str] = []
        self.attributes: set[str] = set()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.tags.append((tag, dict(attrs)))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append((tag, ""))
        self.attributes |= {name for name, _ in attrs}
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.headings and self.headings[-1][0] in self.open:
            tag, told = self.headings[-1]
            self.headings[-1] = tag, told + data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each element of this name."""
        return [attributes for name, attributes in self.tags if name == tag]


def test_hostile_names_stay_text() -> None:
    harmless, attacked = Page(page.render(told_in_full("harmless"))), Page(page.render(told_in_full(HOSTILE)))
    assert attacked.elements == harmless.elements
    assert attacked.attributes == harmless.attributes
    assert HOSTILE in attacked.text
    assert "script" not in attacked.elements
    assert "img" not in attacked.elements


@settings(max_examples=25)
@given(st.text(st.sampled_from("<>\"'&/={}%#-! \n") | st.characters(codec="utf-8"), min_size=1, max_size=20))
def test_no_name_changes_the_shape_of_the_page(name: str) -> None:
    assert Page(page.render(told_in_full(name))).elements == Page(page.render(told_in_full("harmless"))).elements


def test_the_page_refers_to_nothing_outside_itself() -> None:
    html = page.render(told_in_full("harmless", history=(point("run-0", hours_ago=1), point("run-1"))))
    references = [reference for reference in Page(html).references if not reference.startswith("#")]
    assert references == ["data:,"]
    assert "http" not in html
    assert "@import" not in html
    assert "url(" not in html


def test_the_page_is_whole_and_says_the_verdict_and_what_to_do() -> None:
    known = tenant_lines([looked_at("acme", Reason.SERVER_FULL, "Add a server.")])
    drawn = Page(page.render(summary(known)))
    assert drawn.open == []
    assert "0 of 1 tenants are ready, 1 needs a look." in drawn.text
    assert "Add a server." in drawn.text
    assert "2026-08-01 12:00" in drawn.text


def test_an_empty_run_is_a_page_too() -> None:
    drawn = Page(page.render(summary()))
    assert "No tenant was found." in drawn.text
    assert "Nothing had to be done." in drawn.text


def test_a_large_fleet_is_cut_and_says_so() -> None:
    drawn = Page(page.render(summary(lines(**{f"t{number:03}": Reason.ALL_TRUE for number in range(503)}))))
    assert "…and 3 more" in drawn.text


def test_the_page_is_written_where_it_was_asked_for(tmp_path: Path) -> None:
    path = page.write(summary(lines(müller=Reason.ALL_TRUE)), str(tmp_path / "new" / "folder"))
    assert path == str((tmp_path / "new" / "folder" / "reconciliation-run-1.html").resolve())
    assert "müller" in Path(path).read_text(encoding="utf-8")


def words(html: str) -> str:
    """The text, one space between words and between cells."""
    return " ".join(unescape(re.sub("<[^>]*>", " ", html)).split())


def above_the_rest(html: str) -> str:
    """What stands above the first heading that is not about the unwell, without its tables."""
    before, _, _ = html.partition("<h2>What was done</h2>")
    return re.sub(r"<details.*?</details>", "", before, flags=re.DOTALL)


@pytest.mark.parametrize(
    "known",
    [
        summary(
            tenant_lines(
                [
                    looked_at("acme", Reason.SERVER_FULL, "Full."),
                    looked_at("bolt", Reason.ADMIN_UNKNOWN, "Nobody is admin."),
                    looked_at("cedar", Reason.ADMIN_UNKNOWN, "Nobody is admin there."),
                    *(looked_at(f"t{number}", Reason.ALL_TRUE) for number in range(27)),
                ]
            )
        ),
        large_fleet(),
    ],
    ids=["3 of 30", "300 of 10,000"],
)
def test_every_unwell_tenant_and_its_next_step_stand_above_everything_else(known: Summary) -> None:
    drawn = words(above_the_rest(page.render(known)))
    for line in known.unwell:
        assert re.search(rf"(?<![\w-]){line.slug}(?![\w-])", drawn)
    for group in known.groups:
        assert group.reason in drawn
        assert words(next_step(group.reason).replace("`", " ")).replace(" ,", ",") in drawn.replace(" ,", ",")


def test_few_unwell_are_told_with_what_happened_since_when_and_when_they_are_tried_again() -> None:
    again = THEN + timedelta(minutes=42)
    rows = [
        looked_at("acme", Reason.SERVER_FULL, "eu is full.", look_again_at=again, since=THEN - timedelta(days=2)),
        looked_at("bolt", Reason.SERVER_FULL, "us is full.", look_again_at=again + timedelta(days=1)),
        looked_at("cedar", Reason.TENANT_BUSY, "Busy.", since=None),
    ]
    drawn = Page(page.render(summary(tenant_lines(rows)))).text
    assert "eu is full. since 2026-07-30 12:00 UTC; tried again at 12:42 UTC" in drawn
    assert "us is full. since 12:00 UTC; tried again at 2026-08-02 12:42 UTC" in drawn
    assert "cedar Busy.\n" in drawn


def test_few_unwell_for_many_reasons_are_named_first_and_told_one_by_one_below() -> None:
    reasons = (Reason.SERVER_FULL, Reason.TENANT_BUSY, Reason.ADMIN_UNKNOWN, Reason.INVITED)
    known = summary(tenant_lines([looked_at(f"t{place}", reason, "Why.") for place, reason in enumerate(reasons)]))
    assert [(group.names, group.people, group.message) for group in page.groups(known)] == [
        (("t2",), (), "Why."),
        (("t3",), (), "Why."),
        (("t0",), (), "Why."),
        (("t1",), (), "Why."),
    ]


def test_many_unwell_are_named_and_a_hundred_of_each_reason_told_one_by_one() -> None:
    known = large_fleet()
    drawn = Page(page.render(known))
    assert "…and 20 more: provisioning status" in drawn.text
    assert "…and 21 more" not in drawn.text
    (group, *_) = page.groups(known)
    assert (group.count, len(group.names), group.people) == (120, 120, ())
    assert group.each
    assert len(group.each.rows) == 100


def test_when_many_are_tried_again_is_told_for_all_of_them_at_once() -> None:
    rows = [
        looked_at(
            f"t{number}",
            Reason.SERVER_FULL,
            look_again_at=THEN + timedelta(minutes=number) if number else None,
            since=THEN - timedelta(hours=number),
        )
        for number in range(10)
    ]
    (group,) = page.groups(summary(tenant_lines(rows)))
    assert group.when == "the first since 03:00 UTC; 9 of them tried again at 12:01 UTC and later"


def test_a_name_that_goes_on_for_ever_is_cut() -> None:
    html = page.render(told_in_full("n" * 3_000_000))

    assert len(html) < 200_000
    assert Page(html).elements == Page(page.render(told_in_full("harmless"))).elements
    assert "n… (2,998,000 more characters)" in html


def test_the_page_of_a_large_fleet_stays_small() -> None:
    assert len(page.render(large_fleet()).encode()) < 1_000_000


def test_a_change_since_the_last_run_is_told_and_nothing_where_there_is_none() -> None:
    now = lines(a=Reason.ALL_TRUE, b=Reason.SERVER_FULL, c=Reason.SERVER_FULL)
    before = point("run-0", ready=3, unwell=0, aside=1)
    counts = page.counts(summary(now, history=(before, point("run-1"))))
    assert [(count.name, count.number, count.told) for count in counts] == [
        ("Ready", 1, "−2 since the last run"),
        ("Need a look", 2, "+2 since the last run"),
        ("Excluded", 0, "−1 since the last run"),
    ]
    assert [count.told for count in page.counts(summary(now))] == ["", ""]
    assert "since the last run" not in page.render(summary(now))


@pytest.mark.parametrize("known", [told_in_full(), large_fleet(), summary()], ids=["full", "large", "empty"])
def test_headings_landmarks_tables_and_regions_can_be_walked_without_seeing_them(known: Summary) -> None:
    drawn = Page(page.render(known))
    levels = [int(tag[1]) for tag, _ in drawn.headings]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert [drawn.elements.count(tag) for tag in ("header", "main", "footer")] == [1, 1, 1]
    assert drawn.elements.count("caption") == drawn.elements.count("table")
    assert all(cell.get("scope") in ("row", "col") for cell in drawn.of("th"))
    regions = [box for box in drawn.of("div") if box.get("role") == "region"]
    assert len(regions) >= drawn.elements.count("table")
    assert all(box.get("tabindex") == "0" and box.get("aria-label") for box in regions)
    assert len({box["aria-label"] for box in regions}) == len(regions)
    identities = [attributes["id"] for _, attributes in drawn.tags if "id" in attributes]
    assert len(set(identities)) == len(identities)
    assert {reference for reference in drawn.references if reference != "data:,"} <= {f"#{each}" for each in identities}


def test_sections_stand_in_the_order_in_which_they_are_asked_for() -> None:
    known = told_in_full(history=(point("run-0"), point("run-1")))
    assert [told for tag, told in Page(page.render(known)).headings if tag == "h2"] == [
        "Who needs a look, and what to do",
        "What was done",
        "What was refused, and why",
        "What waits for approval",
        "Who was removed or demoted, and the proof",
        "In tenants' own databases",
        "What differed before the run, by cause",
        "The last runs",
        "Seconds per phase",
        "Calls, limits and forecast",
        "The slowest tenants",
        "The other tenants",
        "What the run was made with",
        "E-mails",
    ]


def test_a_run_of_an_older_version_is_told_without_what_nobody_wrote_down() -> None:
    drawn = Page(page.render(summary(lines(a=Reason.ALL_TRUE), calls={})))
    assert [told for tag, told in drawn.headings if tag == "h2"] == [
        "What was done",
        "The last runs",
        "Calls, limits and forecast",
        "Tenants",
        "E-mails",
    ]
    assert "None" not in drawn.text.replace("None were", "")


def test_what_waits_is_told_with_the_command_and_the_number_of_people() -> None:
    drawn = Page(page.render(told_in_full("plan-1"))).text
    assert "provisioning apply --approve plan-1" in drawn
    assert "Removals and demotions of 12 people wait" in drawn


def test_calls_are_told_against_the_limit_and_the_forecast() -> None:
    text = words(page.render(told_in_full()))
    assert "Clerk calls 110 100 +10 % 250 44 %" in text
    assert "Twenty calls 180 200 −10 %" in text
    assert "1 planned, 2 allowed in one run, 3 to wait" in text


@pytest.mark.parametrize(
    ("made", "expected", "difference"),
    [(110, 100, "+10 %"), (95, 100, "−5 %"), (100, 100, "as forecast"), (3, 0, "none was forecast"), (3, None, "")],
)
def test_how_far_a_forecast_was_off(made: float, expected: float | None, difference: str) -> None:
    assert page.Figure("Time", made, expected).difference == difference


def test_a_forecast_of_nothing_that_holds_the_run_back_says_so() -> None:
    drawn = Page(page.render(summary(forecast=forecast("", first_limit=None, cut_names=(), aging=())))).text
    assert "Nothing holds the run back." in drawn
    assert "clean-up" not in drawn


def test_the_run_is_linked_where_it_can_be_seen_and_nowhere_else() -> None:
    address = "https://dagster.example.test/runs/run-1"
    assert address in Page(page.render(summary(run_url=address))).references
    assert Page(page.render(summary(run_url="javascript:alert(1)"))).references == ["data:,"]


def test_charts_begin_with_the_second_run_and_have_their_figures_as_tables() -> None:
    assert "The chart begins with the next run." in Page(page.render(summary(history=(point("run-1"),)))).text
    many = tuple(point(f"run-{number}", hours_ago=40 - number, unwell=number) for number in range(40))
    drawn = Page(page.render(summary(history=many)))
    assert [(picture["role"], bool(picture["aria-label"])) for picture in drawn.of("svg")] == [("img", True)] * 2
    states, work = page.pictures(many[-30:])
    assert [len(picture.table.rows) for picture in (states, work)] == [30, 30]
    assert states.table.rows[0][0] == "run-39"
    assert "run-9 " not in drawn.text


def test_a_hostile_run_id_of_an_earlier_run_stays_text() -> None:
    drawn = Page(page.render(summary(history=(point("<b>x</b>"), point("run-1")))))
    assert "b" not in drawn.of("td")
    assert "<b>x</b>" in drawn.text


def test_the_same_summary_gives_the_same_page() -> None:
    known = told_in_full(history=(point("run-0"), point("run-1")))
    assert page.render(known) == page.render(known)


def palettes(html: str) -> list[dict[str, str]]:
    """The colours by variable: light, then dark."""
    return [dict(re.findall(r"--(\w+): (#\w+)", rule)) for rule in re.findall(r":root \{([^}]*)\}", html)]


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    channels = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_both_palettes_can_be_read() -> None:
    light, dark = palettes(page.render(summary()))
    assert light.keys() == dark.keys()
    assert light != dark
    for palette in (light, dark):
        for words in ("ink", "soft", "good", "bad", "accent"):
            for ground in ("paper", "card"):
                low, high = sorted((luminance(palette[words]), luminance(palette[ground])))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (words, ground)


def test_every_colour_that_is_used_is_in_both_palettes() -> None:
    html = page.render(told_in_full(history=(point("run-0", drift=None), point("run-1", aside=1))))
    used = set(re.findall(r"var\(--(\w+)\)", html))
    assert used <= palettes(html)[0].keys()
    assert not re.findall(r"(?:fill|stroke): #", html)
