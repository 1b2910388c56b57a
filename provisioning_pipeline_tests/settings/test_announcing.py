"""The settings of webhooks that leave."""

import json
from typing import Any

import pytest

from provisioning_pipeline.settings import PREFIX
from provisioning_pipeline_tests.settings.complete import CANARY, faults_of

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
URL = f"https://tenants.example.com/hook/{CANARY}"


def test_an_address_has_a_name_that_shows_nothing_of_it(load: Any) -> None:
    settings = load(WEBHOOK_URLS=json.dumps([URL, URL, f"{URL}/2"]), WEBHOOK_SECRET=SECRET)

    assert [url.get_secret_value() for url in settings.webhook_endpoints.values()] == [URL, f"{URL}/2"]
    assert CANARY not in str(list(settings.webhook_endpoints))
    assert CANARY not in repr(settings)


def test_without_an_address_there_is_none(load: Any) -> None:
    assert load().webhook_endpoints == {}


def test_an_address_keeps_its_name_whatever_stands_beside_it(load: Any) -> None:
    one = load(WEBHOOK_URLS=json.dumps([URL]), WEBHOOK_SECRET=SECRET).webhook_endpoints
    two = load(WEBHOOK_URLS=json.dumps(["https://a.example", URL]), WEBHOOK_SECRET=SECRET).webhook_endpoints

    assert set(one) < set(two)


def test_no_webhook_leaves_unsigned(load: Any) -> None:
    (fault,) = faults_of(load, WEBHOOK_URLS=json.dumps([URL]))

    assert fault.startswith(f"{PREFIX}WEBHOOK_URLS")
    assert f"{PREFIX}WEBHOOK_SECRET" in fault


@pytest.mark.parametrize("secret", [CANARY, "whsec_", f"whsec_{CANARY}!", "whsec_c2hvcnQ=", "whsec_" + "QUFB" * 30])
def test_a_secret_that_signs_nothing_is_refused_by_itself(load: Any, secret: str) -> None:
    (fault,) = faults_of(load, WEBHOOK_URLS=json.dumps([URL]), WEBHOOK_SECRET=secret)

    assert fault.startswith(f"{PREFIX}WEBHOOK_SECRET: must be whsec_")


def test_each_address_is_encrypted_off_this_machine(load: Any) -> None:
    plain = json.dumps([URL, "http://tenants.example.com/x"])
    (fault,) = faults_of(load, WEBHOOK_URLS=plain, WEBHOOK_SECRET=SECRET)

    assert "must start with https://" in fault
    assert load(WEBHOOK_URLS='["http://localhost:8000/x"]', WEBHOOK_SECRET=SECRET).webhook_endpoints
    named = load(WEBHOOK_URLS=plain, WEBHOOK_SECRET=SECRET, ALLOW_HTTP_HOSTS='["tenants.example.com"]')
    assert len(named.webhook_endpoints) == 2
