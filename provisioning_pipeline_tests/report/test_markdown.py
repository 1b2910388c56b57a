"""The Markdown: cells stay in their table whatever they hold."""

import re

from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.report import markdown
from provisioning_pipeline.report.summary import tenant_lines
from provisioning_pipeline_tests.report.lines import lines, looked_at, outcome, summary, tenant

NASTY = st.text(st.sampled_from("|\\\n\r\t\x0b\x0c\x1c\x85\u2028\u2029`*<>&[]()!#-ab ") | st.characters(), max_size=12)
UNESCAPED_PIPE = re.compile(r"(?<!\\)(?:\\\\)*\|")


@given(st.lists(st.tuples(NASTY, NASTY), max_size=4))
def test_a_cell_cannot_break_out_of_its_table(rows: list[tuple[str, str]]) -> None:
    drawn = markdown.table(("one", "two"), rows)
    assert len(drawn.splitlines()) == 2 + len(rows)
    for line in drawn.splitlines():
        assert len(UNESCAPED_PIPE.findall(line)) == 3
        assert "<" not in line
        assert ">" not in line


def test_a_hostile_name_stays_text() -> None:
    name = "a|b\n# Title <script>alert(1)</script>"
    drawn = markdown.unwell_table(tenant_lines([tenant(name)], []))
    assert "<script" not in drawn
    assert "\n#" not in drawn


def test_a_name_cannot_draw_a_picture_or_a_link_of_its_own() -> None:
    drawn = markdown.unwell_table(tenant_lines([tenant("![x](https://evil.test/p.png) [y](https://evil.test)")], []))
    assert not re.search(r"(?<!\\)\[[xy]\]\(", drawn)


def test_the_run_is_told_in_full() -> None:
    known = tenant_lines([looked_at("acme", Reason.SERVER_FULL, "eu is full."), tenant("zen")])
    drawn = markdown.render(summary(known, (outcome("acme", "create workspace", seconds=2.5),), refusals=("No <b>.",)))
    assert drawn.startswith("### 0 of 2 tenants are ready, 2 need a look.")
    assert "| acme | ServerFull | eu is full. |" in drawn
    assert "| create workspace | 1 | 2.5 |" in drawn
    assert "- **No &lt;b&gt;.**" in drawn


def test_a_run_that_did_nothing_has_no_empty_tables() -> None:
    assert "####" not in markdown.render(summary(lines(a=Reason.ALL_TRUE)))


def test_long_lists_say_how_many_they_leave_out() -> None:
    many = lines(**{f"t{number:03}": Reason.SERVER_FULL for number in range(60)})
    assert "…and 10 more" in markdown.unwell_table(many)
    assert "t049" in markdown.unwell_table(many)
    assert "t050" not in markdown.unwell_table(many)
    assert "…and 57 more" in markdown.inventory_table(many, most=3)
    assert "more" not in markdown.inventory_table(many)
