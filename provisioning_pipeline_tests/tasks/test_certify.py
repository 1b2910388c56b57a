"""Certifications of the sandbox: all holds in every version, nothing is left, and each broken behaviour is named."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, get_args

import pytest

from provisioning_pipeline.model.contract import Certificate, CrashPoint
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import (
    TwentyOptions,
    accounts,
    callers,
    creation,
    joining,
    members,
    records,
    subdomains,
)
from provisioning_pipeline.sandbox.twenty.errors import conflict
from provisioning_pipeline.sandbox.twenty.options import Mail
from provisioning_pipeline.sandbox.twenty.versions import Version
from provisioning_pipeline.tasks.certify.certify import Progress
from provisioning_pipeline_tests.cli.test_cli import provisioning
from provisioning_pipeline_tests.tasks.certifying import broken, certified, kept, left, service_accounts
from provisioning_pipeline_tests.world import World, upgraded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PLAYED: tuple[Version, ...] = tuple(version for version in get_args(Version) if version != "1.x")


def world_of(options: TwentyOptions, *, tenants: int = 0) -> Sandbox:
    return Sandbox(SandboxOptions(tenants=tenants, members=2, twenty=(options,)))


@pytest.fixture
def world() -> Iterator[World]:
    with world_of(TwentyOptions(activation_seconds=0.0)) as sandbox:
        yield World(sandbox)


@pytest.mark.parametrize("version", PLAYED)
def test_everything_holds_in_every_version_and_an_empty_server_is_as_usable_as_before(version: Version) -> None:
    """Crash points are tried on the newest here, and on the oldest where one does not heal, in a test below.

    To them, versions in between differ by an onboarding row.
    """
    crash_points = version == PLAYED[-1]
    # two places are all that a certification needs
    options = TwentyOptions(version=version, activation_seconds=0.0, workspace_limit=2)
    with world_of(options, tenants=1) as sandbox:
        world = World(sandbox)

        certificate = certified(world, crash_points=crash_points, clerk=True)

        assert broken(certificate) == {}
        assert [point for point in certificate.crash_points if not point.converges] == []
        if crash_points:
            assert len(certificate.crash_points) >= 40
            moments = {point.moment for point in certificate.crash_points}
            assert {"after createOneRole", "after revokeApiKey", "after updateApiKey", "after deleteOneRole"} <= moments
            assert any("then after deleteCurrentWorkspace" in moment for moment in moments)
            assert f"{certificate.planned} of {certificate.planned} crash points converge." in certificate.verdict
        assert certificate.looked_at >= 40
        assert certificate.holds, certificate.verdict
        assert left(world) == []
        assert service_accounts(world) == [True]
        assert world.sandbox.twenty[0].mails == []
        # the organizations of the operator's own Clerk are those of its tenants
        assert {found.name for found in sandbox.clerk.state.organizations.values()} == {sandbox.tenants[0].name}
        applied = world.apply()
        assert applied.summary.count("ready") == 1
        assert certificate.in_short in Path(applied.report).read_text()


def test_a_second_certification_on_a_server_with_tenants_leaves_them_at_rest() -> None:
    with world_of(TwentyOptions(activation_seconds=0.0), tenants=2) as sandbox:
        world = World(sandbox)
        world.apply()
        before = world.workspaces()

        for _ in range(2):
            assert certified(world).holds

        living = [workspace for workspace in world.workspaces() if not workspace.deleted]
        assert living == before
        assert left(world) == []
        assert service_accounts(world) == [True]
        assert world.plan().work == ()


def test_beside_another_server_admin_the_service_account_is_brought_back_by_sql(world: World) -> None:
    certified(world)
    world.twenty(
        'INSERT INTO core."user" (email, "canAccessFullAdminPanel", "canImpersonate") '
        "VALUES ('boss@company.example', true, true) RETURNING id"
    )

    certificate = certified(world)

    assert certificate.holds, certificate.verdict
    assert service_accounts(world) == [True]
    assert any("restored by SQL" in sentence for sentence in certificate.cleaning), certificate.cleaning
    world.sandbox.add_tenant("first", members=1)
    assert world.apply().summary.count("ready") == 1


# --- what is broken is named ----------------------------------------------------------------------------------------


def another_code(patch: pytest.MonkeyPatch) -> None:
    """A subdomain that is taken is refused in another way, so that an adoption is not thought of."""
    patch.setattr(subdomains, "taken", lambda: conflict("Subdomain is in use", "SUBDOMAIN_IN_USE", "In use."))


def link_that_stays_open(patch: pytest.MonkeyPatch) -> None:
    """Whoever has the invite link joins, also while it is off."""

    async def nobody_is_refused(*_: object, **__: object) -> None:
        return None

    patch.setattr(joining, "_check_access", nobody_is_refused)


def any_password(patch: pytest.MonkeyPatch) -> None:
    """An account that exists is joined with any password."""
    checked = joining._check_password

    async def unchecked(runtime: Any, user: Any, password: str) -> str | None:
        return await checked(runtime, user, password) if user is None else None

    patch.setattr(joining, "_check_password", unchecked)


def swapped_names(patch: pytest.MonkeyPatch) -> None:
    """First and last names change places."""
    named = members.columns_of

    def swapped(update: Any) -> Any:
        found = named(update)
        first, last = found.get("nameFirstName"), found.get("nameLastName")
        return found if first is None else found | {"nameFirstName": last, "nameLastName": first}

    patch.setattr(members, "columns_of", swapped)


def accounts_that_stay(patch: pytest.MonkeyPatch) -> None:
    """An account stays when its last workspace goes."""
    removed = members.remove_from_workspace

    async def kept(db: Any, tie: Any, workspace: Any) -> None:
        await removed(db, tie, workspace)
        await db.run('UPDATE core."user" SET "deletedAt" = NULL WHERE id = %s', tie["userId"])

    patch.setattr(members, "remove_from_workspace", kept)


def greetings(patch: pytest.MonkeyPatch) -> None:
    """Whoever joins is greeted by e-mail."""
    added = joining.add_to_workspace

    async def greeted(runtime: Any, user: Any, *rest: Any) -> None:
        await added(runtime, user, *rest)
        runtime.mails.append(Mail(user["email"], "Welcome"))

    patch.setattr(joining, "add_to_workspace", greeted)


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (another_code, ["adoption after a lost answer", "the subdomain of a deleted workspace"]),
        (link_that_stays_open, ["the invite link switched off", "joining while locked"]),
        (any_password, ["joining with another password"]),
        (swapped_names, ["setting a name"]),
        (accounts_that_stay, ["a removal from the last workspace"]),
        (greetings, ["e-mail silence"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_broken_on_purpose_is_named_and_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: Callable[[pytest.MonkeyPatch], None], named: list[str]
) -> None:
    fault(monkeypatch)

    certificate: Certificate = certified(world)

    assert list(broken(certificate)) == named, broken(certificate)
    assert not certificate.holds
    assert named[0] in certificate.verdict
    assert left(world) == []
    assert service_accounts(world) == [True]


def roles_that_read_on(patch: pytest.MonkeyPatch) -> None:
    """A token from before reads records, whatever role its holder has by now."""
    role_of = records.role_of_caller

    async def reading(call: Any) -> Any:
        role = await role_of(call)
        return role and {**role, "canReadAllObjectRecords": True}

    patch.setattr(records, "role_of_caller", reading)


def sessions_that_go_on(patch: pytest.MonkeyPatch) -> None:
    """A session is renewed for a person who is no member any more."""
    renewing = ContextVar("renewing", default=False)
    given, issued = accounts.check_token_given, accounts.access_tokens

    def noting(name: str, value: str) -> None:
        renewing.set(name == "appToken")
        given(name, value)

    async def for_anyone(runtime: Any, user_id: Any, *rest: Any) -> Any:
        if renewing.get():
            return await callers.agnostic_tokens(runtime, user_id)
        return await issued(runtime, user_id, *rest)

    patch.setattr(accounts, "check_token_given", noting)
    patch.setattr(accounts, "access_tokens", for_anyone)


def keys_that_outlive_their_workspace(patch: pytest.MonkeyPatch) -> None:
    """An API key goes on in a workspace that is deleted."""
    asked = callers._api_key

    async def outliving(db: Any, claims: Any) -> Any:
        with pytest.MonkeyPatch.context() as while_asking:
            while_asking.setattr(callers, "workspace_by_id", any_workspace)
            return await asked(db, claims)

    async def any_workspace(db: Any, workspace_id: Any) -> Any:
        return await db.one('SELECT * FROM core."workspace" WHERE id = %s', workspace_id)

    patch.setattr(callers, "_api_key", outliving)


def test_a_server_on_which_a_lock_or_a_deletion_does_not_take_is_told_of_with_what_stays_open(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fault in (roles_that_read_on, sessions_that_go_on, keys_that_outlive_their_workspace):
        fault(monkeypatch)

    certificate = certified(world)

    assert list(broken(certificate)) == [
        "records by a token from before a lock",
        "renewing a session from before a lock",
        "an API key of a deleted workspace",
    ], broken(certificate)
    assert "it was not refused" in broken(certificate)["renewing a session from before a lock"]
    assert not certificate.holds
    assert left(world) == []


def test_a_crash_that_does_not_heal_is_told_with_its_moment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    created = creation.create_workspace

    async def made_yesterday(runtime: Any, *rest: Any) -> Any:
        """The evidence by which a run finds the workspace that a lost answer left."""
        workspace = await created(runtime, *rest)
        query = 'UPDATE core."workspace" SET "createdAt" = now() - interval \'1 day\' WHERE id = %s'
        await runtime.db.run(query, workspace["id"])
        return workspace

    monkeypatch.setattr(creation, "create_workspace", made_yesterday)

    # what follows has a test of its own
    certificate = certified(world, crash_points=True, progress=Progress(cut=interrupting_after(6)))

    assert list(broken(certificate)) == ["adoption after a lost answer"], broken(certificate)
    unlike = [point for point in certificate.crash_points if not point.converges]
    assert [point.moment for point in unlike] == ["after signUpInNewWorkspace"]
    assert "workspaces: ['PENDING_CREATION', 'ACTIVE'], uncut ['ACTIVE']" in unlike[0].seen
    assert left(world) == []


def test_a_life_that_comes_to_no_good_end_is_a_finding_and_is_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise conflict("The moon is full.", "MOON_FULL", "The moon is full.")

    def break_it(stage: str, _: int | None) -> None:
        if stage == "crash points":
            monkeypatch.setattr(creation, "create_workspace", refuse)

    certificate = certified(world, crash_points=True, progress=Progress(stage=break_it))

    assert list(broken(certificate)) == ["a tenant's undisturbed life"]
    assert "The moon is full." in broken(certificate)["a tenant's undisturbed life"]
    assert ".." not in certificate.verdict
    assert kept(world) == [False]
    assert left(world) == []


# --- what could not look is no certificate ----------------------------------------------------------------------------


def take_a_place(world: World) -> None:
    """Somebody else makes a workspace."""
    world.twenty(
        'INSERT INTO core.workspace (subdomain, "displayName", "activationStatus") '
        "VALUES ('elsewhere-' || gen_random_uuid(), 'Elsewhere', 'ACTIVE') RETURNING id"
    )


def test_a_server_without_two_free_places_is_told_of_and_keeps_its_certificate() -> None:
    with world_of(TwentyOptions(activation_seconds=0.0, workspace_limit=3), tenants=1) as sandbox:
        world = World(sandbox)
        world.apply()
        before = certified(world)
        assert before.holds, before.verdict
        for free, found in ((1, "1"), (0, "none")):
            take_a_place(world)

            done = provisioning("certify", "--yes", "--skip-clerk", "--json", environment=sandbox.environment())

            told = json.loads(done.stdout)
            assert done.returncode == 1
            assert told["verdict"] == (
                'Twenty server "twenty" (2.21.0) is not certified. certify needs two free places on Twenty server '
                f'"twenty"; it found {found} (Cannot create more than 3 workspaces without a valid enterprise key). '
                "Delete workspaces there that no one needs, or give it an enterprise key, or certify another server of "
                "the same version and settings; then start `provisioning certify` again. The ledger keeps no "
                "certificate of this."
            )
            assert {seen["standing"] for seen in told["observations"]} <= {"holds", "differs"}
            missed = " ".join(told["not_looked_at"])
            for name in ("a workspace name of blanks", "two activations at once", "e-mail silence", "Crash points."):
                assert name in missed
            assert ("Workspaces: making a workspace;" in missed) == (free == 0)
            assert left(world) == []
            assert service_accounts(world) == [True]
            assert kept(world) == [True]
            assert shown_by_preflight(world)["found"] == before.in_short


def test_a_place_that_is_taken_meanwhile_is_no_crash_that_does_not_heal() -> None:
    with world_of(TwentyOptions(activation_seconds=0.0, workspace_limit=2)) as sandbox:
        world = World(sandbox)

        certificate = certified(world, crash_points=True, progress=Progress(cut=lambda _: take_a_place(world)))

        assert "certify needs two free places" in certificate.verdict
        assert "it found 1 (it is full)" in certificate.verdict
        assert [point.converges for point in certificate.crash_points] == [True]
        assert "Crash points that were left." in certificate.not_looked_at
        assert left(world) == []
        assert kept(world) == []


def interrupting_after(tried: int) -> Callable[[CrashPoint], None]:
    """Interrupts a certification once it has tried so many crash points."""
    points: list[CrashPoint] = []

    def interrupt(point: CrashPoint) -> None:
        points.append(point)
        if len(points) == tried:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()

    return interrupt


@pytest.mark.parametrize("tried", [1, 10])
def test_one_that_is_interrupted_says_how_many_crash_points_there_were_and_keeps_nothing(
    world: World, tried: int
) -> None:
    certificate = certified(world, crash_points=True, progress=Progress(cut=interrupting_after(tried)))

    assert len(certificate.crash_points) == tried
    if tried == 1:
        assert certificate.planned is None
        assert "1 crash points were tried, of a number that was not known yet; 1 of those converge." in (
            certificate.verdict
        )
    else:
        assert certificate.planned is not None
        assert certificate.planned >= 25
        assert f"10 of {certificate.planned} crash points were tried; 10 of those converge." in certificate.verdict
    assert "crash points converge" not in certificate.verdict
    assert kept(world) == []
    assert left(world) == []


# --- the certificate afterwards ---------------------------------------------------------------------------------------


def test_an_upgrade_after_the_certification_is_warned_about(world: World) -> None:
    never = shown_by_preflight(world)
    assert never["warning"]
    assert "never certified" in never["found"]

    certificate = certified(world)

    assert shown_by_preflight(world) == {
        "system": "Twenty twenty, certificate",
        "ok": True,
        "found": certificate.in_short,
        "warning": False,
    }
    with upgraded(world, TwentyOptions(version="2.38", activation_seconds=0.0)):
        warned = shown_by_preflight(world)
    assert (warned["ok"], warned["warning"]) == (True, True)
    assert certificate.in_short in warned["found"]
    assert "its contract with this release has changed since" in warned["found"]
    assert "`provisioning certify --server twenty` again" in warned["found"]


def shown_by_preflight(world: World) -> dict[str, Any]:
    """What preflight says of the certificate; it ends well, since that is no fault."""
    done = provisioning("preflight", "--json", environment=world.sandbox.environment())
    assert done.returncode == 0, done.stdout
    (shown,) = (check for check in json.loads(done.stdout) if "certificate" in check["system"])
    return dict(shown)
