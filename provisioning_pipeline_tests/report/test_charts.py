"""Charts: pictures that take nothing from outside and leave nothing in the page around them."""

import re

from provisioning_pipeline.report import charts
from provisioning_pipeline_tests.report.lines import point

RUNS = tuple(
    point(f"run-{number}", hours_ago=9 - number, unwell=number % 3, ready=30 - number % 3) for number in range(9)
)


def test_a_picture_says_its_gist_and_is_whole() -> None:
    drawn = charts.draw("Tenants by state", charts.states(RUNS))
    assert drawn.startswith("<svg ")
    assert drawn.rstrip().endswith("</svg>")
    assert "Tenants by state. Need a look: 2 in the last run, range 0 to 2." in drawn
    assert ">Need a look</text>" in drawn


def test_a_picture_refers_to_nothing_and_styles_nothing_but_itself() -> None:
    drawn = charts.draw("Work", charts.work(RUNS))
    for reaching_out in ("<style", " id=", "href", "url(", "http", "<?xml", "<metadata", "font-family", "font: "):
        assert reaching_out not in drawn


def test_the_same_runs_give_the_same_picture() -> None:
    assert charts.draw("Work", charts.work(RUNS)) == charts.draw("Work", charts.work(RUNS))


def test_who_was_never_set_aside_has_no_row() -> None:
    assert [each.name for each in charts.states(RUNS)] == ["Need a look", "Ready"]
    assert len(charts.states((*RUNS, point("last", aside=1)))) == 3


def test_what_nobody_counted_is_a_question_mark_and_no_zero() -> None:
    runs = (point("a", drift=None), point("b", drift=4), point("c", drift=0))
    *_, found = charts.work(runs)
    assert [found.told(value) for value in found.values] == ["?", "4", "0"]
    assert found.gist == "0 in the last run, range 0 to 4"
    assert ">?</text>" in charts.draw("Work", charts.work(runs))
    *_, unknown = charts.work((point("a", drift=None), point("b", drift=None)))
    assert unknown.gist == "not counted"
    assert charts.draw("Work", (unknown,)).count(">?</text>") == 2


def test_a_title_stays_text() -> None:
    drawn = charts.draw('<b>"x"', charts.states(RUNS))
    assert re.search(r'aria-label="&lt;b&gt;&quot;x&quot;\. ', drawn)
