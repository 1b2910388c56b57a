"""The offboarding of a tenant: how far it is, and what is left once it is over."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Order(StrEnum):
    """What an operator asked for by hand, of the tenants that they named."""

    ARCHIVE = "archive"
    DELETE = "delete"
    UNDO = "undo"


class Stage(StrEnum):
    """What is proved of an offboarding, by the name of its column, in this order."""

    ARCHIVED = "archived_at"
    DELETE_BEGUN = "delete_begun_at"
    EXPORTED = "exported_at"
    MEMBERS_REMOVED = "members_removed_at"
    WORKSPACE_DELETED = "workspace_deleted_at"
    ORGANIZATION_CLEARED = "organization_cleared_at"


@dataclass(frozen=True, slots=True)
class Begun:
    """An offboarding as it begins; as `Offboarding`."""

    database_name: str
    slug: str
    clerk_org_id: str | None
    server: str
    workspace_id: str
    why: str
    policy: str
    run_id: str


@dataclass(frozen=True, slots=True)
class Return:
    """An offboarding that ends before its workspace is deleted: the tenant is back, or an operator says so, by hand."""

    database_name: str
    workspace_id: str
    by_hand: bool


@dataclass(frozen=True, slots=True)
class Offboarding:
    """One tenant's offboarding. Without a time a stage was not reached; with `gone_at` it is over, for ever.

    Args:
        why: what asked for it, as a sentence.
        policy: how far it goes, in the words of the settings.
        export_counts: object → records.
        taken_back_at: an operator ended it by hand; an end without it came with the registry's row.
    """

    database_name: str
    slug: str
    clerk_org_id: str | None
    server: str
    workspace_id: str
    why: str
    policy: str
    begun_at: datetime
    run_id: str
    archived_at: datetime | None = None
    delete_begun_at: datetime | None = None
    export_path: str | None = None
    exported_at: datetime | None = None
    export_counts: Mapping[str, int] | None = None
    members_removed_at: datetime | None = None
    workspace_deleted_at: datetime | None = None
    organization_cleared_at: datetime | None = None
    gone_at: datetime | None = None
    undone_at: datetime | None = None
    taken_back_at: datetime | None = None

    def reached(self, stage: Stage) -> bool:
        return getattr(self, stage) is not None

    @property
    def is_under_way(self) -> bool:
        """It was approved and begun, and has neither ended nor been taken back."""
        return self.gone_at is None and self.undone_at is None

    @property
    def is_over(self) -> bool:
        """The workspace is deleted, and no operator lets the tenant begin anew."""
        return self.gone_at is not None and self.undone_at is None

    @property
    def exported_for_deletion(self) -> bool:
        """The export is not older than the decision to delete, so nothing came after it that it lacks."""
        return (
            self.exported_at is not None
            and self.delete_begun_at is not None
            and self.exported_at >= self.delete_begun_at
        )
