"""The Markdown: cells stay in their table whatever they hold."""

import re

from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.report import markdown
from provisioning_pipeline.report.summary import tenant_lines
from provisioning_pipeline_tests.report.lines import (
    large_fleet,
    lines,
    looked_at,
    outcome,
    point,
    summary,
    tenant,
    told_in_full,
)

NASTY = st.text(st.sampled_from("|\\\n\r\t\x0b\x0c\x1c\x85\u2028\u2029`*<>&[]()!#-ab ") | st.characters(), max_size=12)
UNESCAPED_PIPE = re.compile(r"(?<!\\)(?:\\\\)*\|")


@given(st.lists(st.tuples(NASTY, NASTY), max_size=4))
def test_a_cell_cannot_break_out_of_its_table(rows: list[tuple[str, str]]) -> None:
    drawn = markdown.table(("one", "two"), rows)
    assert len(drawn.splitlines()) == (2 + len(rows) if rows else 0)
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


def test_a_name_that_goes_on_for_ever_is_cut() -> None:
    cells = markdown.table(("tenant",), [("n" * 3_000_000,)])

    assert "n… (2,998,000 more characters) |" in cells
    assert len(cells) < 3000


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
    assert "…and 57 more" in markdown.table(("tenant",), [(line.slug,) for line in many], most=3)
    assert "more" not in markdown.inventory_table(many)


def test_counts_are_told_with_their_change_and_groups_with_their_next_step_and_names() -> None:
    known = lines(a=Reason.ALL_TRUE, b=Reason.SERVER_FULL, c=Reason.SERVER_FULL)
    drawn = markdown.render(summary(known, history=(point("run-0", ready=3, unwell=0), point("run-1"))))
    assert "Ready: **1** (−2 since the last run), Need a look: **2** (+2 since the last run)" in drawn
    assert "**2 × ServerFull.** Next: Raise `capacity`" in drawn
    assert "Tenants: b, c" in drawn


def test_many_unwell_are_named_up_to_fifty_of_each_reason() -> None:
    drawn = markdown.render(large_fleet())
    assert "unwell-049 and 70 more" in drawn
    assert "unwell-050" not in drawn
    assert "Message" not in drawn
    assert len(drawn) < 10_000


def test_what_was_refused_waits_differed_and_was_forecast_is_said() -> None:
    drawn = markdown.render(told_in_full("plan-1"))
    assert "- **plan-1**" in drawn
    assert "12 people: `provisioning apply --approve plan-1`" in drawn
    assert "| a change at Clerk | Clerk | 1 |" in drawn
    assert "| Clerk calls | 100 | 110 | +10 % |" in drawn
    assert "| Time | 10 s | 10 s | as forecast |" in drawn


def test_a_name_of_a_group_cannot_begin_a_heading_or_an_element() -> None:
    drawn = markdown.render(summary(tenant_lines([looked_at("# Title <b>", Reason.SERVER_FULL)])))
    assert "\n# Title" not in drawn
    assert "<b>" not in drawn
