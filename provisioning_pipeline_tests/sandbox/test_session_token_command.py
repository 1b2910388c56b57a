"""`provisioning sandbox session-token`: only a token on standard output, or a sentence and exit code 2."""

import os
from typing import Any

import httpx2
import jwt
import psycopg
import pytest
from click.testing import Result
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from typer.testing import CliRunner

from provisioning_pipeline.cli.main import app
from provisioning_pipeline.sandbox import fleet
from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline.sandbox.fleet import AddedTenant
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.registry import REGISTRY_DATABASE
from provisioning_pipeline.sandbox.serving import LoopbackServer

Environment = dict[str, str]


@pytest.fixture
def environment(empty_cluster: SandboxPostgres, clerk: StandInClerk) -> Environment:
    fleet.prepare(empty_cluster)
    return {
        "PROVISIONING_REGISTRY_URL": empty_cluster.url(REGISTRY_DATABASE),
        "PROVISIONING_CLERK_BASE_URL": clerk.base_url,
        "PROVISIONING_CLERK_SECRET_KEY": clerk.secret_key,
    }


@pytest.fixture
def acme(environment: Environment) -> AddedTenant:
    """A tenant with an admin and two members."""
    where = {name.removeprefix("PROVISIONING_").lower(): value for name, value in environment.items()}
    return fleet.add_tenant(**where, slug="acme", members=3)  # type: ignore[arg-type]  # its other arguments have defaults


def session_token(environment: Environment, *arguments: str) -> Result:
    clean: dict[str, str | None] = dict.fromkeys(name for name in os.environ if name.startswith("PROVISIONING_"))
    return CliRunner().invoke(app, ["sandbox", "session-token", *arguments], env=clean | environment)


def claims_in(clerk: StandInClerk, result: Result) -> dict[str, Any]:
    assert (result.exit_code, result.stderr) == (0, "")
    (token,) = result.stdout.splitlines()
    keys = jwt.PyJWKSet.from_dict(httpx2.get(f"{clerk.frontend_url}/.well-known/jwks.json").json())
    claims: dict[str, Any] = jwt.decode(
        token, keys.keys[0].key, algorithms=["RS256"], issuer=clerk.frontend_url, leeway=5
    )
    return claims


def refusal(result: Result) -> str:
    """The one sentence of a refusal; nothing that a script could take for a token."""
    assert (result.exit_code, result.stdout) == (2, "")
    assert isinstance(result.exception, SystemExit)
    assert len(result.stderr.splitlines()) == 1
    return str(result.stderr)


def change(environment: Environment, statement: str) -> None:
    with psycopg.connect(environment["PROVISIONING_REGISTRY_URL"]) as registry:
        registry.execute(statement)


@pytest.mark.slow
def test_the_admin_without_an_e_mail(clerk: StandInClerk, environment: Environment, acme: AddedTenant) -> None:
    claims = claims_in(clerk, session_token(environment, "acme"))

    assert acme.tenant.admin is not None
    assert claims["sub"] == acme.tenant.admin.clerk_user_id
    assert claims["o"] == {"id": acme.clerk_org_id, "rol": "admin", "slg": "acme"}
    assert claims["exp"] - claims["iat"] == 60


@pytest.mark.slow
@pytest.mark.parametrize("named_by", ["slug", "database"])
def test_a_tenant_by_either_name(
    clerk: StandInClerk, environment: Environment, acme: AddedTenant, named_by: str
) -> None:
    name = {"slug": "acme", "database": acme.database_name}[named_by]

    assert claims_in(clerk, session_token(environment, name))["o"]["id"] == acme.clerk_org_id


def test_a_member_by_e_mail(clerk: StandInClerk, environment: Environment, acme: AddedTenant) -> None:
    member = acme.tenant.members[1]

    claims = claims_in(clerk, session_token(environment, "acme", "--email", member.email.upper()))

    assert (claims["sub"], claims["o"]["rol"]) == (member.clerk_user_id, "member")


@pytest.mark.slow
def test_the_oldest_of_several_admins(clerk: StandInClerk, environment: Environment, acme: AddedTenant) -> None:
    first, second, third = (member.clerk_user_id for member in acme.tenant.members)
    clerk.set_role(acme.clerk_org_id, third, "org:admin")
    clerk.set_role(acme.clerk_org_id, second, "org:admin")
    clerk.set_role(acme.clerk_org_id, first, "org:member")

    assert claims_in(clerk, session_token(environment, "acme"))["sub"] == second


@pytest.mark.slow
def test_the_older_form_and_another_length(clerk: StandInClerk, environment: Environment, acme: AddedTenant) -> None:
    claims = claims_in(clerk, session_token(environment, "acme", "--v1", "--seconds", "600"))

    assert (claims["org_id"], claims["org_role"]) == (acme.clerk_org_id, "org:admin")
    assert "v" not in claims
    assert claims["exp"] - claims["iat"] == 600


@pytest.mark.slow
def test_a_session_that_is_over(clerk: StandInClerk, environment: Environment, acme: AddedTenant) -> None:
    with pytest.raises(jwt.ExpiredSignatureError):
        claims_in(clerk, session_token(environment, "acme", "--seconds", "-60"))


@pytest.mark.slow
def test_everybody_of_a_large_organization_is_found(
    clerk: StandInClerk, environment: Environment, acme: AddedTenant
) -> None:
    for number in range(600):
        clerk.add_membership(acme.clerk_org_id, clerk.add_user(f"person{number}@acme.example").id)

    claims = claims_in(clerk, session_token(environment, "acme", "--email", "person599@acme.example"))
    unknown = refusal(session_token(environment, "acme", "--email", "nobody@acme.example"))

    assert claims["sub"] == clerk.state.user_by_email("person599@acme.example").id  # type: ignore[union-attr]  # added above
    assert "and 583 more" in unknown


def test_an_unknown_tenant(environment: Environment, acme: AddedTenant) -> None:
    said = refusal(session_token(environment, "amce"))

    assert "no tenant 'amce'" in said
    assert "acme" in said


@pytest.mark.slow
def test_no_tenants_at_all(environment: Environment) -> None:
    assert "add-tenant" in refusal(session_token(environment, "acme"))


@pytest.mark.slow
def test_an_unknown_e_mail(environment: Environment, acme: AddedTenant) -> None:
    said = refusal(session_token(environment, "acme", "--email", "nobody@acme.example"))

    assert "no member nobody@acme.example" in said
    assert all(member.email in said for member in acme.tenant.members)


@pytest.mark.slow
def test_an_organization_without_an_admin(clerk: StandInClerk, environment: Environment, acme: AddedTenant) -> None:
    clerk.set_role(acme.clerk_org_id, acme.tenant.members[0].clerk_user_id, "org:member")

    said = refusal(session_token(environment, "acme"))

    assert "no admin" in said
    assert acme.admin_email in said


@pytest.mark.slow
def test_an_organization_that_is_gone(clerk: StandInClerk, environment: Environment, acme: AddedTenant) -> None:
    clerk.delete_organization(acme.clerk_org_id)

    assert "is gone" in refusal(session_token(environment, "acme"))


@pytest.mark.slow
def test_a_tenant_without_an_organization(environment: Environment, acme: AddedTenant) -> None:
    change(environment, "UPDATE tenant_registry SET clerk_org_id = NULL")

    assert "no Clerk organization" in refusal(session_token(environment, "acme"))


@pytest.mark.slow
def test_a_slug_that_is_anothers_database_name(environment: Environment, acme: AddedTenant) -> None:
    change(
        environment,
        "INSERT INTO tenant_registry (slug, name, database_name, database_url) "
        f"VALUES ('{acme.database_name}', 'Other', 'twenty_tenant_other', '')",
    )

    said = refusal(session_token(environment, acme.database_name))

    assert "Several tenants" in said
    assert "twenty_tenant_other" in said


@pytest.mark.slow
def test_what_is_no_sandbox_is_refused(environment: Environment, acme: AddedTenant) -> None:
    asked: list[str] = []

    async def anything(request: Any) -> JSONResponse:
        asked.append(f"{request.method} {request.url.path}")
        return JSONResponse({"errors": [{"code": "resource_not_found"}]}, status_code=404)

    server = LoopbackServer(Starlette(routes=[Route("/{path:path}", anything, methods=["GET", "POST"])]))
    server.start()
    try:
        said = refusal(session_token(environment | {"PROVISIONING_CLERK_BASE_URL": f"{server.url}/v1"}, "acme"))
    finally:
        server.stop()

    assert "is no sandbox" in said
    assert "sandbox up" in said
    assert asked == ["GET /sandbox/state"]
    assert environment["PROVISIONING_CLERK_SECRET_KEY"] not in said


@pytest.mark.slow
def test_a_sandbox_that_has_stopped(environment: Environment, acme: AddedTenant) -> None:
    with StandInClerk() as stopped:
        gone = stopped.base_url

    assert "not running" in refusal(session_token(environment | {"PROVISIONING_CLERK_BASE_URL": gone}, "acme"))


@pytest.mark.slow
def test_without_settings_it_says_how_to_get_them(
    environment: Environment, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    del environment["PROVISIONING_CLERK_SECRET_KEY"]

    said = refusal(session_token(environment, "acme"))

    assert "PROVISIONING_CLERK_SECRET_KEY is not set" in said
    assert "--env-file" in said


@pytest.mark.slow
def test_help_shows_how_it_is_used() -> None:
    shown = CliRunner().invoke(app, ["sandbox", "session-token", "--help"], env={"COLUMNS": "200"}).stdout

    assert 'curl -H "Authorization: Bearer $(provisioning sandbox session-token acme)"' in shown
