"""What commands print: nothing that came from outside steers the terminal of an operator."""

import io
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from rich.console import Console

from provisioning_pipeline.cli import tables
from provisioning_pipeline.cli.terminal import Terminal, printable
from provisioning_pipeline.model.condition import Condition, ConditionType, Reason, Status, StoredCondition
from provisioning_pipeline.pipeline.preflight import Check
from provisioning_pipeline.report.summary import TenantLine

STEERING = (
    "\x1b]0;title\x07",
    "\x1b[2J",
    "\x9b31m",
    "\rready",
    "\x08\x08",
    "\u202eydaer",
    "\u2066",
    "\u2028",
    "\x00",
    "\u200b",
)


def unwell(text: str) -> TenantLine:
    condition = Condition(ConditionType.WORKSPACE_READY, Status.FALSE, Reason.SERVER_FULL, text)
    stored = StoredCondition(text, condition, datetime(2026, 8, 1, tzinfo=UTC), "run-1")
    return TenantLine(text, text, text, text, text, None, text, Reason.SERVER_FULL, text, None, (stored,))


def printed(show: Callable[[Console], None]) -> str:
    into = io.StringIO()
    show(Terminal(file=into))
    return into.getvalue()


@pytest.mark.parametrize("steering", STEERING)
@pytest.mark.parametrize(
    "show",
    [
        lambda console, text: tables.tenants(console, [unwell(text)]),
        lambda console, text: tables.tenant(console, unwell(text)),
        lambda console, text: tables.checks(console, [Check("Clerk", ok=False, found=text)]),
        lambda console, text: console.print(text, soft_wrap=True),
    ],
    ids=["tenants", "tenant", "checks", "sentence"],
)
def test_nothing_from_outside_steers_the_terminal(show: Callable[[Console, str], None], steering: str) -> None:
    shown = printed(lambda console: show(console, f"acme{steering}"))

    assert "acme" in shown
    assert not [letter for letter in steering if letter in shown and not letter.isprintable()]


def test_a_word_between_colons_is_no_emoji_and_names_keep_their_letters() -> None:
    shown = printed(lambda console: tables.tenants(console, [unwell(":smile: 日本語 é́ 👩‍🚀 \N{NO-BREAK SPACE}")]))
    assert all(part in shown for part in (":smile:", "日本語", "é́", "👩‍🚀"))


def test_colours_of_ours_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[31mno" in printed(lambda console: console.print("[red]no[/]"))


def test_sentences_keep_their_lines() -> None:
    assert printable("one\n\ttwo\x1b[2J") == "one\n\ttwo\N{REPLACEMENT CHARACTER}[2J"
