"""Whose login is proved next: every admin, and of the others those about whose logins we know least."""

from typing import Final

import pandas as pd

from provisioning_pipeline.model.frames import Columns

CANDIDATES: Final[Columns] = ("database_name", "twenty_user_id", "email", "is_admin")
"""Members of tenants who can be logged in as, each once per tenant; with the Twenty account's e-mail in lower case."""

LAST_PROOFS: Final[Columns] = ("database_name", "twenty_user_id", "proved_at", "completed")
"""The last real login of each member, each once per tenant; `completed`: they came in and saw no wizard."""

_PERSON = ["database_name", "twenty_user_id"]


def sample(members: pd.DataFrame, proofs: pd.DataFrame, size: int) -> pd.DataFrame:
    """Every admin, and per tenant `size` other members: who was never proved first, then the longest ago.

    Ties go by user id, so the same facts give the same sample; repeated, it goes round all members.

    Args:
        members: columns of `CANDIDATES`.
        proofs: columns of `LAST_PROOFS`, of these members and of any others.
        size: how many of each tenant besides its admin.

    Returns:
        Rows of `members`, by tenant and user id.
    """
    last = proofs[[*_PERSON, "proved_at"]].assign(proved_at=pd.to_datetime(proofs["proved_at"], utc=True))
    rows = members.merge(last, on=_PERSON, how="left")
    admin = rows["is_admin"].astype(bool)
    others = rows[~admin].sort_values(["database_name", "proved_at", "twenty_user_id"], na_position="first")
    turn = others.groupby("database_name").cumcount()
    return _in_order(pd.concat([rows[admin], others[turn < size]])[list(CANDIDATES)])


def to_prove(members: pd.DataFrame, proofs: pd.DataFrame, size: int) -> pd.DataFrame:
    """The sample, and all members whose last login failed: until they come in their tenant is not ready."""
    failed = proofs[~proofs["completed"].astype(bool)][_PERSON]
    chosen = pd.concat([sample(members, proofs, size), members.merge(failed, on=_PERSON)])
    return _in_order(chosen.drop_duplicates(_PERSON))


def _in_order(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values(_PERSON).reset_index(drop=True)
