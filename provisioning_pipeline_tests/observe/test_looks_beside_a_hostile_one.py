"""Three tenants, one of which writes what it likes: the others are looked at rightly, and its own look is a look."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.clients.tenant_catalogue import MEMBERS, READ
from provisioning_pipeline.ledger import schema
from provisioning_pipeline.ledger.inspections import InsertedWorkspaces
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.tenant_database import Inspection
from provisioning_pipeline.observe.snapshots import inspect_databases
from provisioning_pipeline.sandbox.hand_made import INVITE_TEAM, insert_onboarding, insert_workspace
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.twenty import core_sql
from provisioning_pipeline.steps.databases.plan.take_over import TakeOverPolicy
from provisioning_pipeline.steps.databases.plan.tenant_databases import DatabasePolicy, PeopleOfDatabase, with_databases
from provisioning_pipeline_tests.clients.tenant import ANN, BOB
from provisioning_pipeline_tests.decide.facts import find, plans, row, workspace

AT = datetime(2026, 1, 1, tzinfo=UTC)
FIRST, SECOND, THIRD, PLAIN, LEDGER = (f"beside_{name}" for name in ("first", "second", "third", "plain", "ledger"))
POLICY = DatabasePolicy(
    "repair",
    everyone=True,
    mend=True,
    take_over=TakeOverPolicy(domains=frozenset({"acme.example"})),
    default_role="Member",
)

ID = b"11111111-1111-4111-8111-111111111111"
_WORDS = (
    *(ID, ID, ID, b"{11111111-1111-4111-8111-111111111111}", b"1", b"", b"x" * 70_000, b"\\N", b"a\tb\\", b"core"),
    *(b"ONBOARDING_X_PENDING", b"USER_VARIABLE", b"PENDING_CREATION", b"a@acme.example", b"true", b"\xff\xfe"),
    *("\u202egnp\x1b]0;x\x07".encode(), "\ud800".encode("utf-8", "surrogatepass"), b"\xc0\x80"),
)
_OF_TYPES = {
    "jsonb": (
        *("'true'", "'false'", "'null'", "'\"true\"'", "'1e131071'", "'{\"a\": [true]}'", "repeat('9', 5000)::jsonb"),
        "(repeat('[', 1500) || repeat(']', 1500))::jsonb",
    ),
    "json": ("'\"\\ud800\"'", "'\"\\u0000\"'", "'true'", "' true'", "'[]'"),
    "numeric": ("'NaN'", "'-Infinity'", "1e5000", "1"),
    "float8": ("'NaN'", "'infinity'", "1e300"),
    "int8": ("-9223372036854775808", "1"),
    "bool": ("true", "false"),
    "uuid": (f"'{ID.decode()}'", "gen_random_uuid()"),
    "timestamptz": ("'infinity'", "'-infinity'", "'4714-11-24 00:00:00+00 BC'", "'294276-12-31'"),
    "text[]": ("ARRAY['a', NULL]", "'{}'"),
    "name": ("'core'",),
}
_EXPECTED = {"key": b"ONBOARDING_X_PENDING", "type": b"USER_VARIABLE", "email": b"a@acme.example", "deletedAt": None}
"""What makes a row one that matters; an id elsewhere."""


@dataclass(frozen=True)
class Writer:
    """Writes tables by chance, half of the time such as would be read."""

    chance: random.Random
    any_bytes: bool

    def statements(self) -> list[str]:
        """Every table that is read, most of the time, each with rows."""
        wanted = {f'core."{name}"': columns for name, columns in READ.items()}
        wanted['core."workspaceMember"'] = MEMBERS["workspaceMember"]
        made = (self._table(name, columns) for name, columns in wanted.items() if self.chance.random() < 0.95)
        return [statement for statements in made for statement in statements]

    def _table(self, name: str, columns: Sequence[str]) -> list[str]:
        types = {column: self._type(column) for column in columns if self.chance.random() < 0.97}
        defined = ", ".join(f'"{column}" {kind}' for column, kind in types.items())
        rows = [", ".join(self._value(*column) for column in types.items()) for _ in range(self.chance.randrange(5))]
        inserted = [f"INSERT INTO {name} VALUES {', '.join(f'({row})' for row in rows)}"] if rows and types else []
        return [f"CREATE TABLE {name} ({defined})", *inserted]

    def _type(self, column: str) -> str:
        if self.chance.random() < 0.03:
            return self.chance.choice(sorted(_OF_TYPES))
        return self.chance.choice(["jsonb", "bool"] if column == "value" else ["text", "text", "varchar"])

    def _value(self, column: str, kind: str) -> str:
        if self.chance.random() < 0.1:
            return "NULL"
        if kind in _OF_TYPES:
            return self.chance.choice(_OF_TYPES[kind])
        expected = _EXPECTED.get(column, ID)
        if self.chance.random() < 0.7:
            return "NULL" if expected is None else _literal(expected)
        word = self.chance.choice([*_WORDS, self.chance.randbytes(12).replace(b"\0", b"")])
        return _literal(word if self.any_bytes else word.decode(errors="ignore").encode())


def _literal(value: bytes) -> str:
    return "E'" + "".join(f"\\x{byte:02x}" for byte in value) + "'"


@pytest.fixture(scope="module")
def honest(sandbox_postgres: SandboxPostgres) -> Iterator[list[Inspection]]:
    """Looks into the two others while there is no third, and the places of the third's and the ledger."""
    sandbox_postgres.create_databases([FIRST, SECOND])
    for name, people in ((FIRST, [ANN]), (SECOND, [BOB])):
        sandbox_postgres.execute(name, core_sql())
        with sandbox_postgres.connect(name) as connection:
            made = insert_workspace(connection, "acme", name, people)
            insert_onboarding(connection, INVITE_TEAM, value=True, user_id=None, workspace_id=made.id)
    for name, encoding in ((THIRD, "SQL_ASCII"), (PLAIN, "UTF8")):
        sandbox_postgres.execute(
            "postgres",
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'",
        )
    schema.migrate(sandbox_postgres.create_database(LEDGER))
    yield anyio.run(inspect_databases, lambda _: sandbox_postgres.url(), {}, [FIRST, SECOND], AT, 3)
    for name in (FIRST, SECOND, THIRD, PLAIN, LEDGER):
        sandbox_postgres.drop_database(name)


def observed(postgres: SandboxPostgres, honest: list[Inspection], written: Sequence[str], database: str) -> None:
    """The third tenant has written this: see what becomes of all three, and of the third's plan."""
    with postgres.connect(database) as connection:
        connection.execute("SET client_encoding = 'SQL_ASCII'")
        connection.execute("DROP SCHEMA IF EXISTS core CASCADE; CREATE SCHEMA core")
        for statement in written:
            connection.execute(statement.encode())
    found = anyio.run(inspect_databases, lambda _: postgres.url(), {}, [FIRST, database, SECOND], AT, 3)
    assert [found[0], found[2]] == honest
    third = found[1]
    assert third.reason in {None, Reason.OLDER_SCHEMA, Reason.TENANT_DATABASE_UNSAFE}
    entry = plans(find([database], [row(database)]), workspaces=[workspace()])[0]
    (planned,), _ = with_databases([entry], {database: third}, {database: PeopleOfDatabase()}, POLICY)
    assert planned.database is not None

    async def keep() -> None:
        async with Database(
            postgres.url(LEDGER), system="The ledger", unreachable=Reason.REGISTRY_UNREACHABLE, read_only=False
        ) as ledger:
            assert planned.database is not None
            await InsertedWorkspaces(ledger).store({database: planned.database.hand_made})
            await InsertedWorkspaces(ledger).store_known_at_clerk(
                [(database, member.email) for place in third.workspaces for member in place.members]
            )

    anyio.run(keep)


@pytest.mark.slow
@pytest.mark.parametrize("database", [THIRD, PLAIN])
@settings(max_examples=50)
@given(seed=st.integers(0, 2**32))
def test_nothing_that_one_tenant_writes_reaches_the_others(
    sandbox_postgres: SandboxPostgres, honest: list[Inspection], database: str, seed: int
) -> None:
    written = Writer(random.Random(seed), any_bytes=database == THIRD).statements()
    observed(sandbox_postgres, honest, written, database)
