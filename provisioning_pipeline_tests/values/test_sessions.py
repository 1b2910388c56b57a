"""The middleware reads its settings as the program reads them: the same values, or a fault in the same variable."""

import json
import os
import re
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.settings import GatewaySettings, SettingsError
from provisioning_pipeline.settings.program import Settings
from provisioning_pipeline.values.sessions import SessionSettings
from provisioning_pipeline_tests.settings.complete import CANARY

NEEDED = {
    "REGISTRY_URL": f"postgresql://u:{CANARY}@db:5432/registry",
    "CLERK_SECRET_KEY": f"sk_live_{CANARY}",
}
TEXTS = ["", " ", "x", "Member", " Member\n", '"Member"', "a\nb", "\ufeffMember", "[]", "{}", "null", "7", "\udcff"]
NUMBERS = ["0", "1", "0.5", "1.0", "300", "301", "-1", "1e400", "nan", "one", "10 s", "1000000001", "5e9", " 3 "]
LISTS = ["[]", '["a"]', '["A", " a ", "A"]', '[" Gone\\n"]', "[1]", '{"a": "b"}', "a,b", '["a\\nb"]', "[" * 99_999]
ROLES = ['{"org:admin": "Admin"}', '{"org:x": 1}', "{}", "[]", "x", '{" org:x ": "Member"}']
URLS = [
    *("https://clerk.example.com", "https://clerk.example.com/", "http://clerk.example.com", "http://localhost:9/v1"),
    *("clerk.example.com", "https://u:p@x", "https://x?y=1", "ftp://x", "http://twenty.internal/v1"),
]
OF_ISSUERS = [
    json.dumps(urls) for urls in ([], URLS[:1], URLS[:2], URLS[2:3], URLS[3:4], ["https://a.x", "https://b.x"])
]
DATABASES = [
    *("postgresql://u:p@db/registry", "postgres://db/registry", "mysql://db/x", "postgresql://u:p/x@db/registry"),
    *("postgresql://db", "postgresql://db/x?sslmode=require", "host=db"),
]
VALUES: dict[str, list[str]] = {
    "REGISTRY_URL": DATABASES,
    "CLERK_SECRET_KEY": ["sk_test_1", "pk_test_1", "sk tést", "", "x\ny"],
    "REGISTRY_TABLE": ["tenants", "public.tenants", "a.b.c", "tenants; DROP", "1a", "a b", *TEXTS],
    "REGISTRY_EXCLUDED_STATUSES": LISTS,
    "REGISTRY_GONE_STATUSES": LISTS,
    "REGISTRY_LOST_SHARE": NUMBERS,
    "REGISTRY_LOST_MOST": NUMBERS,
    "ALLOW_HTTP_HOSTS": [*LISTS, '["twenty.internal"]', '["http://x"]', '["CLERK.example.com."]'],
    "CLERK_BASE_URL": URLS,
    "CLERK_REQUESTS_PER_10_SECONDS": NUMBERS,
    "CLERK_ISSUERS": [*OF_ISSUERS, *LISTS],
    "CLERK_JWKS_URL": URLS,
    "CLERK_AUTHORIZED_PARTIES": [*LISTS, '["https://app.example.com/"]'],
    "CLERK_KEYS_STALE_SECONDS": NUMBERS,
    "CLERK_LOOK_SHARE": NUMBERS,
    "SESSION_CACHE_SECONDS": NUMBERS,
    "MEMBER_ROLES": ROLES,
    "MEMBER_DEFAULT_ROLE": TEXTS,
}
CHANGES = st.lists(
    st.sampled_from(sorted(VALUES)).flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(VALUES[name]))),
    max_size=4,
).map(dict)


def read(kind: Any, changes: dict[str, str]) -> SessionSettings | set[str]:
    """What comes of this environment: the settings, or the variables that have faults."""
    environment = {f"PROVISIONING_{name}": value for name, value in (NEEDED | changes).items()}
    with pytest.MonkeyPatch.context() as patched:
        for name in [name for name in os.environ if name.upper().startswith("PROVISIONING_")]:
            patched.delenv(name)
        for name, value in environment.items():
            patched.setenv(name, value)
        try:
            found: SessionSettings = kind()
        except SettingsError as error:
            faults = error.faults
        else:
            return found
    assert CANARY not in str(faults)
    return {re.split(r"[:.\[]", fault)[0] for fault in faults}


def by_the_program() -> SessionSettings:
    from pydantic import ValidationError

    from provisioning_pipeline.settings.faults import fault_lines

    try:
        return GatewaySettings(_env_file=None).sessions  # type: ignore[call-arg]  # the rest is in the environment
    except ValidationError as error:
        raise SettingsError(fault_lines(error)) from None


@given(CHANGES)
def test_any_environment_is_read_as_the_program_reads_it(changes: dict[str, str]) -> None:
    assert read(SessionSettings.from_environment, changes) == read(by_the_program, changes)


def test_every_setting_is_tried_and_has_the_programs_default() -> None:
    names = {one.name for one in fields(SessionSettings)}
    assert {name.upper() for name in names} == set(VALUES)
    assert names <= set(Settings.model_fields)
    assert read(SessionSettings.from_environment, {}) == read(by_the_program, {})


def test_keywords_are_checked_like_the_environment() -> None:
    with pytest.raises(SettingsError) as refused:
        SessionSettings(
            registry_url="host=db",
            clerk_secret_key="pk_1",
            clerk_issuers=("http://clerk.example.com",),
            member_roles={},
        )
    assert [fault.partition(":")[0] for fault in refused.value.faults] == [
        "PROVISIONING_REGISTRY_URL",
        "PROVISIONING_CLERK_SECRET_KEY",
        "PROVISIONING_CLERK_ISSUERS",
    ]


def test_neither_repr_nor_a_fault_shows_a_secret() -> None:
    settings = SessionSettings(registry_url=NEEDED["REGISTRY_URL"], clerk_secret_key=NEEDED["CLERK_SECRET_KEY"])
    assert CANARY not in repr(settings)
    assert CANARY in settings.registry_url


def test_what_is_missing_is_named() -> None:
    with pytest.raises(SettingsError, match="PROVISIONING_REGISTRY_URL: is missing"):
        SessionSettings.from_environment({"PROVISIONING_CLERK_SECRET_KEY": "sk_1", "PROVISIONING_REGISTRY_URL": " "})
