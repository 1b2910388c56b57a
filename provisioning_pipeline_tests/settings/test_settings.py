"""Settings: each fault is one line that names its variable and never shows a value."""

import json
from pathlib import Path
from typing import Any

import pytest

from provisioning_pipeline.settings import PREFIX
from provisioning_pipeline_tests.settings.complete import CANARY, COMPLETE, faults_of

SINGLE = ("TWENTY_BASE_URL", "TWENTY_DATABASE_URL", "TWENTY_SERVICE_EMAIL", "TWENTY_SERVICE_PASSWORD")
SERVER: dict[str, Any] = {
    "name": "eu",
    "base_url": "https://eu.example.com",
    "database_url": f"postgresql://u:{CANARY}@db/eu",
    "service_email": "provisioner@example.com",
    "service_password": CANARY,
}


def test_a_complete_environment_is_enough(load: Any) -> None:
    settings = load()
    (server,) = settings.servers
    assert (server.name, server.base_url, server.capacity) == ("twenty", "https://crm.example.com", None)
    assert settings.clerk_base_url == "https://api.clerk.com/v1"


def test_printing_the_settings_shows_no_secret(load: Any) -> None:
    settings = load(TWENTY_SERVERS=json.dumps([SERVER]))
    for text in (repr(settings), str(settings), repr(settings.servers), settings.model_dump_json()):
        assert CANARY not in text
    assert settings.registry_url.get_secret_value() == COMPLETE["REGISTRY_URL"]


@pytest.mark.parametrize("name", COMPLETE)
def test_a_missing_variable_is_named(load: Any, name: str) -> None:
    (fault,) = faults_of(load, **{name: None})
    assert fault.startswith(f"{PREFIX}{name}: is missing")


def test_everything_that_is_missing_is_named_at_once(load: Any) -> None:
    faults = faults_of(load, REGISTRY_URL=None, CLERK_SECRET_KEY=None, MEMBER_PASSWORD_KEY=None)
    assert [fault.split(":")[0] for fault in faults] == [
        f"{PREFIX}REGISTRY_URL",
        f"{PREFIX}CLERK_SECRET_KEY",
        f"{PREFIX}MEMBER_PASSWORD_KEY",
    ]


MALFORMED = [
    ("REGISTRY_URL", CANARY),
    ("REGISTRY_URL", f"postgresql://u:{CANARY}@db:5432"),
    ("REGISTRY_URL", f"postgresql://u:{CANARY}@db:5432/"),
    ("REGISTRY_URL", f"mysql://u:{CANARY}@db/registry"),
    ("REGISTRY_URL", f"postgresql://u:{CANARY}%zz@db/registry"),
    ("TENANT_CLUSTER_URL", f"host=db password={CANARY} dbname=x"),
    ("TWENTY_DATABASE_URL", ""),
    ("TWENTY_BASE_URL", "crm.example.com"),
    ("TWENTY_BASE_URL", "ftp://crm.example.com"),
    ("TWENTY_BASE_URL", ""),
    ("TWENTY_SERVICE_EMAIL", ""),
    ("TWENTY_SERVICE_EMAIL", "x"),
    ("TWENTY_SERVICE_PASSWORD", CANARY[-7:]),
    ("TWENTY_SERVICE_PASSWORD", CANARY * 10),
    ("TWENTY_CAPACITY", "many"),
    ("TWENTY_CAPACITY", "-1"),
    ("CLERK_BASE_URL", "api.clerk.com/v1"),
    ("CLERK_SECRET_KEY", ""),
    ("MEMBER_PASSWORD_KEY", CANARY),
    ("REGISTRY_TABLE", "tenants; DROP TABLE x"),
    ("TENANT_DATABASE_PATTERN", "("),
    ("TENANT_DATABASE_EXCLUDED", "twenty_tenant_template"),
    ("TWENTY_SERVERS", CANARY),
    ("TWENTY_SERVERS", f'[{{"name": "{CANARY}"'),
    ("ADOPT_DATABASES", "perhaps"),
    ("TENANT_CONCURRENCY", "0"),
    ("FAILURE_THRESHOLD", "1.5"),
    ("REQUEST_TIMEOUT_SECONDS", "0"),
]


@pytest.mark.parametrize(("name", "value"), MALFORMED)
def test_a_malformed_variable_is_named(load: Any, name: str, value: str) -> None:
    (fault,) = faults_of(load, **{name: value})
    assert fault.startswith(f"{PREFIX}{name}: ")


def test_a_clerk_key_with_a_line_end_is_taken_without_it(load: Any) -> None:
    """Keys read from files end in a line break; as a header it is an error that quotes the whole key."""
    settings = load(CLERK_SECRET_KEY=f"sk_live_{CANARY}\n")
    assert settings.clerk_secret_key.get_secret_value() == f"sk_live_{CANARY}"


@pytest.mark.parametrize("key", [" \n", f"sk_live_{CANARY}\nX", f"sk_live_{CANARY}…"])
def test_a_clerk_key_that_no_header_can_carry_is_refused(load: Any, key: str) -> None:
    (fault,) = faults_of(load, CLERK_SECRET_KEY=key)
    assert fault.startswith(f"{PREFIX}CLERK_SECRET_KEY: ")


# --- several servers ----------------------------------------------------------------------------------------------

NO_SINGLE: dict[str, str | None] = dict.fromkeys(SINGLE)


def test_servers_may_come_as_json_alone(load: Any) -> None:
    listed = [SERVER, {**SERVER, "name": "us", "base_url": "https://us.example.com", "capacity": 5, "tenants": "^us-"}]
    settings = load(TWENTY_SERVERS=json.dumps(listed), **NO_SINGLE)
    assert [(server.name, server.capacity, server.tenants) for server in settings.servers] == [
        ("eu", None, None),
        ("us", 5, "^us-"),
    ]


def test_the_single_server_comes_first_and_keeps_its_capacity(load: Any) -> None:
    settings = load(TWENTY_SERVERS=json.dumps([SERVER]), TWENTY_CAPACITY="3")
    assert [(server.name, server.capacity) for server in settings.servers] == [("twenty", 3), ("eu", None)]


def test_part_of_a_single_server_is_refused_even_beside_others(load: Any) -> None:
    faults = faults_of(load, TWENTY_SERVERS=json.dumps([SERVER]), **{**NO_SINGLE, "TWENTY_BASE_URL": "https://x.test"})
    assert [fault.split(":")[0] for fault in faults] == [PREFIX + name for name in SINGLE[1:]]


def test_no_server_at_all_is_refused(load: Any) -> None:
    faults = faults_of(load, **NO_SINGLE)
    assert [fault.split(":")[0] for fault in faults] == [PREFIX + name for name in SINGLE]
    assert all("TWENTY_SERVERS" in fault for fault in faults)


@pytest.mark.parametrize("names", [("eu", "eu"), ("twenty", "eu")])
def test_two_servers_of_one_name_are_refused(load: Any, names: tuple[str, str]) -> None:
    listed = [{**SERVER, "name": name} for name in names]
    (fault,) = faults_of(load, TWENTY_SERVERS=json.dumps(listed))
    assert fault == f"{PREFIX}TWENTY_SERVERS: two servers have the same name"


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"base_url": CANARY}, "[1].base_url"),
        ({"database_url": f"postgresql://u:{CANARY}@db"}, "[1].database_url"),
        ({"service_password": CANARY[-7:]}, "[1].service_password"),
        ({"service_email": ""}, "[1].service_email"),
        ({"name": "EU West"}, "[1].name"),
        ({"tenants": "("}, "[1].tenants"),
        ({"capacity": "many"}, "[1].capacity"),
        ({"colour": CANARY}, "[1].colour"),
    ],
)
def test_a_malformed_server_is_named_by_its_place(load: Any, change: dict[str, Any], where: str) -> None:
    listed = [SERVER, {**SERVER, "name": "us", **change}]
    (fault,) = faults_of(load, TWENTY_SERVERS=json.dumps(listed), **NO_SINGLE)
    assert fault.startswith(f"{PREFIX}TWENTY_SERVERS{where}: ")


def test_a_server_that_lacks_something_is_named_by_its_place(load: Any) -> None:
    short = {name: value for name, value in SERVER.items() if name != "database_url"}
    (fault,) = faults_of(load, TWENTY_SERVERS=json.dumps([short]), **NO_SINGLE)
    assert fault == f"{PREFIX}TWENTY_SERVERS[0].database_url: is missing"


def test_a_password_longer_than_twenty_takes_is_refused_for_every_server(load: Any) -> None:
    (fault,) = faults_of(load, TWENTY_SERVERS=json.dumps([{**SERVER, "service_password": "x" * 51}]), **NO_SINGLE)
    assert fault.startswith(f"{PREFIX}TWENTY_SERVERS[0].service_password: ")


def test_a_dotenv_file_is_read_and_the_environment_goes_before_it(load: Any) -> None:
    Path(".env").write_text(f"{PREFIX}TENANT_CONCURRENCY=7\n{PREFIX}FAILURE_THRESHOLD=0.25\nOTHER=1\n")
    settings = load(TENANT_CONCURRENCY="9")
    assert (settings.tenant_concurrency, settings.failure_threshold) == (9, 0.25)


def test_two_servers_at_one_address_are_refused(load: Any) -> None:
    faults = faults_of(load, TWENTY_SERVERS=json.dumps([SERVER, {**SERVER, "name": "us"}]), **NO_SINGLE)
    assert [fault.split(":")[0] for fault in faults] == [PREFIX + "TWENTY_SERVERS"]
    assert "counted twice" in faults[0]


def test_an_address_with_a_password_in_it_is_refused_and_not_shown(load: Any) -> None:
    faults = faults_of(load, TWENTY_BASE_URL="https://boss:canary-5ecret@crm.example.com")
    assert [fault.split(":")[0] for fault in faults] == [PREFIX + "TWENTY_BASE_URL"]
    assert "canary" not in faults[0]


def test_excluded_statuses_are_compared_in_lower_case(load: Any) -> None:
    assert load(REGISTRY_EXCLUDED_STATUSES='["Suspended", " gone "]').registry_excluded_statuses == (
        "suspended",
        "gone",
    )


def test_an_empty_variable_counts_as_not_set(load: Any) -> None:
    assert load(TWENTY_CAPACITY="").servers[0].capacity is None
