"""What commands print: nothing that came from outside steers the terminal of an operator."""

import io
import json
import logging
import re
import sys
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.color import ColorSystem

import provisioning_pipeline
from provisioning_pipeline.cli import logs, tables, terminal
from provisioning_pipeline.cli.terminal import Terminal, say, say_json
from provisioning_pipeline.model.change import FOLLOW_ADDRESS
from provisioning_pipeline.model.condition import Condition, ConditionType, Reason, Status, StoredCondition
from provisioning_pipeline.model.forecast import AgingWorkspace
from provisioning_pipeline.model.tenant import Address, Admin, Finding, MemberPlan, Plan, Tenant, TenantPlan, Withdrawal
from provisioning_pipeline.report.summary import TenantLine
from provisioning_pipeline.steps.members.changes import REMOVE_MEMBER, SET_NAME
from provisioning_pipeline.steps.workspaces.changes import ADD_ADMIN, CREATE_WORKSPACE
from provisioning_pipeline.tasks.preflight import Check

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


def printed(show: Callable[[Terminal], None]) -> str:
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
def test_nothing_from_outside_steers_the_terminal(show: Callable[[Terminal, str], None], steering: str) -> None:
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


def test_what_is_said_is_a_line_for_each_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    say("one\n\x1b[2Jready", "two\ud800")
    say("to the operator\u202e", err=True)
    assert capsys.readouterr() == ("one\\n\\x1b[2Jready\ntwo\\ud800\n", "to the operator\\u202e\n")


def test_a_document_holds_no_control_either_and_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    document = {"name": "\x1b\x7f\x9b\u202e\ud800ü"}
    say_json(document)
    written = capsys.readouterr().out
    assert written.strip().isascii()
    assert written.strip().isprintable()
    assert json.loads(written) == document


def test_a_warning_that_nobody_logs_and_an_error_that_nobody_foresaw_steer_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "lastResort", logging.lastResort)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    terminal.clean_what_python_prints()
    record = logging.LogRecord("x", logging.WARNING, "x.py", 1, "tenant %s", ("\x1b[2J\u202e",), None)
    assert logging.lastResort
    logging.lastResort.handle(record)
    try:
        raise ValueError("\x1b[2Jready")
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    told = capsys.readouterr().err
    assert "tenant \\x1b[2J\\u202e\n" in told
    assert "ValueError: \\x1b[2Jready" in told
    assert "\x1b" not in told


def test_a_log_line_of_the_server_is_the_same_document_without_a_control() -> None:
    line = json.dumps({"message": "\x7f\x9b\u202e\U000e0041 ü 日本"}, ensure_ascii=False)
    shown = logs._for_a_terminal(line)
    assert shown.isprintable()
    assert json.loads(shown) == json.loads(line)
    assert "ü 日本" in shown


# --- a whole plan ------------------------------------------------------------------------------------------------

ANYTHING = st.text(st.characters(exclude_categories=[]), max_size=12) | st.sampled_from(
    ["\x1b[2K\r- nothing", "a\n+ add ceo@bank.example as Admin", "\x1b]8;;http://x\x07y", "\x9b1A",
     "\u202e\u2066", "[red]x[/]"]
)  # fmt: skip


def plan_of(text: str, other: str) -> Plan:
    condition = Condition(ConditionType.MEMBERS_SYNCED, Status.FALSE, Reason.HALF_MEMBER, text)
    member = MemberPlan(text, text, text, other, text, text, (SET_NAME, REMOVE_MEMBER), other)
    entry = TenantPlan(
        Tenant(text, text, text, other), (CREATE_WORKSPACE, ADD_ADMIN, FOLLOW_ADDRESS), False,
        text, (text,), text, Admin(text, text, other), (condition,), (member,),
        (Finding(Reason.HALF_MEMBER, text, other),), (Withdrawal(text, other),), text, name_note=text or "x",
        address=Address(text, other),
    )  # fmt: skip
    aging = AgingWorkspace(text, text, datetime(2026, 8, 1, tzinfo=UTC))
    return Plan((entry,), notes=(text,), unactivated=(aging,))


@settings(max_examples=60, deadline=None)
@given(ANYTHING, ANYTHING)
def test_nothing_in_any_field_of_a_plan_steers_the_terminal_or_makes_a_line(text: str, other: str) -> None:
    quiet = plan_of("acme" if text else "", "other" if other else "")
    shown = printed_wide(lambda console: tables.plan(console, plan_of(text, other)))
    letters = _OUR_COLOURS.sub("", shown)

    assert [letter for letter in letters if letter != "\n" and unicodedata.category(letter) in CONTROLS] == [], shown
    assert shown.count("\n") == printed_wide(lambda console: tables.plan(console, quiet)).count("\n")


def printed_wide(show: Callable[[Terminal], None]) -> str:
    """With colours, and wide enough that nothing is wrapped."""
    into = io.StringIO()
    console = Terminal(file=into)
    console._force_terminal, console._color_system = True, ColorSystem.STANDARD
    console.width = 4000
    show(console)
    return into.getvalue()


CONTROLS = {"Cc", "Cs", "Zl", "Zp", "Co"}
_OUR_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def test_two_people_who_are_called_differently_look_different() -> None:
    names = ["acme", "acme\u200b", "acme\ufe0f", "ac\u00adme", "acme\x1b", "acme\\x1b", "acme\\\\x1b", "acme\u202e"]
    rows = [printed_wide(lambda console, name=name: tables.tenants(console, [unwell(name)])) for name in names]
    assert len({_OUR_COLOURS.sub("", row).strip() for row in rows}) == len(names)


# --- no way around -----------------------------------------------------------------------------------------------

PACKAGE = Path(provisioning_pipeline.__file__).parent
AROUND = re.compile(
    r"^\s*print\(|typer\.(echo|secho|confirm|prompt)\(|click\.\w*echo|rich import print|import Console\b"
    r"|rich\.markup import|std(out|err)\.(write|buffer)"
)


def test_nothing_is_printed_around_the_terminal() -> None:
    """Ruff says it first, by the same list."""
    found = [
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        if path.name != "terminal.py"
        for line in path.read_text("utf-8").splitlines()
        if AROUND.search(line)
    ]
    assert found == []
