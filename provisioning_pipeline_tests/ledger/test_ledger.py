"""The ledger's promises, on a real PostgreSQL."""

import uuid
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from psycopg.sql import SQL, Identifier

from provisioning_pipeline.ledger import revisions, schema
from provisioning_pipeline.ledger.fleet import known_and_due
from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.ledger.locks import tenant_lock
from provisioning_pipeline.ledger.registration import adopt
from provisioning_pipeline.ledger.registry import Registry
from provisioning_pipeline.model.condition import ConditionType, Reason, is_false, is_true
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.tenant import Tenant
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.ledger.conftest import ask_ledger

T = TypeVar("T")
NOW = datetime.now(UTC)
ACME, BETA = Tenant("twenty_tenant_acme_1", "acme", "Acme"), Tenant("twenty_tenant_beta_2", "beta", "Beta")


@pytest.fixture
def bare(sandbox_postgres: SandboxPostgres) -> Iterator[str]:
    """A database without a ledger."""
    name = f"bare_{uuid.uuid4().hex[:8]}"
    yield sandbox_postgres.create_database(name)
    sandbox_postgres.drop_database(name)


def run(url: str, work: Callable[[Ledger], Coroutine[Any, Any, T]], *, read_only: bool = False) -> T:
    return ask_ledger(url, lambda database: work(Ledger(database)), read_only=read_only, most_connections=8)


async def with_tenants(ledger: Ledger) -> None:
    await ledger.ensure_links([ACME, BETA])


def store(
    ledger: Ledger, database_name: str, *conditions: Any, run_id: str = "r1"
) -> Coroutine[Any, Any, dict[str, Any]]:
    return ledger.store_conditions({database_name: conditions}, run_id=run_id, waits=(60, 3600))


def test_the_code_works_with_alembics_own_head() -> None:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(schema.alembic_config("postgresql://nobody@localhost/none"))

    assert script.get_current_head() == revisions.HEAD
    assert script.get_bases() == ["0001"]


def test_migrating_twice_and_down_and_up_again_leaves_the_same_tables(bare: str) -> None:
    from alembic import command

    def tables() -> set[str]:
        rows = run(
            bare,
            lambda ledger: ledger.database.fetch(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'provisioning'"
            ),
        )
        return {row["table_name"] for row in rows}

    schema.migrate(bare)
    schema.migrate(bare)
    made = tables()
    command.downgrade(schema.alembic_config(bare), "base")
    assert tables() == {"alembic_version"}
    schema.migrate(bare)
    assert tables() == made >= {"tenant_link", "condition", "intent", "outcome", "run", "user_link"}


def test_reading_a_database_without_a_ledger_finds_nothing_and_makes_nothing(bare: str) -> None:
    async def read(ledger: Ledger) -> tuple[int, list[Any], list[Any], str | None]:
        return (
            len(await ledger.links()),
            await ledger.conditions(),
            await ledger.tenant_rows(),
            await revisions.revision(ledger.database),
        )

    assert run(bare, read, read_only=True) == (0, [], [], None)


def test_two_tenants_never_claim_the_same_subdomain_of_a_server(url: str) -> None:
    async def claim(ledger: Ledger) -> list[bool]:
        await with_tenants(ledger)
        claims = [
            await ledger.begin_intent(ACME.database_name, "eu", "acme", "r1", begun_at=NOW),
            await ledger.begin_intent(BETA.database_name, "eu", "acme", "r1", begun_at=NOW),
            await ledger.begin_intent(BETA.database_name, "us", "acme", "r1", begun_at=NOW),
        ]
        return [claim is not None for claim in claims]

    assert run(url, claim) == [True, False, True]


def test_a_dropped_intent_lets_go_of_server_and_subdomain(url: str) -> None:
    async def work(ledger: Ledger) -> Any:
        await with_tenants(ledger)
        intent = await ledger.begin_intent(ACME.database_name, "eu", "acme", "r1", begun_at=NOW)
        assert intent
        await ledger.drop_intent(intent, ACME.database_name, "made nothing", run_id="r1")
        link = await ledger.link(ACME.database_name)
        return link.server, link.subdomain, await ledger.open_intent(ACME.database_name)

    assert run(url, work) == (None, None, None)


def test_one_workspace_is_never_linked_to_two_tenants(url: str) -> None:
    workspace = str(uuid.uuid4())

    async def work(ledger: Ledger) -> None:
        await with_tenants(ledger)
        for tenant, subdomain in ((ACME, "acme"), (BETA, "beta")):
            intent = await ledger.begin_intent(tenant.database_name, "eu", subdomain, "r1", begun_at=NOW)
            assert intent
            await ledger.store_workspace(intent, tenant.database_name, workspace, "http://x.localhost/", run_id="r1")

    with pytest.raises(Fault, match="already linked to another tenant"):
        run(url, work)


def test_a_renamed_tenant_takes_over_what_is_known_of_its_workspace(url: str) -> None:
    workspace, person = str(uuid.uuid4()), str(uuid.uuid4())

    async def work(ledger: Ledger) -> Any:
        await with_tenants(ledger)
        address = ("eu", "acme", workspace, "http://acme.localhost/")
        await ledger.adopt_workspace(ACME.database_name, *address)
        await ledger.database.execute(
            "INSERT INTO provisioning.member_link (database_name, clerk_user_id, twenty_user_id, email, first_name, "
            "last_name, run_id) VALUES (%s, 'user_1', %s, 'ada@acme.test', 'Ada', '', 'r1')",
            [ACME.database_name, person],
        )
        await ledger.adopt_workspace(BETA.database_name, *address, renamed_from=ACME.database_name)
        members = await ledger.database.fetch("SELECT database_name FROM provisioning.member_link")
        links = [await ledger.link(name) for name in (ACME.database_name, BETA.database_name)]
        return [row["database_name"] for row in members], [link.workspace_id for link in links]

    assert run(url, work) == ([BETA.database_name], [None, workspace])


def test_a_workspace_is_taken_over_only_from_the_tenant_that_has_it(url: str) -> None:
    workspace = str(uuid.uuid4())

    async def work(ledger: Ledger) -> None:
        await with_tenants(ledger)
        address = ("eu", "acme", workspace, "http://acme.localhost/")
        await ledger.adopt_workspace(ACME.database_name, *address)
        await ledger.adopt_workspace(BETA.database_name, *address, renamed_from="somebody_else")

    with pytest.raises(Fault, match="already linked to another tenant"):
        run(url, work)


def test_ready_needs_every_condition_and_since_moves_only_with_the_status(url: str) -> None:
    told = (ConditionType.READY, ConditionType.LIFECYCLE)
    parts = [type_ for type_ in ConditionType.all_declared() if type_ not in told]

    async def work(ledger: Ledger) -> tuple[list[bool], bool, str]:
        await with_tenants(ledger)
        ready = []
        for number, type_ in enumerate(parts):
            result = await store(ledger, ACME.database_name, is_true(type_, Reason.ALL_TRUE, "ok"), run_id=str(number))
            ready.append(result[ACME.database_name].status == "True")
        first = {s.condition.type: s for s in await ledger.conditions([ACME.database_name])}
        await store(ledger, ACME.database_name, is_true(parts[0], Reason.REGISTRY_ROW, "other words"), run_id="later")
        second = {s.condition.type: s for s in await ledger.conditions([ACME.database_name])}
        kept = first[parts[0]].since == second[parts[0]].since
        return ready, kept, second[parts[0]].run_id

    ready, kept, run_id = run(url, work)
    assert ready == [False] * (len(parts) - 1) + [True]
    assert kept
    assert run_id == "later"


def test_an_unwell_tenant_waits_longer_after_each_try_and_a_ready_one_is_never_due(url: str) -> None:
    async def work(ledger: Ledger) -> tuple[list[dict[str, int]], list[float]]:
        await with_tenants(ledger)
        both = {ACME.database_name, BETA.database_name}
        known, first = await known_and_due(ledger.database)
        assert known == both
        due = [first]
        waits = []
        broken = is_false(ConditionType.LOGIN_PROVED, Reason.ADMIN_UNKNOWN, "nobody")
        for _ in range(8):
            await store(ledger, ACME.database_name, broken)
            rows = await ledger.database.fetch(
                "SELECT extract(epoch FROM look_again_at - now())::float8 AS wait FROM provisioning.tenant_link "
                "WHERE database_name = %s",
                [ACME.database_name],
            )
            waits.append(round(rows[0]["wait"] / 60))
        well = [
            is_true(type_, Reason.ALL_TRUE, "ok")
            for type_ in ConditionType.all_declared()
            if type_ is not ConditionType.READY
        ]
        await store(ledger, BETA.database_name, *well)
        known, last = await known_and_due(ledger.database)
        assert known == both
        return [*due, last], waits

    due, waits = run(url, work)
    assert due == [{ACME.database_name: 0, BETA.database_name: 0}, {}]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_lock_is_waited_for_and_given_up_with_a_word(url: str) -> None:
    async def work(ledger: Ledger) -> None:
        async with (
            tenant_lock(ledger.database, "acme", wait_seconds=5),
            tenant_lock(ledger.database, "beta", wait_seconds=5),
            tenant_lock(ledger.database, "acme", wait_seconds=0.05),
        ):
            pass

    with pytest.raises(Fault, match="Another run has been working on this tenant") as caught:
        run(url, work)
    assert caught.value.reason is Reason.TENANT_BUSY


def test_a_lock_is_free_again_after_its_holder(url: str) -> None:
    async def work(ledger: Ledger) -> int:
        held = 0
        for _ in range(3):
            async with tenant_lock(ledger.database, "acme", wait_seconds=0.5):
                held += 1
        return held

    assert run(url, work) == 3


# --- the tenant manager's own table -----------------------------------------------------------------------------

STRICT_REGISTRY = """
    CREATE TABLE public.tenant_registry (
        id uuid PRIMARY KEY, slug varchar(64) NOT NULL UNIQUE, name varchar(200) NOT NULL,
        database_name varchar(63) NOT NULL UNIQUE, database_url text NOT NULL, status varchar(20) NOT NULL,
        plan text, admin_user_id uuid, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL
    )
"""


def test_a_registry_without_clerk_org_id_and_with_strict_columns_is_read_adopted_into_and_stored_in(bare: str) -> None:
    workspace, admin = str(uuid.uuid4()), str(uuid.uuid4())

    async def work(ledger: Ledger) -> Any:
        await ledger.database.execute(STRICT_REGISTRY)
        registry = Registry(ledger.database, "tenant_registry")
        await registry.ensure_our_columns()
        await adopt(registry, ACME, "provisioning")
        await adopt(registry, ACME, "provisioning")
        first, again = [
            await registry.store(
                ACME.database_name, workspace, admin, ready_status="active", pending_statuses=("provisioning",)
            )
            for _ in range(2)
        ]
        rows = await registry.rows()
        urls = await ledger.database.fetch("SELECT database_url FROM public.tenant_registry")
        return first, again, rows.iloc[0].to_dict(), urls[0]["database_url"]

    first, again, row, database_url = run(bare, work)
    assert (first, again) == (True, False)
    assert row["workspace_id"] == workspace
    assert row["status"] == "active"
    assert row["clerk_org_id"] is None
    assert "@" not in database_url


def test_a_status_that_we_do_not_know_is_never_overwritten(bare: str) -> None:
    async def work(ledger: Ledger) -> str:
        registry = Registry(ledger.database, "tenant_registry")
        await registry.ensure_table()
        await adopt(registry, ACME, "trial")
        await registry.store(
            ACME.database_name, str(uuid.uuid4()), None, ready_status="active", pending_statuses=("provisioning",)
        )
        rows = await ledger.database.fetch("SELECT status FROM public.tenant_registry")
        return str(rows[0]["status"])

    assert run(bare, work) == "trial"


def test_a_registry_that_requires_more_than_we_know_refuses_adoption_in_words(bare: str) -> None:
    async def work(ledger: Ledger) -> None:
        await ledger.database.execute(STRICT_REGISTRY.replace("plan text", "plan text NOT NULL, region text NOT NULL"))
        await adopt(Registry(ledger.database, "tenant_registry"), ACME, "provisioning")

    with pytest.raises(Fault, match="requires plan, region") as caught:
        run(bare, work)
    assert caught.value.reason is Reason.ADOPTION_REFUSED


def test_a_table_that_is_no_registry_is_named(bare: str) -> None:
    async def work(ledger: Ledger) -> None:
        await ledger.database.execute("CREATE TABLE public.tenant_registry (id int)")
        await Registry(ledger.database, "tenant_registry").rows()

    with pytest.raises(Fault, match="lacks database_name, slug"):
        run(bare, work)


def test_the_registrys_admin_is_the_one_it_names_else_its_owner(bare: str) -> None:
    async def work(ledger: Ledger) -> list[Any]:
        registry = Registry(ledger.database, "tenant_registry")
        await registry.ensure_table()
        await ledger.database.execute(
            "CREATE TABLE public.global_users (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), email text UNIQUE, "
            "clerk_user_id text, tenant_id uuid, role text, is_active boolean)"
        )
        await adopt(registry, ACME, "active")
        await adopt(registry, BETA, "active")
        await ledger.database.execute(
            "INSERT INTO public.global_users (email, tenant_id, role, is_active) "
            "SELECT e, t.id, r, a FROM public.tenant_registry t, "
            "(VALUES ('Owner@acme.test', 'owner', true), ('admin@acme.test', 'admin', true), "
            "('gone@acme.test', 'owner', false)) AS v(e, r, a) WHERE t.slug = 'acme'"
        )
        await ledger.database.execute(
            "INSERT INTO public.global_users (email, tenant_id, role, is_active) SELECT e, t.id, r, true FROM "
            "public.tenant_registry t, (VALUES ('owner@beta.test', 'owner'), ('named@beta.test', 'member')) AS v(e, r) "
            "WHERE t.slug = 'beta'"
        )
        await ledger.database.execute(
            "UPDATE public.tenant_registry SET admin_user_id = "
            "(SELECT id FROM public.global_users WHERE email = 'named@beta.test') WHERE slug = 'beta'"
        )
        rows = await registry.rows()
        return sorted(rows["admin_email"])

    assert run(bare, work) == ["named@beta.test", "owner@acme.test"]


def test_a_registry_that_we_may_only_read_is_left_alone_and_costs_no_work(bare: str) -> None:
    from provisioning_pipeline.clients.postgres import with_database

    role = f"reader_{uuid.uuid4().hex[:8]}"
    reader = bare.replace("postgresql://postgres:", f"postgresql://{role}:")

    async def prepare(ledger: Ledger) -> None:
        await Registry(ledger.database, "tenant_registry").ensure_table()
        await adopt(Registry(ledger.database, "tenant_registry"), ACME, "active")
        await ledger.database.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(role)))
        await ledger.database.execute(SQL("GRANT SELECT ON public.tenant_registry TO {}").format(Identifier(role)))

    async def work(ledger: Ledger) -> tuple[bool, bool]:
        registry = Registry(ledger.database, "tenant_registry")
        await registry.ensure_our_columns()
        stored = await registry.store(
            ACME.database_name, str(uuid.uuid4()), None, ready_status="active", pending_statuses=()
        )
        return stored, registry.stores_workspaces(await registry.columns())

    run(bare, prepare)
    assert run(with_database(reader, bare.rsplit("/", 1)[1]), work) == (False, False)
    run(bare, lambda ledger: ledger.database.execute(SQL("DROP OWNED BY {}").format(Identifier(role))))
