"""At which revision the ledger of a database is, and whether this version of the program can work on it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from psycopg.errors import InsufficientPrivilege, UndefinedTable

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import BadInput, Fault, FaultKind

SCHEMA = "provisioning"
HEAD = "0016"
"""The revision that this code works with; a test compares it with Alembic's own head."""
OTHER_TABLES: Final = """
SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('provisioning') AND relkind = 'r'
AND relname <> 'alembic_version' LIMIT 1
"""
"""A row when the schema holds more than the table that says at which revision it is."""
_KNOWN = frozenset(f"{number:04}" for number in range(1, int(HEAD) + 1))
_later_is_fine: ContextVar[bool] = ContextVar("later_is_fine", default=False)


class OtherLedger(BadInput):
    """The ledger is none that this version of the program can work on; the text says which and what to do."""


@contextmanager
def beside_later_versions() -> Iterator[None]:
    """Go on with a ledger that a later version has updated meanwhile, as a server does that was started before.

    Migrations only add: what this version reads and writes stays where it is. A run does not go on so, because it would
    decide by another version than the ledger's.
    """
    token = _later_is_fine.set(True)
    try:
        yield
    finally:
        _later_is_fine.reset(token)


def registry_refused(message: str) -> Fault:
    """What is in the way in the registry's database, which a person has to put right."""
    return Fault(FaultKind.SERVER, Reason.REGISTRY_REFUSED, message)


async def revision(database: Database) -> str | None:
    """The revision of the ledger in this database, or None when there is no ledger yet.

    Raises:
        OtherLedger: when this version cannot work on it, nor bring it up to date.
    """
    try:
        return (await _state(database))[0]
    except UndefinedTable:
        return None


async def _state(database: Database) -> tuple[str | None, bool]:
    """The revision, and whether the newest table is there."""
    try:
        rows = await database.fetch(
            "SELECT version_num, to_regclass('provisioning.webhook_delivery') IS NOT NULL AS whole "
            "FROM provisioning.alembic_version"
        )
    except InsufficientPrivilege as error:
        (role,) = await database.fetch("SELECT quote_ident(current_user) AS name")
        raise registry_refused(
            f"Our user may not read the ledger in {database.where}, because schema {SCHEMA} belongs to another role. "
            f"Have its owner run: GRANT USAGE, CREATE ON SCHEMA {SCHEMA} TO {role['name']}; "
            f"GRANT ALL ON ALL TABLES IN SCHEMA {SCHEMA} TO {role['name']}; "
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {SCHEMA} TO {role['name']}."
        ) from error
    found = [str(row["version_num"]) for row in rows]
    if not found and not await database.fetch(OTHER_TABLES):
        return None, False
    must_be_known(found, database.where)
    return found[0], bool(rows[0]["whole"])


def must_be_known(found: Sequence[str], where: str) -> None:
    """Refuse revisions that this version cannot bring up to date. Raises OtherLedger."""
    if not found:
        raise OtherLedger(
            f"The ledger in {where} has no revision ({SCHEMA}.alembic_version is empty): it was restored in part. "
            f"Restore the schema {SCHEMA} whole."
        )
    if len(found) > 1:
        raise OtherLedger(
            f"The ledger in {where} is at several revisions ({', '.join(sorted(found))}), so two versions of this "
            f"program have changed it. Restore the schema {SCHEMA} from before that."
        )
    (only,) = found
    if only in _KNOWN or (only.isdecimal() and _later_is_fine.get()):
        return
    made = "made by a later version of this program" if only.isdecimal() else "not made by this program"
    raise OtherLedger(
        f"The ledger in {where} is at revision {only}, and this version knows none after {HEAD}: it was {made}. "
        "Nothing was changed. Install the version that the rest of your processes run."
    )


async def has_ledger(database: Database) -> bool:
    """Whether the ledger's tables are there.

    Raises:
        Fault: when they are those of an earlier version of this program, or not all there.
        OtherLedger: as `revision`.
    """
    try:
        found, whole = await _state(database)
    except UndefinedTable:
        return False
    if found is not None and found < HEAD:
        raise registry_refused(
            f"The ledger in {database.where} was made by an earlier version of this program. Run `provisioning "
            "migrate`: it keeps everything that is there."
        )
    if found is not None and not whole:
        raise registry_refused(
            f"The ledger in {database.where} says that it is at revision {found}, but lacks tables of it: it was "
            f"restored in part. Restore the schema {SCHEMA} whole, then run `provisioning migrate`."
        )
    return found is not None
