"""What every member of a fleet would see on opening their workspace: outer joins over frames.

The rows of each level become one small table, and each is joined to the members once. What is seen is then told once
for each combination of pending steps, of which there are few, and never member by member.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import pandas as pd

from provisioning_pipeline.model.frames import MEMBER_STATUSES, records
from provisioning_pipeline.model.onboarding import Flag, Level, seen_with

_WORKSPACE: Final = ["server", "workspace_id"]
_JOINED_BY: Final = {
    Level.WORKSPACE: _WORKSPACE,
    Level.USER: ["server", "user_id"],
    Level.USER_AND_WORKSPACE: [*_WORKSPACE, "user_id"],
}


def member_statuses(workspaces: pd.DataFrame, members: pd.DataFrame, flags: pd.DataFrame) -> pd.DataFrame:
    """One row per member of every workspace that is not deleted; columns of `MEMBER_STATUSES`.

    Args:
        workspaces, members, flags: frames with the columns of `WORKSPACES`, `TWENTY_MEMBERS` and `FLAGS`.
    """
    whole = workspaces[~workspaces["deleted"].eq(True)]
    places = members[[*_WORKSPACE, "user_id"]].merge(whole[[*_WORKSPACE, "activation_status"]], on=_WORKSPACE)
    pending = _pending(places, flags)
    met = pd.concat([places, pending], axis=1)
    told_by = ["activation_status", *pending.columns]
    cases = _told(met[told_by].drop_duplicates(), list(pending.columns))
    told = met.merge(cases, on=told_by, how="left")
    return told[list(MEMBER_STATUSES)].astype(object)


def _pending(places: pd.DataFrame, flags: pd.DataFrame) -> pd.DataFrame:
    """For each place and each key that any row has: whether that step is pending there."""
    by_level: dict[Level, list[tuple[Any, ...]]] = {level: [] for level in Level}
    for row in records(flags):
        flag = Flag(row["key"], row["user_id"], row["workspace_id"], row["value"])
        if flag.is_step and flag.level is not None:
            by_level[flag.level].append((*(row[name] for name in _JOINED_BY[flag.level]), flag.key, flag.value is True))
    keys = sorted({row[-2] for rows in by_level.values() for row in rows})
    own, of_user, of_workspace = (_said(places, level, by_level[level], keys) for level in reversed(Level))
    # wider levels only say what narrower ones left open
    return own.fillna(of_user).fillna(of_workspace).fillna(False).astype(bool)


def _said(places: pd.DataFrame, level: Level, rows: Iterable[tuple[Any, ...]], keys: Sequence[str]) -> pd.DataFrame:
    """What the rows of one level say at each place about each key; missing where they say nothing."""
    by = _JOINED_BY[level]
    wide: dict[tuple[Any, ...], dict[str, bool]] = {}
    for row in rows:
        wide.setdefault(row[: len(by)], {}).setdefault(row[-2], row[-1])
    table = pd.DataFrame([(*at, *map(said.get, keys)) for at, said in wide.items()], columns=[*by, *keys], dtype=object)
    return places[by].merge(table, on=by, how="left")[list(keys)].astype("boolean").set_axis(places.index)


def _told(cases: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """The cases with what is seen in each."""
    rows = []
    for case in records(cases):
        pending = tuple(key for key in keys if case[key])
        seen = seen_with(pending, case["activation_status"])
        rows.append((seen.status, pending, seen.unknown))
    told = pd.DataFrame(rows, columns=["status", "keys", "unknown"], index=cases.index, dtype=object)
    return pd.concat([cases, told], axis=1)
