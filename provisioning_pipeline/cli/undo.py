"""Shows what a run removed by SQL, asks, and puts it back."""

import asyncio
import json
from typing import Any

from provisioning_pipeline.cli.exits import ALL_READY, SOME_UNWELL, agreed, run_to_an_end
from provisioning_pipeline.cli.terminal import Terminal, plain, progress_bar, say_json
from provisioning_pipeline.ledger.inspections import ONBOARDING_TABLE, WORKSPACE_TABLE, RemovedRow
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.tasks.undo import Fate, Undoable, Undone, removed_rows
from provisioning_pipeline.tasks.undo import undo as put_back

_MOST_ROWS = 60


def undo_and_show(settings: Settings, run_id: str, *, yes: bool, as_json: bool) -> int:
    """Show the rows, ask, put them back and show what became of them; the exit code.

    With `as_json` only one object on standard output.

    Raises:
        UnknownRun: when there was no such run, or several.
        typer.Exit: when there is no terminal to ask at.
    """
    undoable = asyncio.run(removed_rows(settings, run_id))
    console = Terminal(stderr=as_json)
    if not undoable.rows:
        sentence = f"Run {undoable.run_id} removed no row by SQL, so there is nothing to put back."
        if undoable.restored:
            again = undoable.removed_again_by
            sentence = f"What run {undoable.run_id} removed by SQL ({undoable.restored} rows) was put back already."
            sentence += f" If rows are gone again, a later run removed them: undo that one, {again}." if again else ""
        _end(undoable, Undone(()), as_json=as_json, sentence=sentence)
        return ALL_READY
    if not (as_json and yes):
        _show_rows(console, undoable)
    console.print(_warning(settings, undoable), style="yellow", soft_wrap=True)
    count = len(undoable.rows)
    if not (yes or agreed(f"Put {'this row' if count == 1 else f'these {count} rows'} back?", undone="put back")):
        _end(undoable, Undone(()), as_json=as_json, sentence="Nothing was put back.")
        return ALL_READY
    with progress_bar(quiet=as_json) as bar:
        task = bar.add_task("putting back", total=count)
        undone = run_to_an_end(put_back(settings, undoable.run_id, lambda _: bar.update(task, advance=1)))
    counts = ", ".join(f"{undone.count(fate)} {fate}" for fate in Fate)
    _end(undoable, undone, as_json=as_json, sentence=f"{counts[:1].upper()}{counts[1:]}.")
    return SOME_UNWELL if undone.count(Fate.NOT_PUT_BACK) else ALL_READY


def _warning(settings: Settings, undoable: Undoable) -> str:
    """That the next run does it again, and the setting that keeps it from that."""
    sentences = []
    if any(row.server for row in undoable.rows):
        sentences.append("The next run removes the rows of Twenty servers again.")
    own = [row for row in undoable.rows if not row.server]
    if any(row.table_name == ONBOARDING_TABLE for row in own):
        sentences.append(
            "PROVISIONING_TENANT_DATABASES is report here, so the next run from here leaves rows in tenants' own "
            "databases alone; runs with another setting, such as a daemon's, remove them again."
            if settings.tenant_databases == "report"
            else "The next run removes the rows of tenants' own databases again, unless "
            "PROVISIONING_TENANT_DATABASES=report is set."
        )
    if settings.mend_hand_made and any(row.table_name == WORKSPACE_TABLE for row in own):
        sentences.append(
            "The next run sets the workspaces to ACTIVE again, unless PROVISIONING_MEND_HAND_MADE=false is set."
        )
    return " ".join(sentences)


def _show_rows(console: Terminal, undoable: Undoable) -> None:
    """Two lines per row. Nothing is wrapped, so that ids can be copied."""
    shown: list[tuple[str, ...]] = [("", "tenant", "where", "key", "value", "removed at")]
    shown += [
        (
            f"{number}.",
            undoable.tenant(row),
            row.server or "own database",
            _short_key(row),
            json.dumps(_shown(row)["value"]),
            f"{row.removed_at:%Y-%m-%d %H:%M}" + ("" if row.certain else " (perhaps)"),
        )
        for number, row in enumerate(undoable.rows[:_MOST_ROWS], 1)
    ]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = [
        plain("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
        for cells in shown
    ]
    indent = " " * (widths[0] + 2)
    console.print(f"[dim]{lines[0]}[/]", soft_wrap=True, highlight=False)
    for line, row in zip(lines[1:], undoable.rows, strict=False):
        facts = _shown(row)
        whose = "  ".join(f"{name} {facts[name]}" for name in ("user", "workspace") if facts[name])
        console.print(f"{line}\n[dim]{indent}{plain(whose)}[/]", soft_wrap=True, highlight=False)
    if len(undoable.rows) > _MOST_ROWS:
        console.print(f"[dim]…and {len(undoable.rows) - _MOST_ROWS} more.[/]")


def _short_key(row: RemovedRow) -> str:
    return str(_shown(row)["key"]).removeprefix("ONBOARDING_").removesuffix("_PENDING")


def _shown(row: RemovedRow) -> dict[str, Any]:
    """What of a row is for people; the rest of a workspace's row is not."""
    where = f"server {row.server}" if row.server else f"database {row.database_name}"
    if row.table_name == WORKSPACE_TABLE:
        status = row.row.get("activationStatus")
        return {"where": where, "key": "activationStatus", "user": None, "workspace": row.row_id, "value": status}
    return {
        "where": where,
        "key": row.row.get("key"),
        "user": row.row.get("userId"),
        "workspace": row.row.get("workspaceId"),
        "value": row.row.get("value"),
    }


def _end(undoable: Undoable, undone: Undone, *, as_json: bool, sentence: str) -> None:
    if as_json:
        say_json(_as_json(undoable, undone, sentence))
        return
    console = Terminal()
    numbers = {row.id: number for number, row in enumerate(undoable.rows, 1)}
    for done in undone.rows:
        if done.fate is not Fate.PUT_BACK:
            colour = "red" if done.fate is Fate.NOT_PUT_BACK else "dim"
            what = (
                f"{undoable.tenant(done.row)}, {_short_key(done.row)}, row {done.row.row_id}: {done.fate}: {done.why}"
            )
            # a run that is still at work may have removed more since they were shown
            number = f"{numbers[done.row.id]}. " if done.row.id in numbers else ""
            console.print(f"[{colour}]{plain(number + what)}[/]", soft_wrap=True)
    console.print(f"[bold]{plain(sentence)}[/]", soft_wrap=True)


def _as_json(undoable: Undoable, undone: Undone, sentence: str) -> dict[str, Any]:
    return {
        "run_id": undoable.run_id,
        "verdict": sentence,
        "rows": {str(fate): undone.count(fate) for fate in Fate},
        "told": [
            {
                "tenant": undoable.tenant(done.row),
                "database_name": done.row.database_name,
                "row_id": done.row.row_id,
                **_shown(done.row),
                "removed_at": done.row.removed_at.isoformat(),
                "fate": done.fate,
                "why": done.why,
            }
            for done in undone.rows
        ],
    }
