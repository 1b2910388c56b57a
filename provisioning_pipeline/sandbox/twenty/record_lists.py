"""Lists of records on `/graphql`, for any object of the workspace, and the files in them.

As on 2.21.0, what is asked of a record is not checked against a schema: a field that it has not is null.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from graphql import FieldNode, SelectionSetNode, value_from_ast_untyped
from psycopg.sql import SQL
from starlette.responses import JSONResponse, Response

from provisioning_pipeline.sandbox.twenty.callers import require_workspace, role_of_caller, whole_schema
from provisioning_pipeline.sandbox.twenty.errors import TwentyError, permission_denied
from provisioning_pipeline.sandbox.twenty.execution import Answer, Document
from provisioning_pipeline.sandbox.twenty.members import view
from provisioning_pipeline.sandbox.twenty.objects import objects_of
from provisioning_pipeline.sandbox.twenty.runtime import Call, Runtime
from provisioning_pipeline.sandbox.twenty.store import Row, members_table

DEFAULT_PAGE = 200
FILE_SECONDS = 86_400.0


def asked_for(document: Document) -> FieldNode | None:
    """The one list that a document asks for with a filter; others are answered by the schema."""
    if document.operation is None or document.is_mutation:
        return None
    roots = document.operation.selection_set.selections
    root = roots[0] if len(roots) == 1 else None
    if not isinstance(root, FieldNode):
        return None
    return root if any(argument.name.value == "filter" for argument in root.arguments) else None


async def answer(call: Call, root: FieldNode, variables: Mapping[str, Any]) -> Answer:
    """The connection, or why not."""
    try:
        connection = await _connection(call, root, variables)
    except TwentyError as error:
        return Answer({"data": None, "errors": [error.as_entry()]})
    if connection is None:
        return Answer({"errors": [{"message": f'Cannot query field "{root.name.value}" on type "Query".'}]})
    assert root.selection_set is not None
    return Answer({"data": {root.name.value: _selected(connection, root.selection_set)}})


async def _connection(call: Call, root: FieldNode, variables: Mapping[str, Any]) -> Row | None:
    workspace = require_workspace(call)
    role = await role_of_caller(call)
    if role is None or not role["canReadAllObjectRecords"]:
        raise permission_denied()
    found = [each for each in await objects_of(call.db, workspace) if each["namePlural"] == root.name.value]
    if not found:
        return None
    given = {argument.name.value: _value(argument.value, variables) for argument in root.arguments}
    rows = await _rows(call, workspace, found[0], _has_deleted(given["filter"]))
    total = len(rows)
    order = given.get("orderBy") or []
    if any("updatedAt" in each for each in order):
        rows.sort(key=lambda row: row["updatedAt"], reverse=True)
    else:
        rows.sort(key=lambda row: str(row["id"]))
    after = given.get("after")
    if after:
        last = base64.b64decode(after).decode()
        rows = [row for row in rows if str(row["id"]) > last]
    page = rows[: given.get("first") or DEFAULT_PAGE]
    await _follow(call, workspace, found[0], root, page)
    edges = [{"node": row, "cursor": base64.b64encode(str(row["id"]).encode()).decode()} for row in page]
    ends = {"endCursor": edges[-1]["cursor"] if edges else None}
    return {"edges": edges, "totalCount": total, "pageInfo": {"hasNextPage": len(rows) > len(page), **ends}}


def _value(node: Any, variables: Mapping[str, Any]) -> Any:
    return value_from_ast_untyped(node, dict(variables))


def _has_deleted(wanted: Any) -> bool:
    """Twenty leaves out what is marked as deleted unless a filter speaks of that."""
    if isinstance(wanted, Mapping):
        return "deletedAt" in wanted or any(_has_deleted(inner) for inner in wanted.values())
    return isinstance(wanted, Sequence) and not isinstance(wanted, str) and any(_has_deleted(each) for each in wanted)


async def _rows(call: Call, workspace: Row, wanted: Row, deleted: bool) -> list[Row]:
    if wanted["nameSingular"] == "workspaceMember":
        table = members_table(await whole_schema(call.db, workspace))
        rows = [view(row) for row in await call.db.all(SQL("SELECT * FROM {}").format(table))]
    else:
        stored = await call.db.all(
            'SELECT id, data, "createdAt", "updatedAt", "deletedAt" FROM sandbox_twenty.record'
            ' WHERE "workspaceId" = %s AND object = %s',
            workspace["id"],
            wanted["nameSingular"],
        )
        rows = [{**row.pop("data"), **row} for row in stored]
    files = [field["name"] for field in wanted["fieldsList"] if field["type"] == "FILES"]
    return [_with_urls(call, row, files) for row in rows if deleted or row["deletedAt"] is None]


async def _follow(call: Call, workspace: Row, wanted: Row, root: FieldNode, page: list[Row]) -> None:
    """Fill in the records (here their ids alone) that are asked for through relations.

    Of one that is marked as deleted 2.21.0 answers null, and null for its id beside it; who asks for the id alone gets
    it (run on 2.21.0).
    """
    columns = {
        field["name"]: field["settings"]["joinColumnName"]
        for field in wanted["fieldsList"]
        if (field["settings"] or {}).get("relationType") == "MANY_TO_ONE"
    }
    asked = [node.name.value for node in _of_each(root) if node.selection_set and node.name.value in columns]
    if not asked:
        return
    members = members_table(await whole_schema(call.db, workspace))
    marked = await call.db.all(
        SQL(
            'SELECT id::text FROM {} WHERE "deletedAt" IS NOT NULL UNION '
            'SELECT id::text FROM sandbox_twenty.record WHERE "workspaceId" = %s AND "deletedAt" IS NOT NULL'
        ).format(members),
        workspace["id"],
    )
    deleted = {row["id"] for row in marked}
    for row in page:
        for name in asked:
            if row.get(columns[name]) in deleted:
                row[columns[name]] = None
            row[name] = {"id": row[columns[name]]} if row.get(columns[name]) else None


def _of_each(root: FieldNode) -> list[FieldNode]:
    """What is asked of each record of a list: below `edges` and `node`."""
    found = [root]
    for name in ("edges", "node"):
        below = [each for node in found if node.selection_set for each in node.selection_set.selections]
        found = [each for each in below if isinstance(each, FieldNode) and each.name.value == name]
    below = [each for node in found if node.selection_set for each in node.selection_set.selections]
    return [each for each in below if isinstance(each, FieldNode)]


def _with_urls(call: Call, row: Row, files: Sequence[str]) -> Row:
    """Each answer has other URLs, good for a day and for anyone (recorded on 2.21.0)."""
    runtime = call.runtime
    where = f"http://{runtime.options.public_host}:{runtime.port}/file/files-field"
    found = dict(row)
    for name in files:
        found[name] = [
            {**file, "url": f"{where}/{file['fileId']}?token={_file_token(call, file['fileId'])}"}
            for file in row.get(name) or []
        ]
    return found


def _file_token(call: Call, file_id: str) -> str:
    claims = {"type": "FILE", "fileId": file_id, "workspaceId": require_workspace(call)["id"]}
    return str(call.tokens.sign(claims, FILE_SECONDS)["token"])


def _selected(value: Any, wanted: SelectionSetNode) -> Any:
    if isinstance(value, list):
        return [_selected(each, wanted) for each in value]
    if not isinstance(value, Mapping):
        return None
    found = {}
    for node in wanted.selections:
        assert isinstance(node, FieldNode)
        inner = value.get(node.name.value)
        found[node.name.value] = _selected(inner, node.selection_set) if node.selection_set else _plain(inner)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z") if hasattr(value, "isoformat") else value


async def file_answer(runtime: Runtime, file: str, token: str | None) -> Response:
    """A file, to anyone who has its address."""
    try:
        claims = runtime.tokens.read(token or "")
    except TwentyError:
        claims = {}
    if claims.get("fileId") != file:
        return JSONResponse({"message": "Forbidden resource", "error": "Forbidden", "statusCode": 403}, status_code=403)
    row = await runtime.db.one("SELECT content FROM sandbox_twenty.file WHERE id::text = %s", file)
    if row is None:
        gone = {"statusCode": 404, "error": "Error", "messages": ["File not found"], "code": "FILE_NOT_FOUND"}
        return JSONResponse(gone, status_code=404)
    return Response(bytes(row["content"]), media_type="text/plain")
