"""`provisioning keys`: made once, listed without their secret, revoked."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.cli.test_cli import Done, provisioning
from provisioning_pipeline_tests.http.fleet import Fleet, fleet_in

KEY = re.compile(r"pvk_([0-9a-f]{12})_[\w-]{43}")


@pytest.fixture
def fleet(sandbox_postgres: SandboxPostgres) -> Iterator[Fleet]:
    with fleet_in(sandbox_postgres) as made:
        yield made


def keys(fleet: Fleet, *arguments: str) -> Done:
    return provisioning("keys", *arguments, environment=fleet.environment())


def listed(fleet: Fleet) -> list[dict[str, Any]]:
    done = keys(fleet, "list", "--json")
    assert done.returncode == 0
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_the_key_alone_goes_to_standard_output(fleet: Fleet) -> None:
    done = keys(fleet, "create", "tenant-manager")

    assert done.returncode == 0
    found = KEY.fullmatch(done.stdout.strip())
    assert found
    assert done.stdout == f"{found[0]}\n"
    assert found[1] in done.stderr
    assert found[0] not in done.stderr
    assert "until it is revoked" in done.stderr
    assert "not shown again" in done.stderr


def test_a_list_shows_everything_but_the_keys(fleet: Fleet) -> None:
    assert "no key yet" in keys(fleet, "list").stdout
    first = keys(fleet, "create", "  tenant-manager ").stdout.strip()
    second = keys(fleet, "create", "crm [beta]", "--days", "30").stdout.strip()

    table = keys(fleet, "list").stdout
    assert "tenant-manager" in table
    assert "crm [beta]" in table
    for key in (first, second):
        assert key not in table
        assert key.split("_", 2)[2] not in table + keys(fleet, "list", "--json").stdout
    one, other = listed(fleet)
    assert (one["name"], one["state"], one["expires_at"], one["last_used_at"]) == (
        "tenant-manager",
        "active",
        None,
        None,
    )
    assert (other["name"], other["state"]) == ("crm [beta]", "active")
    assert other["expires_at"] is not None
    assert one["id"] == first.split("_")[1]


def test_a_revoked_key_stays_in_the_list(fleet: Fleet) -> None:
    keys(fleet, "create", "tenant-manager")
    key_id = str(listed(fleet)[0]["id"])

    for _ in range(2):
        done = keys(fleet, "revoke", key_id)
        assert done.returncode == 0
        assert f"Key {key_id} (tenant-manager) is revoked." in done.stdout

    (row,) = listed(fleet)
    assert row["state"] == "revoked"
    assert row["revoked_at"] is not None


def test_revoking_twice_keeps_the_first_time(fleet: Fleet) -> None:
    keys(fleet, "create", "tenant-manager")
    key_id = str(listed(fleet)[0]["id"])
    keys(fleet, "revoke", key_id)
    first = listed(fleet)[0]["revoked_at"]

    keys(fleet, "revoke", key_id)

    assert listed(fleet)[0]["revoked_at"] == first


def test_an_unknown_key_is_told(fleet: Fleet) -> None:
    done = keys(fleet, "revoke", "0123456789ab")

    assert done.returncode == 2
    assert "There is no key '0123456789ab'" in done.stderr


def test_a_list_shows_what_each_key_may_do(fleet: Fleet) -> None:
    for arguments in (
        ["all"],
        ["reader", "--scope", "tenants:read"],
        ["both", "--scope", "tenants:read", "--scope", "tenants:write", "--tenant", "acme"],
        ["europe", "--tenant-prefix", "eu-[x]"],
    ):
        done = keys(fleet, "create", *arguments)
        assert done.returncode == 0, done.stderr
    assert "tenants:read, tenants:write of tenants eu-[x]..." in done.stderr
    keys(fleet, "create", "earlier")
    fleet.sql(
        "DELETE FROM provisioning.api_key_scope s USING provisioning.api_key k WHERE k.id = s.key_id"
        " AND k.name = 'earlier'"
    )

    both = ["tenants:read", "tenants:write"]
    assert {row["name"]: (row["scopes"], row["tenant"], row["tenant_prefix"]) for row in listed(fleet)} == {
        "all": (both, None, None),
        "reader": (["tenants:read"], None, None),
        "both": (both, "acme", None),
        "europe": (both, None, "eu-[x]"),
        "earlier": (both, None, None),
    }
    lines = keys(fleet, "list").stdout.splitlines()
    (reader,) = [line for line in lines if "reader" in line]
    assert "tenants:read " in reader
    assert "tenants:write" not in reader
    assert "all tenants" in reader
    assert any("tenants eu-[x]..." in line for line in lines)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--tenant", "acme", "--tenant-prefix", "eu-"],
        pytest.param(["--tenant", ""], marks=pytest.mark.slow),
        pytest.param(["--tenant-prefix", "a\x1b[31m"], marks=pytest.mark.slow),
        pytest.param(["--scope", "tenants:delete"], marks=pytest.mark.slow),
    ],
)
def test_limits_that_make_no_sense_are_refused(fleet: Fleet, arguments: list[str]) -> None:
    assert keys(fleet, "create", "tenant-manager", *arguments).returncode == 2
    assert listed(fleet) == []


def test_what_services_were_refused_is_listed(fleet: Fleet) -> None:
    assert "Nothing was refused." in keys(fleet, "refusals").stdout
    for key_id, address, tenant, reason, times in (
        ("0123456789ab", "10.0.0.1", "[bold]acme", "organization_taken", 3),
        ("", "10.0.0.2", "", "wrong_key", 40),
    ):
        fleet.sql(
            "INSERT INTO provisioning.refusal (hour, reason, status, api_key_id, address, route, tenant, detail,"
            " request_id, first_at, last_at, times) VALUES (now(), %s, 409, %s, %s, 'PUT /v1/tenants/{slug}', %s,"
            " 'As it was told.', 'r-1', now(), now(), %s)",
            *(reason, key_id, address, tenant, times),
        )

    table = keys(fleet, "refusals").stdout
    assert "[bold]acme" in table
    assert "wrong_key" in table
    found = json.loads(keys(fleet, "refusals", "--json", "--key", "0123456789ab").stdout)
    assert [(one["reason"], one["times"], one["address"], one["tenant"], one["request_id"]) for one in found] == [
        ("organization_taken", 3, "10.0.0.1", "[bold]acme", "r-1")
    ]
    assert json.loads(keys(fleet, "refusals", "--json", "--limit", "1").stdout)[0]["api_key_id"] is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "two\nlines", "a\x1b[31mcolour"])
def test_a_name_that_lists_could_not_show_is_refused(fleet: Fleet, name: str) -> None:
    done = keys(fleet, "create", name)

    assert done.returncode == 2
    assert done.stdout == ""
    assert listed(fleet) == []


@pytest.mark.slow
@pytest.mark.parametrize("days", ["0", "-1", "3651", "soon"])
def test_a_key_lasts_for_a_day_at_least_and_ten_years_at_most(fleet: Fleet, days: str) -> None:
    assert keys(fleet, "create", "tenant-manager", "--days", days).returncode == 2
    assert listed(fleet) == []


def test_where_there_is_no_ledger_one_is_made(sandbox_postgres: SandboxPostgres) -> None:
    with fleet_in(sandbox_postgres) as fleet:
        fleet.sql("DROP SCHEMA provisioning CASCADE")

        assert keys(fleet, "create", "tenant-manager").returncode == 0
        assert [row["name"] for row in listed(fleet)] == ["tenant-manager"]


def test_without_the_registry_it_is_told_in_a_sentence(fleet: Fleet) -> None:
    fleet.shut()

    done = keys(fleet, "create", "tenant-manager")

    assert done.returncode != 0
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
