"""Clerk and the Twenty servers as they were read at one time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.frames import HALF_MEMBERS, frame


@dataclass(frozen=True)
class ClerkSnapshot:
    """Clerk at one time; its lists are read one beside the other, so that one may know somebody whom another does not.

    Args:
        organizations, memberships, users: ORGANIZATIONS, MEMBERSHIPS, CLERK_USERS.
        asked: the organizations whose members were read; None: those of the whole instance.
        unread: organization id → why its members could not be read; there are no rows of it in `memberships`.
        fault: why nothing could be read at all.
        doubt: why the reading is not proved whole; then nobody may be removed by it.
    """

    organizations: pd.DataFrame
    memberships: pd.DataFrame
    users: pd.DataFrame
    asked: frozenset[str] | None
    unread: Mapping[str, Fault] = field(default_factory=dict)
    fault: Fault | None = None
    doubt: str | None = None


@dataclass(frozen=True)
class TwentySnapshot:
    """All servers at one time; the frames are those of `model.frames`.

    Args:
        service_users: server → user ids of our account there.
        deleted_in_use: server → workspaces that are marked as deleted although they have members.
        lost_accounts: servers on which our account was deleted, with its last workspace.
        half_members: empty before `with_half_members`.
        unreadable: server → how many workspaces there have member records that we may not read.
    """

    servers: pd.DataFrame
    workspaces: pd.DataFrame
    flags: pd.DataFrame
    members: pd.DataFrame
    users: pd.DataFrame
    service_users: Mapping[str, tuple[str, ...]]
    service_access: pd.DataFrame
    invitations: pd.DataFrame
    deleted_in_use: Mapping[str, Sequence[Mapping[str, Any]]]
    lost_accounts: frozenset[str]
    half_members: pd.DataFrame = field(default_factory=lambda: frame(HALF_MEMBERS, []))
    unreadable: Mapping[str, int] = field(default_factory=dict)
