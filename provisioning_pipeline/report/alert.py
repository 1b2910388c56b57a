"""What an alert says, when there is news to tell, and how it looks as a Slack message or as plain text."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from html import unescape
from typing import Any

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.names import unsteered
from provisioning_pipeline.model.reasons import next_step
from provisioning_pipeline.report.summary import TenantLine, by_reason

_MOST_NAMED = 5
_MOST_GROUPS = 20
_MOST_CAUSES = 5
_LONGEST_CAUSE = 1000
_LONGEST_BLOCK = 3000
_LONGEST_TEXT = 40_000
_MOST_BLOCKS = 50
_DAY_SECONDS = 86_400.0
_CALLS_EVERYBODY = re.compile(r"(?<![\w.+-])@(?=(?:channel|here|everyone|all)\b)", re.IGNORECASE)
"""In plain text; Mattermost and others that take the same JSON go by it."""
_LINK = re.compile(r"<([^|<>]+)\|([^<>]+)>")
_LOOK_AT_CHECKS = (
    "Every tenant is either ready or deliberately excluded. Next: look at what the check found, in Dagster beside its "
    "asset."
)
_UNREADABLE = "The ledger cannot be read, so nothing can be said about tenants. Next: check the registry's database."


@dataclass(frozen=True, slots=True)
class Alert:
    """One message: a headline, then paragraphs in Slack's mrkdwn, everything from outside escaped."""

    headline: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FailedCheck:
    """A check whose last evaluation failed.

    `description` says what should be true; `severe`: it is an error, not a warning; `figures` are the counts that it
    measured, by name; `run_id` is the run that evaluated it.
    """

    name: str
    description: str
    severe: bool
    figures: Mapping[str, int]
    run_id: str


@dataclass(frozen=True, slots=True)
class Reported:
    """What alerts said and no later one took back: check → figures, reason → tenants, and when (epoch seconds)."""

    checks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class FailedRun:
    """A run that failed; `causes` are pairs of a step, or None for the run itself, and why, in words of ours."""

    job: str
    run_id: str
    causes: tuple[tuple[str | None, str], ...]


def is_reminder_due(reported: Reported, now: float) -> bool:
    """Whether a day has passed since something that still fails was reported."""
    return bool(reported.checks) and now - reported.at >= _DAY_SECONDS


def news_of_checks(
    reported: Reported,
    failed: Sequence[FailedCheck],
    passed: Collection[str],
    lines: Sequence[TenantLine] | None,
    *,
    now: float,
    dagster_url: str | None,
) -> tuple[Alert | None, Reported]:
    """The message about checks, if there is something to tell, and what people know once it is out.

    News is a check that begins to fail or to pass, a reason that no alert had, a count that grew, and once a day
    that something still fails. A count that shrinks is none; a reason that no tenant has any more is forgotten.

    Args:
        reported: what people know.
        passed: names of the checks that pass now. One that is in neither was not evaluated, and stays as it was.
        lines: the tenants; None when the ledger cannot be read.
        now: epoch seconds.
    """
    reasons: dict[str, int] = {reason: len(found) for reason, found in by_reason(lines or ())} if failed else {}
    ended = sorted(reported.checks.keys() & set(passed))
    kept = {name: figures for name, figures in reported.checks.items() if name not in ended}
    if not failed:
        return (_all_clear(ended, kept) if ended else None), Reported(
            kept, reported.reasons if kept else {}, reported.at
        )
    current = {check.name: check.figures for check in failed}
    known = {reason: count for reason, count in reported.reasons.items() if reason in reasons or lines is None}
    grew = (
        any(name not in kept or _grew(kept[name], figures) for name, figures in current.items())
        or _grew(known, reasons)
        or is_reminder_due(Reported(kept, known, reported.at), now)
    )
    if grew:
        return _of_checks(failed, ended, lines, dagster_url), Reported(kept | current, reasons, now)
    return (_all_clear(ended, kept) if ended else None), Reported(kept, known, reported.at)


def of_run(run: FailedRun, lines: Sequence[TenantLine] | None, dagster_url: str | None) -> Alert:
    """The message about a run that failed; `lines` are the tenants, None when the ledger cannot be read."""
    causes = run.causes or ((None, "It ended without a word: its process may have been killed."),)
    shown = [f"{f'{escaped(step)}: ' if step else ''}{_cut(escaped(why), _LONGEST_CAUSE)}" for step, why in causes]
    more = len(shown) - _MOST_CAUSES
    return Alert(
        f"{escaped(run.job)} failed",
        (
            *shown[:_MOST_CAUSES],
            *([f"…and {more} more steps."] if more > 0 else []),
            *_of_tenants(lines),
            *_link(run.run_id, dagster_url),
        ),
    )


def payload(alert: Alert) -> dict[str, Any]:
    """The message as JSON for Slack, or for anything that reads at least its `text`; within Slack's limits."""
    headline = f"*{_cut(alert.headline, _LONGEST_BLOCK - 2)}*"
    shown = [headline, *(_cut(paragraph, _LONGEST_BLOCK) for paragraph in alert.paragraphs if paragraph)]
    if len(shown) > _MOST_BLOCKS:
        shown = [*shown[: _MOST_BLOCKS - 1], f"…and {len(shown) - _MOST_BLOCKS + 1} more paragraphs."]
    return {
        "text": _cut("\n".join([alert.headline, *alert.paragraphs]), _LONGEST_TEXT),
        # verbatim: otherwise Slack looks for addresses, channels and people in plain words, too
        "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}} for text in shown],
    }


def plain_text(alert: Alert) -> tuple[str, str]:
    """The same headline and paragraphs for places that know no mrkdwn."""
    texts = (alert.headline, "\n\n".join(alert.paragraphs))
    headline, body = (unescape(_LINK.sub(r"\2: \1", text)) for text in texts)
    return headline, body


def escaped(text: str) -> str:
    """Text from outside on one line, so that it makes no links, and no mentions that call everyone."""
    plain = unsteered(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(_CALLS_EVERYBODY.sub("@\u2060", plain).split())


def _grew(known: Mapping[str, int], now: Mapping[str, int]) -> bool:
    return any(count > known.get(name, 0) for name, count in now.items())


def _of_checks(
    failed: Sequence[FailedCheck], ended: Sequence[str], lines: Sequence[TenantLine] | None, dagster_url: str | None
) -> Alert:
    ordered = sorted(failed, key=lambda check: (not check.severe, check.name))
    names = ", ".join(escaped(check.name) for check in ordered)
    newest = ordered[0].run_id
    return Alert(
        f"{len(failed)} checks fail: {names}" if len(failed) > 1 else f"A check fails: {names}",
        (
            *(_of_check(check) for check in ordered),
            *([f"Passes again: {_names(ended)}."] if ended else []),
            *(_of_tenants(lines) or [_LOOK_AT_CHECKS]),
            *_link(newest, dagster_url),
        ),
    )


def _of_check(check: FailedCheck) -> str:
    kind = "error" if check.severe else "warning"
    figures = ", ".join(f"{escaped(name).replace('_', ' ')} {count}" for name, count in check.figures.items())
    should = f" Should be: {escaped(check.description)}" if check.description else ""
    return f"*{escaped(check.name)}* ({kind}{f'; {figures}' if figures else ''}).{should}"


def _all_clear(ended: Sequence[str], still: Collection[str]) -> Alert:
    if not still:
        return Alert("All clear: every check passes again", (f"{_names(ended)}.",))
    return Alert(f"Passes again: {_names(ended)}", (f"Still fails: {_names(sorted(still))}.",))


def _names(names: Sequence[str]) -> str:
    return ", ".join(escaped(name) for name in names)


def _of_tenants(lines: Sequence[TenantLine] | None) -> list[str]:
    if lines is None:
        return [_UNREADABLE]
    groups = by_reason(lines)
    shown = [_of_group(reason, [line.slug for line in found]) for reason, found in groups[:_MOST_GROUPS]]
    more = len(groups) - len(shown)
    return [*shown, *([f"…and {more} more reasons: `provisioning status` lists them all."] if more else [])]


def _of_group(reason: Reason, slugs: Sequence[str]) -> str:
    more = len(slugs) - _MOST_NAMED
    named = ", ".join(escaped(slug) for slug in slugs[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    tenants = "1 tenant" if len(slugs) == 1 else f"{len(slugs)} tenants"
    return f"*{reason}*, {tenants}: {named}\nNext: {escaped(next_step(reason))}"


def _link(run_id: str, dagster_url: str | None) -> list[str]:
    if dagster_url is None:
        return [f"Run {escaped(run_id)}"]
    address = f"{dagster_url}/runs/{run_id}".replace("&", "&amp;").replace("|", "%7C")
    return [f"<{address.replace('<', '%3C').replace('>', '%3E')}|Run {escaped(run_id[:8])}>"]


def _cut(text: str, most: int) -> str:
    # an entity that is cut in half would be shown as it is written
    return text if len(text) <= most else re.sub(r"&[a-z]{0,3}$", "", text[: most - 1]) + "…"
