"""Places that apprise reaches: what is refused before anything is sent, and that no URL is ever shown."""

import pytest
from pydantic import SecretStr

from provisioning_pipeline.clients import notification
from provisioning_pipeline.clients.notification import NoPlace, notify, place_of
from provisioning_pipeline_tests.clients.test_webhook import SECRET, receiving


def refused(url: str, *http_hosts: str) -> str:
    with pytest.raises(NoPlace) as found:
        place_of(SecretStr(url), http_hosts=http_hosts)
    assert SECRET not in str(found.value)
    return str(found.value)


def test_a_way_that_others_can_read_is_refused_but_for_this_machine_and_hosts_that_are_named() -> None:
    readable = f"json://user:{SECRET}@alerts.example.com/x"

    assert "write jsons://, or name the host in PROVISIONING_ALLOW_HTTP_HOSTS" in refused(readable)
    assert place_of(SecretStr(readable), http_hosts=["alerts.example.com"])
    for url in (
        "json://127.0.0.1/x",
        "jsons://alerts.example.com/x",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
    ):
        assert place_of(SecretStr(url), http_hosts=())


def test_what_is_no_place_is_refused_without_its_words() -> None:
    assert refused(f"no-such-service://{SECRET}") == "is no URL that apprise takes"
    assert refused(f"slack://{SECRET}") == "is no URL that apprise takes"


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notification, "find_spec", lambda _: None)

    (told,) = notify([SecretStr(f"jsons://{SECRET}")], "title", "body")

    assert told == (
        "number 1 (jsons) needs apprise, which is not installed here: pip install 'provisioning-pipeline[apprise]'"
    )


def test_a_place_that_is_away_keeps_the_message_from_no_other() -> None:
    with receiving() as place:
        urls = [f"json://127.0.0.1:9/{SECRET}", f"json://127.0.0.1:{place.server_port}/{SECRET}"]
        told = notify([SecretStr(url) for url in urls], "title", "x" * 100_000)

        assert told == ("number 1 (json) did not take it",)
        assert [message["title"] for message in place.received] == ["title"]
