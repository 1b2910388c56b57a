"""A database URL is read as it was meant, or refused without a word of the password in it."""

from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from provisioning_pipeline.clients.postgres import without_secrets
from provisioning_pipeline.values.database_url import ENCODE, checked_database_url
from provisioning_pipeline_tests.settings.complete import CANARY, faults_of

SHAPES = (
    "postgresql://user:{}@db.example.com:5432/registry",
    "postgres://user:{}@db/registry?sslmode=require",
    "postgresql://user:{}@[::1]:5432/registry",
    "postgresql://:{}@/registry?host=%2Ftmp",
    "postgresql://db/registry?user=boss&password={}",
)
_LETTERS = "QXZJWK789"
"""Letters that no fault is written with, so that any three of them in one are the password's."""
PASSWORDS = st.text(st.sampled_from(f"{_LETTERS}@/:?#%&=+[]() \\'\"$!^|<>{{}}~`;,*é名"), min_size=1, max_size=24)


@given(PASSWORDS, st.sampled_from(SHAPES))
@example("12/34@QXZ", SHAPES[0])
@example("1?sslmode=QXZ@db", SHAPES[0])
@example("%41%ff", SHAPES[0])
@example("QXZ&QXZJ=1", SHAPES[4])
def test_a_password_as_it_is_typed_is_read_whole_or_refused_and_not_shown(password: str, shape: str) -> None:
    url = shape.format(password)
    fault = ""
    try:
        found = conninfo_to_dict(checked_database_url(url)).get("password")
    except ValueError as refused:
        fault = str(refused)
    pieces = {password[start : start + 3] for start in range(len(password) - 2)}
    assert not [piece for piece in pieces if piece in fault and set(piece) & set(_LETTERS)]
    # what looks as if it were percent-encoded is taken for that
    assert fault or found in (password, unquote(password))


@settings(max_examples=40)
@given(st.text(min_size=1, max_size=24).filter(lambda text: "\0" not in text), st.sampled_from(SHAPES))
def test_a_password_that_is_percent_encoded_is_read_whole(password: str, shape: str) -> None:
    try:
        encoded = quote(password, safe="")
    except UnicodeEncodeError:
        # half a character is no text
        return
    assert conninfo_to_dict(checked_database_url(shape.format(encoded)))["password"] == password


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///registry?host=/var/run/postgresql",
        "postgresql://%2Fvar%2Frun%2Fpostgresql/registry",
        "postgresql://u:p@one:5432,two:5433/registry?target_session_attrs=read-write",
        "postgresql://u:p@[fe80::1]/registry",
        "postgresql://u@db/registry?sslmode=verify-full&sslrootcert=system&connect_timeout=10",
        "postgresql://u:p@db/registry?ssl=true&application_name=x%20y&options=-c%20search_path%3Dcore",
    ],
)
def test_what_libpq_knows_is_taken(url: str) -> None:
    assert checked_database_url(url) == url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql+asyncpg://u:p@db/x", "without the name of a driver"),
        ("postgres+psycopg2://u:p@db/x", "without the name of a driver"),
        ("jdbc:postgresql://db/x", "without the name of a driver"),
        ("POSTGRESQL://u:p@db/x", "in lower case"),
        ("mysql://u:p@db/x", "must be a URL like postgresql://"),
        ("host=db password=p dbname=x", "no other form is taken"),
        ("postgresql://u:p@db:5432", "with a database name"),
        ("postgresql://u:p@db:5432/", "with a database name"),
        ("postgresql://u:p@db:port/x", ENCODE),
        ("postgresql://u:p@db:70000/x", ENCODE),
        ("postgresql://u:p@one:1,two:x/x", ENCODE),
        ("postgresql://u:p@[::1/x", ENCODE),
        ("postgresql://u:p@[nowhere]/x", ENCODE),
        ("postgresql://u:%2@db/x", ENCODE),
        ("postgresql://u:%zz@db/x", ENCODE),
        ("postgresql://u:%ff@db/x", ENCODE),
        ("postgresql://u:%00@db/x", ENCODE),
        ("postgresql://u:p@db/x/y", ENCODE),
        ("postgresql://u:p q@db/x", ENCODE),
        ("postgresql://u:p@db/x?schema=core&connection_limit=5", "parameter schema, which is a parameter of Prisma"),
        ("postgresql://u:p@db/x?connection_limit=5", "parameter connection_limit, which is a parameter of Prisma"),
        ("postgresql://u:p@db/x?pgbouncer=true", "a pooler in session mode"),
        ("postgresql://u:p@db/x?sslmode=no-verify", "parameter sslmode with a value that libpq does not know: disable"),
        ("postgresql://u:p@db/x?sslmode=REQUIRE", "parameter sslmode with a value that libpq does not know: disable"),
        ("postgresql://u:p@db/x?ssl=1", "parameter ssl, which takes only true here: write sslmode="),
        ("postgresql://u:p@db/x?currentSchema=core", "parameter currentschema, which is a parameter of JDBC"),
        ("postgresql://u:p@db/x?connect_timeout=10s", "parameter connect_timeout with a value that is no whole number"),
        ("postgresql://u:p@db/x?sslmode=verify-ca&sslrootcert=/nowhere/ca.pem", "sslrootcert with a file that is not"),
        ("postgresql://u:p@db/x?sslmode", "parameter sslmode without a value"),
        ("postgresql://u:p@db/x?colour=red", "parameter colour that libpq does not know"),
        (f"postgresql://db/x?password=a&{CANARY[:3]}=red", "has a parameter that libpq does not know"),
    ],
)
def test_what_libpq_would_misread_is_refused_with_what_to_write(load: Any, url: str, words: str) -> None:
    for name in ("REGISTRY_URL", "TENANT_CLUSTER_URL", "TWENTY_DATABASE_URL"):
        (fault,) = faults_of(load, **{name: url})
        assert fault.startswith(f"PROVISIONING_{name}: ")
        assert words in fault


def test_several_hosts_are_shown_each_with_its_port() -> None:
    assert without_secrets("postgresql://u:p@one:1,two:2/x") == "one:1,two:2/x"
    assert without_secrets("postgresql://u:p@one,two/x") == "one:5432,two:5432/x"
