"""Which tenants have moved: a registry row that the ledger knows by its id names another database now. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pandas as pd

from provisioning_pipeline.model.frames import LINKS, frame, records
from provisioning_pipeline.model.people import Claim

_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Moves:
    """What the registry's ids say about tenants whose database has another name now.

    Args:
        followed: database name by the ledger → the one that the same tenant's row names now.
        doubts: database name → why it is not known whose it is; tenants of these names stay as they are.
    """

    followed: Mapping[str, str] = field(default_factory=lambda: _NONE)
    doubts: Mapping[str, str] = field(default_factory=lambda: _NONE)

    @property
    def before(self) -> dict[str, str]:
        """Database name now → the one by the ledger."""
        return {new: old for old, new in self.followed.items()}

    def now(self, database_name: str) -> str:
        """What the tenant of this name is called now."""
        return self.followed.get(database_name, database_name)

    def of(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows of ours, by database name, as they will be once the ledger has followed."""
        return rows.assign(database_name=rows["database_name"].map(self.now)) if self.followed else rows

    def of_links(self, links: pd.DataFrame) -> pd.DataFrame:
        """Our links as they will be then: a name that was left keeps a row, which says for which one."""
        if not self.followed:
            return links
        taken = set(self.followed.values()) - self.followed.keys()
        names = [{"database_name": old, "slug": old, "left_for": new} for old, new in self.followed.items()]
        left = frame(LINKS, names)
        return pd.concat([self.of(links[~links["database_name"].isin(taken)]), left], ignore_index=True)

    def of_claims(self, claims: list[Claim]) -> list[Claim]:
        """The claims to organizations as they will be then."""
        if not self.followed:
            return claims
        return [
            replace(claim, database_name=self.now(claim.database_name)) if claim.database_name else claim
            for claim in claims
        ]


def moves_of(registry: pd.DataFrame, links: pd.DataFrame) -> Moves:
    """What has moved, by frames of `REGISTRY` and `LINKS`.

    A row whose name and id say the same is that tenant's. Where they disagree, the name is the stronger one, as a
    restored registry may have numbered its rows anew. So an id is followed only to a name that is no other tenant's and
    from a name that no row has any more; a mere number needs a second sign: slug, organization or workspace.
    """
    known = links[["registry_id", "database_name"]].dropna().drop_duplicates("registry_id", keep=False)
    there = registry.dropna(subset=["registry_id"]).drop_duplicates("registry_id", keep=False)
    both = there.merge(known, on="registry_id", suffixes=("", "_before"))
    moved = records(both[both["database_name"].fillna("") != both["database_name_before"]])
    new, lost = _new_rows(registry, links), _lost(registry, links)
    if not moved and (new.empty or lost.empty):
        return Moves()
    by_name = {str(row["database_name"]): row for row in records(links)}
    rows = {str(row["database_name"]): row for row in records(registry) if row["database_name"]}
    named = Counter(registry["database_name"].dropna())
    followed: dict[str, str] = {}
    doubts: dict[str, str] = {}
    for row in moved:
        before, name = str(row["database_name_before"]), str(row["database_name"] or "")
        found = _Move(row, by_name[before], by_name.get(name), rows.get(before), named[name])
        if found.is_sure:
            followed[before] = name
        doubts |= found.doubts
    missing = records(lost)
    for row in records(new) if missing else ():
        holder = by_name.get(str(row["database_name"]), {})
        again, unsure = _come_back(row, holder.get("left_for"), missing)
        followed |= again
        doubts |= unsure
    several = {new for new, count in Counter(followed.values()).items() if count > 1}
    # what one row leaves in doubt, no other one settles
    return Moves(
        {old: new for old, new in followed.items() if not {old, new} & doubts.keys() and new not in several}, doubts
    )


def _new_rows(registry: pd.DataFrame, links: pd.DataFrame) -> pd.DataFrame:
    """The rows of which the ledger knows neither name nor id."""
    tenants = links[links["workspace_id"].notna() | links["registry_id"].notna()]
    unknown = ~registry["database_name"].isin(set(tenants["database_name"]))
    by_id = registry["registry_id"].isin(set(links["registry_id"].dropna()))
    return registry[unknown & ~by_id & registry["database_name"].notna()]


def _lost(registry: pd.DataFrame, links: pd.DataFrame) -> pd.DataFrame:
    """The tenants with a workspace whose row is missing, by name and by id, which is not settled yet."""
    there = links["database_name"].isin(set(registry["database_name"]))
    by_id = links["registry_id"].isin(set(registry["registry_id"].dropna()))
    settled = links["registry_row_settled"] == True  # noqa: E712  # None too
    return links[links["workspace_id"].notna() & ~there & ~by_id & ~settled]


def _come_back(
    row: Mapping[str, Any], left_for: str | None, lost: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, str], dict[str, str]]:
    """What a new row followed, and what it leaves in doubt: it came as a tenant's row went, and is like that one's.

    Args:
        left_for: the tenant that once had the database of this row.
        lost: the tenants whose row is missing.
    """
    name = str(row["database_name"])
    same = [
        str(link["database_name"])
        for link in lost
        if row["workspace_id"] == link["workspace_id"] or (link["database_name"] == left_for and _agree(row, link))
    ]
    if len(same) == 1:
        return {same[0]: name}, {}
    doubts = {}
    for link in lost:
        if _agree(row, link) or link["database_name"] == left_for:
            before = str(link["database_name"])
            doubts[before] = doubts[name] = (
                f"The registry row of tenant {link['slug']} ({before}) is gone, and one with another id and database "
                f"{name} has come, which has the same slug or clerk_org_id: it may be the same tenant, so it gets no "
                "second workspace. Have the tenant manager write the tenant's workspace into the row as "
                f"twenty_workspace_id, if it is; or put the row of {before} back, run, and take it away again."
            )
    return {}, doubts


@dataclass(frozen=True, slots=True)
class _Move:
    """A row whose id is one tenant's by the ledger, and whose name is another one.

    Args:
        link: of the tenant that has the id.
        holder: the link of the name, if there is one.
        own: the row that has the tenant's name now, if there is one.
        rows: how many rows have the name of this one.
    """

    row: Mapping[str, Any]
    link: Mapping[str, Any]
    holder: Mapping[str, Any] | None
    own: Mapping[str, Any] | None
    rows: int

    @property
    def is_sure(self) -> bool:
        free = self.rows == 1 and self.own is None and not _is_a_tenant(self.holder)
        return free and (_is_unique(self.row["registry_id"]) or _agree(self.row, self.link))

    @property
    def doubts(self) -> dict[str, str]:
        """Database name → why it stays as it is."""
        before, name = str(self.link["database_name"]), str(self.row["database_name"] or "")
        if not name:
            return {before: f"{self._told} and names no database now. Have the tenant manager write one into it."}
        if self.is_sure:
            return {}
        if self.own is not None and not _is_a_tenant(self.holder):
            return self._beside_own_row(before, name)
        if self.holder is not None and _is_a_tenant(self.holder):
            if _agree(self.row, self.holder) and not _agree(self.row, self.link):
                return {}
            why = (
                f"{self._told} and names database {name} now, which is that of tenant {self.holder['slug']}. We give "
                "no tenant's workspace to another one, so both stay as they are. Have the tenant manager write each "
                "tenant's own database into its row; if they are to change places, let one of them have a name that "
                "no tenant has, and a run between."
            )
            return {before: why, name: why}
        what = "several rows name it" if self.rows > 1 else "nothing else in the row is that tenant's"
        why = (
            f"{self._told} and names database {name} now; but {what}, so we do not know whether it is the same "
            "tenant. Have the tenant manager write its slug or its clerk_org_id into the row again, or its database."
        )
        return {before: why, name: why}

    def _beside_own_row(self, before: str, name: str) -> dict[str, str]:
        """Another row has the tenant's name now: with its own signs in it, that one is the tenant's."""
        if self.own is None or not _agree(self.row, self.link):
            return {}
        why = (
            f"{self._told} and names database {name} now, while another row names {before}: which of the two is that "
            "tenant is not known. Have the tenant manager give each row its own slug and clerk_org_id."
        )
        return {name: why} if _agree(self.own, self.link) else {before: why, name: why}

    @property
    def _told(self) -> str:
        tenant = f"{self.link['slug']} ({self.link['database_name']})"
        return f"Registry row {self.row['registry_id']} was that of tenant {tenant}"


def _is_a_tenant(link: Mapping[str, Any] | None) -> bool:
    """Whether the ledger knows more of this name than that there was a database or a row."""
    return link is not None and bool(link["workspace_id"] or link["open_intent"] or link["registry_id"])


def _agree(row: Mapping[str, Any], link: Mapping[str, Any]) -> bool:
    """Whether anything besides name and id says that this row is this tenant's."""
    return any(row[name] and row[name] == link[name] for name in ("slug", "clerk_org_id", "workspace_id"))


def _is_unique(registry_id: str) -> bool:
    """Whether no other registry, and no restored one, gives this id to another row."""
    try:
        UUID(registry_id)
    except ValueError:
        return False
    return True
