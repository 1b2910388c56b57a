"""What alerts say, and when there is news: a day of ticks as a table of what was told."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.reasons import next_step
from provisioning_pipeline.report.alert import (
    Alert,
    FailedCheck,
    FailedRun,
    Reported,
    escaped,
    is_reminder_due,
    news_of_checks,
    of_run,
    payload,
)
from provisioning_pipeline.report.summary import TenantLine

HOUR = 3600.0
READY = "all_tenants_are_ready"
PROVED = "login_proved"


def line(slug: str, reason: Reason = Reason.SERVER_FULL) -> TenantLine:
    return TenantLine(slug, f"db_{slug}", None, None, None, None, None, reason, "secret message", None, ())


def full(count: int) -> list[TenantLine]:
    return [line(f"t{number}") for number in range(count)]


def check(name: str = READY, figures: Mapping[str, int] | None = None, *, severe: bool = False) -> FailedCheck:
    return FailedCheck(name, "Every tenant is ready.", severe, figures or {}, "0123456789")


class Channel:
    """People, and what they were told."""

    def __init__(self) -> None:
        self.told = Reported()

    def hears(
        self,
        hour: float,
        *failed: FailedCheck,
        passed: Sequence[str] = (),
        lines: Sequence[TenantLine] | None = (),
    ) -> str | None:
        alert, self.told = news_of_checks(
            self.told, failed, passed, lines, now=hour * HOUR, dagster_url="https://dagster.test"
        )
        return None if alert is None else "\n".join([alert.headline, *alert.paragraphs])


@pytest.fixture
def channel() -> Channel:
    return Channel()


def test_a_check_that_begins_to_fail_is_told_with_reason_names_next_step_and_run(channel: Channel) -> None:
    told = channel.hears(
        1,
        check(figures={"unwell_tenants": 7}),
        lines=[*full(7), line("ok", Reason.ALL_TRUE), line("off", Reason.TENANT_SUSPENDED), line("x", Reason.WAITING)],
    )

    assert told is not None
    assert told.startswith("A check fails: all_tenants_are_ready\n")
    assert "*ServerFull*, 7 tenants: t0, t1, t2, t3, t4 and 2 more\nNext: " + next_step(Reason.SERVER_FULL) in told
    assert "*Waiting*, 1 tenant: x" in told
    assert "(warning; unwell tenants 7)" in told
    assert told.endswith("<https://dagster.test/runs/0123456789|Run 01234567>")
    assert "ok" not in told.replace("look", "")
    assert "off" not in told
    assert "secret" not in told


def test_what_people_know_is_not_told_again_until_it_gets_worse(channel: Channel) -> None:
    assert channel.hears(1, check(), lines=full(3))
    assert channel.hears(2, check(), lines=full(3)) is None
    assert channel.hears(3, check(), lines=full(2)) is None
    assert channel.hears(4, check(), lines=full(3)) is None
    assert channel.hears(5, check(), lines=full(4))
    assert channel.hears(6, check(), lines=[*full(4), line("x", Reason.WIZARD_SHOWS)])
    assert channel.hears(7, check(), lines=[*full(4), line("y", Reason.WIZARD_SHOWS)]) is None
    assert channel.hears(8, check(figures={"tenants": 1}), lines=full(4))
    assert channel.hears(9, check(figures={"tenants": 2}), lines=full(4))


def test_a_reason_that_was_gone_is_news_when_it_comes_back(channel: Channel) -> None:
    channel.hears(1, check(), lines=[*full(1), line("x", Reason.WIZARD_SHOWS)])
    assert channel.hears(2, check(), lines=full(1)) is None
    assert channel.hears(3, check(), lines=[*full(1), line("x", Reason.WIZARD_SHOWS)])


def test_what_goes_on_failing_is_told_once_a_day(channel: Channel) -> None:
    heard = [hour for hour in range(1, 60) if channel.hears(hour, check(), lines=full(3))]

    assert heard == [1, 25, 49]
    assert is_reminder_due(channel.told, 73 * HOUR)
    assert not is_reminder_due(Reported(), 1e12)


def test_when_all_pass_again_the_all_clear_is_short_and_comes_once(channel: Channel) -> None:
    channel.hears(1, check(), check(PROVED), lines=full(3))

    assert channel.hears(2, check(), passed=[PROVED], lines=full(3)) == (
        "Passes again: login_proved\nStill fails: all_tenants_are_ready."
    )
    assert channel.hears(3, passed=[PROVED, READY]) == "All clear: every check passes again\nall_tenants_are_ready."
    assert channel.hears(4, passed=[PROVED, READY]) is None
    assert channel.told.checks == channel.told.reasons == {}
    assert channel.hears(5, check(), passed=[PROVED], lines=full(3))


def test_what_begins_and_what_ends_go_into_one_message(channel: Channel) -> None:
    channel.hears(1, check(), lines=full(1))
    told = channel.hears(2, check(PROVED), passed=[READY], lines=full(1))

    assert told is not None
    assert told.startswith("A check fails: login_proved")
    assert "Passes again: all_tenants_are_ready." in told


def test_a_check_that_was_not_evaluated_stays_as_it_was_told(channel: Channel) -> None:
    channel.hears(1, check(), lines=full(1))
    assert channel.hears(2) is None
    assert channel.hears(3, passed=[READY]) is not None


def test_without_the_ledger_checks_are_told_and_what_was_known_of_tenants_stays(channel: Channel) -> None:
    channel.hears(1, check(), lines=full(3))
    told = channel.hears(2, check(), check(PROVED), lines=None)

    assert told is not None
    assert "ledger cannot be read" in told
    assert channel.hears(3, check(), check(PROVED), lines=None) is None


def test_errors_come_before_warnings_and_where_nobody_is_unwell_the_check_itself_is_the_next_step(
    channel: Channel,
) -> None:
    told = channel.hears(1, check("a_warning"), check("an_error", severe=True))

    assert told is not None
    assert told.splitlines()[0] == "2 checks fail: an_error, a_warning"
    assert "look at what the check found" in told


def test_a_failed_run_is_told_with_its_steps_and_the_tenants() -> None:
    causes = tuple((f"step_{number}", "Clerk is away.") for number in range(9))
    alert = of_run(FailedRun("reconcile_tenants", "r1", causes), full(2), None)

    assert alert.headline == "reconcile_tenants failed"
    assert alert.paragraphs[0] == "step_0: Clerk is away."
    assert alert.paragraphs[5] == "…and 4 more steps."
    assert "*ServerFull*, 2 tenants: t0, t1" in alert.paragraphs[6]
    assert alert.paragraphs[-1] == "Run r1"


def test_a_run_that_was_killed_says_so() -> None:
    assert "may have been killed" in of_run(FailedRun("verify", "r1", ()), (), None).paragraphs[0]


# --- for Slack --------------------------------------------------------------------------------------------------


def test_nothing_from_outside_becomes_a_mention_or_a_link() -> None:
    hostile = line("<!channel> & <https://evil.test|click>\n> quote")
    text = payload(of_run(FailedRun("verify", "r1", (("s", "<@U1> a\nb"),)), [hostile], None))["text"]

    assert "<" not in text
    assert "&lt;!channel&gt; &amp; &lt;https://evil.test|click&gt; &gt; quote" in text
    assert "s: &lt;@U1&gt; a b" in text


@pytest.mark.parametrize("slug", ["@channel", "x @Here", "(@everyone)", "@all"])
def test_plain_words_call_nobody_and_become_no_links(slug: str) -> None:
    message = payload(
        of_run(FailedRun("verify", "r1", ()), [line(f"{slug} ada@everyone.example https://a.test")], None)
    )

    assert slug not in message["text"]
    assert "ada@everyone.example https://a.test" in message["text"]
    assert all(block["text"]["verbatim"] for block in message["blocks"])


def test_the_same_is_said_in_text_and_blocks() -> None:
    message = payload(Alert("verify failed", ("Why.", "Who.")))

    assert message["text"] == "verify failed\nWhy.\nWho."
    assert [block["text"]["text"] for block in message["blocks"]] == ["*verify failed*", "Why.", "Who."]


@given(st.lists(st.text(st.sampled_from("a&<é\n"), min_size=1, max_size=60), max_size=70), st.integers(1, 3000))
def test_slacks_limits_hold_whatever_is_said(texts: list[str], times: int) -> None:
    message = payload(Alert(escaped("x" * times), tuple(escaped(text * times) for text in texts)))

    shown: list[Any] = [block["text"]["text"] for block in message["blocks"]]
    assert len(message["text"]) <= 40_000
    assert len(shown) <= 50
    assert all(0 < len(text) <= 3000 for text in shown)
    assert all(part.startswith(("amp;", "lt;", "gt;")) for text in shown for part in text.split("&")[1:])
