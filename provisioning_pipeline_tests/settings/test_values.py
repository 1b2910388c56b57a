"""What stands around or inside a value is treated alike in every setting, wherever it is read from."""

import json
from pathlib import Path
from typing import Any

import pytest

from provisioning_pipeline.settings import PREFIX, Settings
from provisioning_pipeline_tests.settings.complete import CANARY, COMPLETE, faults_of

EVERY = {
    **COMPLETE,
    "REGISTRY_TABLE": "public.tenants",
    "REGISTRY_READY_STATUS": "live",
    "CLERK_ISSUERS": '["https://clerk.example.com"]',
    "CLERK_WEBHOOK_SECRET": f"whsec_{CANARY.replace('-', '')}",
    "ALERT_WEBHOOK_URL": f"https://hooks.example.com/{CANARY}@x/y",
    "REPORT_PASSWORD": CANARY,
    "REPORT_PATH": "/var/reports",
    "TABLES_PATH": "/var/tables",
    "MEMBER_ROLES": '{"org:admin": "Admin"}',
    "MEMBERS_GONE": "demote",
    "TENANT_DATABASE_EXCLUDED": '["a_template"]',
    "TENANT_DATABASE_PATTERN": "^t_",
    "ADOPT_DATABASES": "false",
    "TENANT_CONCURRENCY": "7",
    "FAILURE_THRESHOLD": "0.25",
    "TWENTY_SERVERS": json.dumps(
        [
            {
                "name": "eu",
                "base_url": "https://eu.example.com",
                "database_url": f"postgresql://u:{CANARY}@db/eu",
                "service_email": "provisioner@example.com",
                "service_password": CANARY,
            }
        ]
    ),
}
"""A setting of every kind."""


def named(faults: tuple[str, ...]) -> set[str]:
    """The variables that they are about."""
    return {fault.split(":")[0].removeprefix(PREFIX) for fault in faults}


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " {}\t", "\ufeff{}", "\u00a0{}\u200b\n"])
def test_what_stands_around_a_value_counts_in_no_setting(load: Any, around: str) -> None:
    plain: Settings = load(**EVERY)
    assert load(**{name: around.format(value) for name, value in EVERY.items()}) == plain
    assert plain.member_password_key.get_secret_value() == COMPLETE["MEMBER_PASSWORD_KEY"]


def test_what_stands_around_a_value_counts_inside_of_lists_and_objects_neither(load: Any) -> None:
    server = {name: f" {value}\n" for name, value in json.loads(EVERY["TWENTY_SERVERS"])[0].items()}
    changed = {
        "TWENTY_SERVERS": json.dumps([server]),
        "TENANT_DATABASE_EXCLUDED": '["a_template\\n"]',
        "MEMBER_ROLES": '{"org:admin\\n": " Admin"}',
    }
    assert load(**EVERY | changed) == load(**EVERY)


@pytest.mark.parametrize("spoiled", ["x\nx", "x\x1bx", "x\x7fx", "x\u2028x", "x\udce9x"])
def test_control_characters_inside_are_refused_in_every_setting(load: Any, spoiled: str) -> None:
    changes = {name: value.replace(value[-3:], spoiled) for name, value in EVERY.items()}
    assert named(faults_of(load, **EVERY | changes)) == set(EVERY)


@pytest.mark.parametrize("quoted", ['"{}"', "'{}'", "“{}”"])
def test_quotation_marks_are_refused_in_every_setting(load: Any, quoted: str) -> None:
    faults = faults_of(load, **EVERY | {name: quoted.format(value) for name, value in EVERY.items()})
    assert named(faults) == set(EVERY)
    assert all("stands in quotation marks" in fault for fault in faults)


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"LOCK_WAIT_SECONDS": "30s"}, ["LOCK_WAIT_SECONDS: must be a number, without a unit"]),
        ({"TENANT_CONCURRENCY": "4 "}, []),
        ({"TENANT_CONCURRENCY": "4.5"}, ["TENANT_CONCURRENCY: must be a whole number, without a unit"]),
        ({"REQUEST_TIMEOUT_SECONDS": "inf"}, ["REQUEST_TIMEOUT_SECONDS: must be a number that is not infinite"]),
        ({"REQUEST_TIMEOUT_SECONDS": "nan"}, ["REQUEST_TIMEOUT_SECONDS: must be a number that is not infinite"]),
        ({"KEEP_REPORTS_DAYS": "99999999"}, ["KEEP_REPORTS_DAYS: Input should be less than or equal to 36500"]),
        ({"ADOPT_DATABASES": "perhaps"}, ["ADOPT_DATABASES: must be true or false"]),
        ({"CLERK_SECRET_KEY": f"pk_live_{CANARY}"}, ["CLERK_SECRET_KEY: is Clerk's publishable key: the secret key b"]),
        ({"TWENTY_SERVICE_EMAIL": "provisioner"}, ["TWENTY_SERVICE_EMAIL: must be an e-mail address"]),
        (
            {"TENANT_DATABASE_EXCLUDED": "a,b", "MEMBER_ROLES": "Admin", "CLERK_ISSUERS": "[", "TWENTY_SERVERS": "[1]"},
            [
                'CLERK_ISSUERS: must be a JSON list, such as ["one", "two"]',
                'MEMBER_ROLES: must be a JSON object, such as {"org:admin": "Admin"}',
                'TWENTY_SERVERS[0]: must be a JSON object, such as {"name": "eu"}',
                'TENANT_DATABASE_EXCLUDED: must be a JSON list, such as ["one", "two"]',
            ],
        ),
    ],
)
def test_every_fault_is_found_at_once_in_plain_words(load: Any, changes: dict[str, str], faults: list[str]) -> None:
    if not faults:
        load(**changes)
        return
    found = faults_of(load, **changes)
    assert len(found) == len(faults)
    for line, beginning in zip(found, faults, strict=True):
        assert line.startswith(PREFIX + beginning)


def test_a_list_holds_each_of_its_values_once(load: Any) -> None:
    settings = load(TENANT_DATABASE_EXCLUDED='["a", "b", "a "]', CLERK_AUTHORIZED_PARTIES='["https://app.test/"]')
    assert settings.tenant_database_excluded == ("a", "b")
    # as a browser writes an origin, and so the claim of a session token
    assert settings.clerk_authorized_parties == ("https://app.test",)


# --- addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        f"https://u:{CANARY}@crm.example.com",
        f"https://u:{CANARY[:4]}/{CANARY[4:]}@crm.example.com",
        f"https://u:1/{CANARY}@crm.example.com",
        f"https:{CANARY}.example.com",
        f"https:/{CANARY}.example.com",
        f"https:///{CANARY}",
        f"https://{CANARY} x.example.com",
        "https://crm.example.com:99999",
        "https://crm.example.com:port",
        "https://[::1",
        "https://crm.example.com/?a=b",
        "https://crm.example.com/#top",
        "https://xn--\u00fc.example.com",
    ],
)
def test_an_address_that_no_request_can_be_sent_to_is_refused(load: Any, url: str) -> None:
    addresses = ("TWENTY_BASE_URL", "CLERK_BASE_URL", "DAGSTER_URL", "DAGSTER_GRAPHQL_URL", "API_URL")
    assert named(faults_of(load, **dict.fromkeys(addresses, url))) == set(addresses)


@pytest.mark.parametrize("url", ["https://hooks.test/a@b/c", "http://[::1]:80/x", "https://b\u00fccher.test/?a=b"])
def test_other_addresses_are_taken(load: Any, url: str) -> None:
    assert load(ALERT_WEBHOOK_URL=url).alert_webhook_url.get_secret_value() == url


# --- paths ----------------------------------------------------------------------------------------------------------


def test_a_tilde_in_a_path_is_the_home(load: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "root.crt").write_text("")
    settings = load(
        REPORT_PATH="~/reports",
        TABLES_PATH="~/tables",
        REGISTRY_URL="postgresql://u:p@db/registry?sslmode=verify-full&sslrootcert=~/root.crt",
    )
    assert settings.report_path == str(tmp_path / "reports")
    assert settings.tables == f"{tmp_path}/tables"
    assert settings.registry_url.get_secret_value().endswith(f"&sslrootcert={tmp_path}/root.crt")
    assert load(TABLES_PATH="file://~/tables").tables == f"file://{tmp_path}/tables"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("REPORT_PATH", "$HOME/reports", "variables are not expanded"),
        ("TABLES_PATH", "${HOME}/tables", "variables are not expanded"),
        ("REPORT_PATH", "~nobody-of-that-name/reports", "a user who is not known"),
        ("TABLES_PATH", "s4://bucket/tables", "a scheme that fsspec does not know"),
        ("TABLES_PATH", f"s3://key:{CANARY}@bucket/tables", "must not hold a password"),
        ("TABLES_PATH", f"s3://key:1/{CANARY}@bucket/tables", "must not hold a password"),
    ],
)
def test_a_path_that_cannot_be_meant_is_refused(load: Any, name: str, value: str, words: str) -> None:
    (fault,) = faults_of(load, **{name: value})
    assert fault.startswith(f"{PREFIX}{name}: ")
    assert words in fault


# --- the file .env --------------------------------------------------------------------------------------------------

_LINES = f"{PREFIX}TENANT_CONCURRENCY=7\n{PREFIX}REGISTRY_READY_STATUS=läuft\n"


@pytest.mark.parametrize(
    "content",
    [
        _LINES.encode(),
        _LINES.encode("utf-8-sig"),
        _LINES.replace("\n", "\r\n").encode(),
        _LINES.replace(PREFIX, f"export {PREFIX}")
        .replace("=7", "='7'")
        .replace("läuft", '"läuft" # in words')
        .encode(),
    ],
)
def test_a_file_is_read_however_its_lines_end(load: Any, content: bytes) -> None:
    Path(".env").write_bytes(content)
    settings = load()
    assert (settings.tenant_concurrency, settings.registry_ready_status) == (7, "läuft")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_a_file_in_another_encoding_is_refused(load: Any, encoding: str) -> None:
    Path(".env").write_bytes(_LINES.encode(encoding))
    assert faults_of(load) == (".env: is not in UTF-8: save it in that encoding",)


@pytest.mark.parametrize("line", [f"{PREFIX}REPORT_PASSWORD='{CANARY}", f"- {CANARY}", f'{PREFIX}A="{CANARY}" x'])
def test_a_line_that_cannot_be_read_is_named_and_not_passed_over(load: Any, line: str) -> None:
    Path(".env").write_text(f"{PREFIX}TENANT_CONCURRENCY=7\n{line}\n")
    (fault,) = faults_of(load)
    assert fault.startswith(".env: line 2 is not NAME=value")


def numbers() -> list[str]:
    kinds = {int, float, int | None, float | None}
    return [name.upper() for name, field in Settings.model_fields.items() if field.annotation in kinds]


@pytest.mark.parametrize("name", numbers())
def test_no_number_is_so_large_that_something_behind_it_overflows(load: Any, name: str) -> None:
    for number in ("1e308", "99999999999999999999", "3153600001"):
        (fault,) = faults_of(load, **{name: number})
        assert name in fault
