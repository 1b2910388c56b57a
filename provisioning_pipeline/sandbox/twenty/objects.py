"""What a workspace's records are made of: its objects with their fields, as 2.21.0 describes a part of its own.

The real one has more fields. Those here are of every type that it has, with the names that it gives them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ariadne import QueryType
from graphql import GraphQLResolveInfo

from provisioning_pipeline.sandbox.twenty.callers import require_settings_permission, require_workspace
from provisioning_pipeline.sandbox.twenty.creation import STANDARD_OBJECTS
from provisioning_pipeline.sandbox.twenty.runtime import call_of
from provisioning_pipeline.sandbox.twenty.store import Row, Session

query = QueryType()

_PLURALS = {
    "company": "companies",
    "opportunity": "opportunities",
    "person": "people",
    "timelineActivity": "timelineActivities",
}
_COMMON = "id:UUID createdAt:DATE_TIME updatedAt:DATE_TIME deletedAt:DATE_TIME createdBy:ACTOR updatedBy:ACTOR"
_OWN: Mapping[str, str] = {
    "attachment": "name:TEXT file:FILES target:>company,person,note",
    "company": "name:TEXT domainName:LINKS address:ADDRESS employees:NUMBER accountOwner:>workspaceMember people:<",
    "note": "title:TEXT bodyV2:RICH_TEXT noteTargets:<",
    "noteTarget": "note:>note target:>company,person",
    "opportunity": "name:TEXT amount:CURRENCY closeDate:DATE_TIME stage:SELECT company:>company",
    "person": "name:FULL_NAME emails:EMAILS phones:PHONES jobTitle:TEXT company:>company",
    "task": "title:TEXT bodyV2:RICH_TEXT dueAt:DATE_TIME status:SELECT assignee:>workspaceMember",
    "workflowVersion": "name:TEXT trigger:RAW_JSON steps:RAW_JSON",
    "workspaceMember": "name:FULL_NAME userEmail:TEXT userId:UUID locale:TEXT colorScheme:TEXT timeZone:TEXT",
}
_FURTHER = "position:POSITION searchVector:TS_VECTOR"


def _field(name: str, type_: str) -> Row:
    """A field; `>a` leads to one object, `>a,b` to one of several, and `<` is the other end of such a relation."""
    field: Row = {"name": name, "type": type_, "settings": None, "morphRelations": None}
    if type_ == "<":
        return field | {"type": "RELATION", "settings": {"relationType": "ONE_TO_MANY"}}
    if type_.startswith(">"):
        targets = type_[1:].split(",")
        several = len(targets) > 1
        column = f"{name}{targets[0].capitalize()}Id" if several else f"{name}Id"
        settings = {"relationType": "MANY_TO_ONE", "joinColumnName": column, "onDelete": "CASCADE"}
        morph = [{"targetObjectMetadata": {"nameSingular": target}} for target in targets] if several else None
        return field | {
            "type": "MORPH_RELATION" if several else "RELATION",
            "settings": settings,
            "morphRelations": morph,
        }
    return field


def fields(described: str) -> list[Row]:
    """The fields of an object: those that every object has, and its own as `name:TYPE`."""
    words = f"{_COMMON} {described} {_FURTHER}".split()
    return [_field(name, type_) for name, _, type_ in (word.partition(":") for word in words)]


async def objects_of(db: Session, workspace: Row) -> list[Row]:
    """Every object of a workspace: the standard ones, and those that were added to `sandbox_twenty.object`."""
    names: Sequence[Row] = await db.all(
        'SELECT "nameSingular", "isActive" FROM core."objectMetadata" WHERE "workspaceId" = %s ORDER BY 1',
        workspace["id"],
    )
    standard = [
        {
            "nameSingular": row["nameSingular"],
            "namePlural": _PLURALS.get(row["nameSingular"], f"{row['nameSingular']}s"),
            "isActive": row["isActive"],
            "fieldsList": fields(_OWN.get(row["nameSingular"], "name:TEXT")),
        }
        for row in names
        if row["nameSingular"] in STANDARD_OBJECTS
    ]
    own = await db.all(
        'SELECT "nameSingular", "namePlural", "isActive", fields FROM sandbox_twenty.object WHERE "workspaceId" = %s',
        workspace["id"],
    )
    return [*standard, *({**row, "fieldsList": fields(row.pop("fields"))} for row in own)]


@query.field("objects")
async def objects(_: None, info: GraphQLResolveInfo, **_arguments: Any) -> Row:
    call = call_of(info)
    workspace = require_workspace(call)
    await require_settings_permission(call)
    found = await objects_of(call.db, workspace)
    return {"edges": [{"node": each} for each in found], "pageInfo": {"hasNextPage": False}}
