"""What carries our secrets is encrypted off this machine, and no secret is so plain that it is soon guessed."""

import json
from typing import Any

import pytest

from provisioning_pipeline.settings import PREFIX
from provisioning_pipeline_tests.settings.complete import COMPLETE, faults_of
from provisioning_pipeline_tests.settings.test_settings import NO_SINGLE, SERVER

CARRIERS = ("CLERK_BASE_URL", "TWENTY_BASE_URL", "ALERT_WEBHOOK_URL")
HERE = (
    "http://localhost:3000",
    "http://LOCALHOST.:3000",
    "http://acme.localhost/x",
    "http://127.0.0.1:3000",
    "http://127.9.9.9",
    "http://[::1]:3000",
)
ELSEWHERE = (
    "http://crm.example.com",
    "HTTP://crm.example.com",
    "http://10.0.0.7:3000",
    "http://0.0.0.0:3000",
    "http://127.0.0.1.example.com",
    "http://localhost.example.com",
    "http://notlocalhost",
    "http://[fd00::1]:3000",
)


@pytest.mark.parametrize("url", ELSEWHERE)
def test_what_carries_secrets_is_encrypted_off_this_machine(load: Any, url: str) -> None:
    faults = faults_of(load, **dict.fromkeys(CARRIERS, url))
    assert {fault.split(":")[0].removeprefix(PREFIX) for fault in faults} == set(CARRIERS)
    for fault in faults:
        assert "must start with https://" in fault
        assert f"{PREFIX}ALLOW_HTTP_HOSTS" in fault
        assert url not in fault


@pytest.mark.parametrize("url", HERE)
def test_this_machine_may_be_spoken_to_in_clear(load: Any, url: str) -> None:
    settings = load(**dict.fromkeys(CARRIERS, url))
    assert (settings.clerk_base_url, settings.twenty_base_url) == (url, url)
    assert load(CLERK_ISSUERS=json.dumps([url])).clerk_issuers == (url,)


def test_each_of_several_servers_is_encrypted(load: Any) -> None:
    listed = [SERVER, {**SERVER, "name": "us", "base_url": "http://us.example.com"}]
    (fault,) = faults_of(load, TWENTY_SERVERS=json.dumps(listed), **NO_SINGLE)
    assert fault.startswith(f"{PREFIX}TWENTY_SERVERS: the base_url of us must start with https://")


def test_a_host_that_an_operator_names_may_be_spoken_to_in_clear_and_no_other(load: Any) -> None:
    listed = [{**SERVER, "base_url": "http://Twenty-2.internal.:3000"}]
    named = {"ALLOW_HTTP_HOSTS": '["TWENTY.internal", "twenty-2.internal", "fd00::1"]'}
    settings = load(
        **named,
        TWENTY_BASE_URL="http://twenty.internal:3000",
        ALERT_WEBHOOK_URL="http://[fd00::1]:80/x",
        TWENTY_SERVERS=json.dumps(listed),
    )
    assert [server.base_url for server in settings.servers] == [
        "http://twenty.internal:3000",
        "http://Twenty-2.internal.:3000",
    ]
    for other in ("http://internal", "http://x.twenty.internal", "http://twenty.internal.example.com"):
        (fault,) = faults_of(load, **named, TWENTY_SERVERS=None, TWENTY_BASE_URL=other)
        assert fault.startswith(f"{PREFIX}TWENTY_BASE_URL: must start with https://")


@pytest.mark.parametrize("entry", ["http://a.test", "a.test:3000", "*.a.test", "*", "a@b", "", "[::1]", "a b"])
def test_an_exception_is_the_name_of_one_host(load: Any, entry: str) -> None:
    (fault,) = faults_of(load, ALLOW_HTTP_HOSTS=json.dumps([entry]))
    assert fault.startswith(f"{PREFIX}ALLOW_HTTP_HOSTS: must be names of hosts alone")


def test_no_exception_lets_session_keys_come_in_clear(load: Any) -> None:
    (fault,) = faults_of(load, ALLOW_HTTP_HOSTS='["clerk.internal"]', CLERK_ISSUERS='["http://clerk.internal"]')
    assert "must start with https://" in fault


# --- secrets that are soon guessed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REPORT_PASSWORD", "x"),
        ("REPORT_PASSWORD", "elevenchars"),
        ("REPORT_PASSWORD", "aaaaaaaaaaaaaaaaaaaa"),
        ("REPORT_PASSWORD", "abcdabcdabcdabcd"),
        ("MEMBER_PASSWORD_KEY", "a" * 16),
        ("MEMBER_PASSWORD_KEY", "a" * 64),
        ("MEMBER_PASSWORD_KEY", "12345" * 8),
        ("TWENTY_SERVICE_PASSWORD", "aaaaaaaa"),
        ("TWENTY_SERVICE_PASSWORD", "abcabcabc"),
    ],
)
def test_a_secret_that_is_soon_guessed_is_refused_and_not_shown(load: Any, name: str, value: str) -> None:
    (fault,) = faults_of(load, **{name: value})
    assert fault.startswith(f"{PREFIX}{name}: ")
    assert len(value) == 1 or value not in fault


def test_a_weak_member_key_is_not_changed_without_its_story(load: Any) -> None:
    (fault,) = faults_of(load, MEMBER_PASSWORD_KEY="a" * 32)
    assert "openssl rand -hex 32" in fault
    assert "docs/installation.md, The member password key" in fault


def test_a_weak_password_of_one_of_several_servers_is_refused(load: Any) -> None:
    (fault,) = faults_of(load, TWENTY_SERVERS=json.dumps([{**SERVER, "service_password": "zzzzzzzz"}]), **NO_SINGLE)
    assert fault.startswith(f"{PREFIX}TWENTY_SERVERS[0].service_password: is guessed too soon")


@pytest.mark.parametrize(
    "key", ["0123456789abcdef0123456789abcdef", "sixteen letters!", COMPLETE["MEMBER_PASSWORD_KEY"]]
)
def test_a_member_key_in_use_is_refused_for_no_less_than_clear_nonsense(load: Any, key: str) -> None:
    assert load(MEMBER_PASSWORD_KEY=key).member_password_key.get_secret_value() == key


def test_a_report_password_of_words_is_enough(load: Any) -> None:
    assert load(REPORT_PASSWORD="three plain words").report_password.get_secret_value() == "three plain words"
