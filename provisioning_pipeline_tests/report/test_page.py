"""The HTML page: one file that needs nothing else and runs nothing of what it shows."""

from html.parser import HTMLParser
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.report import page
from provisioning_pipeline.report.summary import Summary, tenant_lines
from provisioning_pipeline_tests.report.lines import lines, looked_at, outcome, summary

HOSTILE = """<script>alert("x")</script>' onmouseover='y' "><img src=https://evil.test/p.png>"""


class Page(HTMLParser):
    """The elements of a page, its references, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[str] = []
        self.open: list[str] = []
        self.references: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def hostile(name: str) -> Summary:
    """A run in which everything that may come from outside is this name."""
    given = {"server": name, "workspace_id": name, "admin_email": name, "workspace_url": name}
    rows = [
        looked_at(name, Reason.ALL_TRUE, name, **given),
        looked_at(name, Reason.SERVER_FULL, name, **given, database_name="other"),
    ]
    return summary(
        tenant_lines(rows),
        (outcome(name, "set role", done=False, detail=name), outcome(name, "set role")),
        refusals=(name,),
        defects=(name,),
        trigger=name,
        calls={name: 1},
    )


def test_hostile_names_stay_text() -> None:
    harmless, attacked = Page(page.render(hostile("harmless"))), Page(page.render(hostile(HOSTILE)))
    assert attacked.elements == harmless.elements
    assert attacked.attributes == harmless.attributes
    assert HOSTILE in attacked.text
    assert "script" not in attacked.elements
    assert "img" not in attacked.elements


@settings(max_examples=25)
@given(st.text(st.sampled_from("<>\"'&/={}%#-! \n") | st.characters(codec="utf-8"), min_size=1, max_size=20))
def test_no_name_changes_the_shape_of_the_page(name: str) -> None:
    assert Page(page.render(hostile(name))).elements == Page(page.render(hostile("harmless"))).elements


def test_the_page_refers_to_nothing_outside_itself() -> None:
    html = page.render(hostile("harmless"))
    assert Page(html).references == ["data:,"]
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
    path = page.write(summary(lines(müller=Reason.ALL_TRUE)), tmp_path / "new" / "folder")
    assert path == (tmp_path / "new" / "folder" / "reconciliation-run-1.html").resolve()
    assert "müller" in path.read_text(encoding="utf-8")
