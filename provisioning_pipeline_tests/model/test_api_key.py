"""What an API key looks like, and what is kept of it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.model.api_key import PREFIX, ApiKey, fits, hash_of, key_id_of, new_key

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def kept(key: str, **given: datetime | None) -> ApiKey:
    times = {"expires_at": None, "last_used_at": None, "revoked_at": None} | given
    return ApiKey(id=key_id_of(key) or "", name="tenant-manager", hash=hash_of(key), created_at=NOW, **times)


def test_a_new_key_carries_its_id_and_no_two_are_alike() -> None:
    made = [new_key() for _ in range(100)]

    assert all(key_id_of(key) == key_id for key_id, key in made)
    assert all(key.startswith(f"{PREFIX}_") for _, key in made)
    assert len({key for _, key in made}) == len({key_id for key_id, _ in made}) == 100


def test_what_is_kept_holds_nothing_of_the_keys_secret() -> None:
    _, key = new_key()
    secret = key.split("_", 2)[2]

    assert secret not in repr(kept(key))
    assert secret.encode() not in hash_of(key)
    assert len(hash_of(key)) == 32


def test_only_the_key_itself_fits() -> None:
    key_id, key = new_key()
    _, other = new_key()
    known = kept(key)

    assert fits(key, known, NOW)
    assert not fits(key, None, NOW)
    assert not fits(key[:-1], known, NOW)
    assert not fits(f"{key} ", known, NOW)
    assert not fits(f"{PREFIX}_{key_id}_{other.split('_', 2)[2]}", known, NOW)
    assert not fits("", known, NOW)


@pytest.mark.parametrize(
    ("times", "state"),
    [
        ({}, "active"),
        ({"expires_at": NOW + timedelta(seconds=1)}, "active"),
        ({"expires_at": NOW}, "expired"),
        ({"expires_at": NOW - timedelta(days=1)}, "expired"),
        ({"revoked_at": NOW}, "revoked"),
        ({"revoked_at": NOW, "expires_at": NOW}, "revoked"),
        ({"revoked_at": NOW + timedelta(days=1)}, "revoked"),
    ],
)
def test_a_key_fits_for_as_long_as_it_is_active(times: dict[str, datetime], state: str) -> None:
    _, key = new_key()
    known = kept(key, **times)

    assert known.state(NOW) == state
    assert fits(key, known, NOW) is (state == "active")


@given(st.text())
def test_nothing_else_has_the_form_of_a_key(text: str) -> None:
    assert key_id_of(text) is None
    assert not fits(text, None, NOW)


def test_a_line_break_behind_a_key_is_no_key() -> None:
    _, key = new_key()

    assert key_id_of(f"{key}\n") is None
    assert key_id_of(f" {key}") is None
