"""No name from outside turns a line of a page, a table or an alert around, or hides in it."""

from collections.abc import Callable

import pytest

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.report import markdown, page, timeline_page
from provisioning_pipeline.report.alert import escaped
from provisioning_pipeline.report.summary import TenantLine, tenant_lines
from provisioning_pipeline.report.timeline_page import Timeline
from provisioning_pipeline_tests.report.lines import looked_at, summary

TRICKY = "ac\u202eme\u2066\u200b\x9b1A 日本 é́ 👩\u200d🚀"
SEEN = "ac\\u202eme\\u2066\\u200b\\x9b1A 日本 é́ 👩\u200d🚀"


def line() -> TenantLine:
    (found,) = tenant_lines([looked_at(TRICKY, Reason.SERVER_FULL, TRICKY)])
    return found


@pytest.mark.parametrize(
    "draw",
    [
        lambda: page.render(summary((line(),))),
        lambda: timeline_page.render(Timeline(line(), TRICKY)),
        lambda: markdown.render(summary((line(),), refusals=(TRICKY,))).replace("\\\\", "\\"),
        lambda: escaped(TRICKY),
    ],
    ids=["report", "timeline", "markdown", "alert"],
)
def test_what_turns_around_or_hides_is_seen_as_an_escape(draw: Callable[[], str]) -> None:
    drawn = draw()
    assert SEEN in drawn
    assert not [letter for letter in "\u202e\u2066\u200b\x9b" if letter in drawn]
