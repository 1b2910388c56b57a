"""What may stand on a table that is written to: decided from the catalogue's words alone."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.clients.held_table import (
    Column,
    Expression,
    Harmless,
    Reference,
    Table,
    Write,
    called,
    why_unsafe,
)

PLAIN = Table(
    kind="r",
    persistence="p",
    row_security=False,
    inherits=False,
    rule=None,
    trigger=None,
    columns=(
        Column("id", "uuid", is_enum=False, is_built_in=True, is_generated=False),
        Column("type", "core.kind", is_enum=True, is_built_in=False, is_generated=False),
    ),
    expressions=(Expression("index", "one", "({NULLTEST :arg {VAR :varno 1} :nulltesttype 0})"),),
    references=(Reference("fk", 7, "core", "user", "userId", is_plain=True),),
    referenced={},
)
NODES = ("VAR", "CONST", "NULLTEST", "BOOLEXPR")
WRITES = st.sampled_from(Write)
DANGERS = {
    "view": {"kind": "v"},
    "temporary": {"persistence": "t"},
    "row security": {"row_security": True},
    "parts": {"inherits": True},
    "rule": {"rule": "r"},
    "trigger": {"trigger": "t"},
}


@given(WRITES)
def test_a_table_as_twenty_makes_it_is_written_to(write: Write) -> None:
    assert why_unsafe(PLAIN, write, {"id", "type"}, Harmless()) is None


@given(st.sampled_from(list(DANGERS)), st.sampled_from([Write.DELETE, Write.UPDATE, Write.INSERT]))
def test_whatever_may_run_code_is_refused_for_every_write(danger: str, write: Write) -> None:
    assert why_unsafe(replace(PLAIN, **DANGERS[danger]), write, {"type"}, Harmless()) is not None


@given(
    st.lists(st.tuples(st.sampled_from(NODES), st.just("")), max_size=3),
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=12).filter(lambda name: name not in NODES),
    WRITES,
)
def test_an_expression_with_any_node_that_is_not_known_is_refused(
    before: list[tuple[str, str]], odd: str, write: Write
) -> None:
    known = {"OPEXPR", "SCALARARRAYOPEXPR", "FUNCEXPR", "ARRAY", "ARRAYEXPR", "COALESCE", "COALESCEEXPR"}
    known |= {"BOOLEANTEST", "RELABELTYPE", "SQLVALUEFUNCTION"}
    tree = "".join(f"{{{name} :x 1}}" for name, _ in [*before, (odd, "")])
    refused = why_unsafe(replace(PLAIN, expressions=(Expression("index", "odd", tree),)), write, {"type"}, Harmless())
    assert (refused is None) == (odd in known)


@given(st.sets(st.integers(1, 99)), st.sets(st.integers(1, 99)), st.sets(st.integers(1, 99)), WRITES)
def test_only_functions_and_operators_that_are_known_as_harmless_are_called(
    functions: set[int], operators: set[int], harmless: set[int], write: Write
) -> None:
    tree = "".join(f"{{FUNCEXPR :funcid {oid}}}" for oid in functions)
    tree += "".join(f"{{OPEXPR :opno {oid} :opfuncid 0}}" for oid in operators)
    table = replace(PLAIN, expressions=(Expression("statistics", "s", tree),))
    assert called(table) == (sorted(functions), sorted(operators))
    known = Harmless(functions=frozenset(harmless), operators=frozenset(harmless))
    assert (why_unsafe(table, write, {"type"}, known) is None) == (functions | operators <= harmless)


@pytest.mark.parametrize(
    ("of", "met_by"),
    [
        ("index", set(Write)),
        ("statistics", set(Write)),
        ("generated column", {Write.DELETE, Write.UPDATE, Write.INSERT}),
        ("CHECK constraint", {Write.UPDATE, Write.INSERT}),
        ("default", {Write.INSERT}),
    ],
)
def test_an_expression_counts_where_it_is_evaluated(of: str, met_by: set[Write]) -> None:
    table = replace(PLAIN, expressions=(Expression(of, "more", "{FUNCEXPR :funcid 20000}"),))
    assert {write for write in Write if why_unsafe(table, write, {"type"}, Harmless())} == met_by
    assert why_unsafe(table, Write.INSERT, {"type", "more"}, Harmless()) is None or of != "default"


def test_a_default_may_come_from_a_function_of_a_superusers_that_takes_nothing() -> None:
    table = replace(PLAIN, expressions=(Expression("default", "more", "{FUNCEXPR :funcid 20000}"),))
    assert why_unsafe(table, Write.INSERT, (), Harmless(makers=frozenset({20000}))) is None
    index = replace(PLAIN, expressions=(Expression("index", "more", "{FUNCEXPR :funcid 20000}"),))
    assert why_unsafe(index, Write.INSERT, (), Harmless(makers=frozenset({20000}))) is not None


def test_a_tree_that_is_longer_than_what_is_read_of_it_is_refused() -> None:
    table = replace(PLAIN, expressions=(Expression("index", "long", "{VAR" + " " * 8192),))
    assert why_unsafe(table, Write.DELETE, (), Harmless()) is not None


def test_what_refers_to_the_table_counts_where_a_change_would_set_it_off() -> None:
    table = replace(PLAIN, referenced={"id": "evil.hanging"})
    assert "evil.hanging" in str(why_unsafe(table, Write.DELETE, (), Harmless()))
    assert why_unsafe(table, Write.UPDATE, {"type"}, Harmless()) is None
    assert why_unsafe(table, Write.UPDATE, {"id"}, Harmless()) is not None


def test_a_foreign_key_between_types_of_their_own_is_refused_where_it_is_checked() -> None:
    table = replace(PLAIN, references=(replace(PLAIN.references[0], is_plain=False),))
    assert {write for write in Write if why_unsafe(table, write, {"type"}, Harmless())} == {Write.UPDATE, Write.INSERT}
