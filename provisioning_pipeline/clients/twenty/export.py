"""Reads everything that a workspace holds: its objects, their records page by page, and the files in them."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter

from provisioning_pipeline.clients.transport import Effect
from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.accounts import WorkspaceAddress
from provisioning_pipeline.clients.twenty.client import TwentyClient
from provisioning_pipeline.clients.twenty.objects import ALL_ROWS, NEWEST, RecordObject, object_of
from provisioning_pipeline.clients.twenty.operation import Answer, Id, Operation, Text
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind

PAGE: Final = 500
"""Records in one answer; 2.21.0 was seen to answer 10,000 in one."""
Record = Mapping[str, Any]


class _PageInfo(Answer):
    has_next_page: bool
    end_cursor: Text | None


class _Edge(Answer):
    node: dict[str, Any]


class _Page(Answer):
    total_count: Annotated[int, Field(ge=0)]
    page_info: _PageInfo
    edges: list[_Edge]


class _Newest(Answer):
    id: Id
    updated_at: Text | None


class _NewestEdge(Answer):
    node: _Newest


class _Count(Answer):
    total_count: Annotated[int, Field(ge=0)]
    edges: list[_NewestEdge]


def _page_of(wanted: RecordObject) -> Operation[_Page]:
    """Asks for the records after a cursor, in the order of their ids."""
    return Operation(
        wanted.plural,
        Effect.READ,
        {"first": "Int!", "after": "String"},
        f"first: $first, after: $after, orderBy: [{{id: AscNullsFirst}}], filter: {ALL_ROWS}",
        f"{{ totalCount pageInfo {{ hasNextPage endCursor }} edges {{ node {{ {wanted.selection} }} }} }}",
        needed=False,
        kind="query",
        records=True,
        answer=TypeAdapter(_Page),
    )


def _count_of(wanted: RecordObject) -> Operation[_Count]:
    """Asks how many records there are, and when one was changed last."""
    return Operation(
        wanted.plural,
        Effect.READ,
        arguments=f"first: 1, orderBy: [{{{NEWEST}: DescNullsLast}}], filter: {ALL_ROWS}",
        selection=f"{{ totalCount edges {{ node {{ id {NEWEST} }} }} }}",
        needed=False,
        kind="query",
        records=True,
        answer=TypeAdapter(_Count),
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """How many records an object has, deleted ones counted, and when one of them was changed last.

    Twenty's `objectRecordCounts` are estimates of PostgreSQL's, 0 in a young workspace (2.21.0): they prove nothing.
    """

    count: int
    newest: str | None


@dataclass(frozen=True, slots=True)
class WorkspaceReader:
    """One workspace, read as the service account."""

    client: TwentyClient
    address: WorkspaceAddress

    async def objects(self) -> tuple[RecordObject, ...]:
        """Every object of the workspace, standard or not, active or not, in the order of their names.

        Raises:
            Fault: also when Twenty names no object at all, or more than fit into one answer.
        """
        found = await self.client.call_in(self.address, operations.OBJECTS)
        if found.page_info.has_next_page or not found.edges:
            why = "more objects than it answers at once" if found.edges else "no objects at all"
            raise Fault(
                FaultKind.TENANT,
                Reason.EXPORT_INCOMPLETE,
                f"{self.client.system} names {why} in workspace {self.address.workspace_id}, so nothing of it was "
                "exported.",
            )
        return tuple(sorted((object_of(edge.node) for edge in found.edges), key=lambda found: found.name))

    async def standing(self, wanted: RecordObject) -> Standing:
        """How many records the object has now."""
        found = await self.client.call_in(self.address, _count_of(wanted))
        return Standing(found.total_count, found.edges[0].node.updated_at if found.edges else None)

    async def pages(self, wanted: RecordObject) -> AsyncIterator[list[Record]]:
        """Its records in the order of their ids, deleted ones too, a page at a time."""
        operation, after = _page_of(wanted), None
        while True:
            page = await self.client.call_in(self.address, operation, {"first": PAGE, "after": after})
            yield [edge.node for edge in page.edges]
            if not page.page_info.has_next_page:
                return
            if not page.edges or page.page_info.end_cursor in (None, after):
                raise Fault(
                    FaultKind.TRANSIENT,
                    Reason.SERVER_ERROR,
                    f"{self.client.system} says that there are more {wanted.plural} in workspace "
                    f"{self.address.workspace_id}, and not where they begin; the next run tries again.",
                )
            after = page.page_info.end_cursor

    async def download(self, path: str, write: Callable[[bytes], object]) -> bool:
        """Write a file of the workspace, by the address that a record just gave; False: Twenty has no such file.

        Raises:
            Fault: when Twenty answers otherwise.
        """
        status = await self.client.download(path, write)
        if status in (200, 404):
            return status == 200
        raise Fault(
            FaultKind.TRANSIENT,
            Reason.SERVER_ERROR,
            f"{self.client.system} answers HTTP {status} for a file of workspace {self.address.workspace_id}. Its "
            "file storage may be away; the next run tries again.",
        )
