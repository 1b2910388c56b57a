"""The page for a person whom a link did not lead into Twenty."""

from dataclasses import replace
from http import HTTPStatus

import pytest

from provisioning_pipeline.model.session import Refusal
from provisioning_pipeline.report.refusal_page import RefusalPage, render

PAGE = RefusalPage(HTTPStatus.FORBIDDEN, None, "A detail.", None, None, "request-1")


@pytest.mark.parametrize("refusal", Refusal)
def test_each_refusal_has_words_of_its_own_for_people(refusal: Refusal) -> None:
    words = replace(PAGE, code=refusal.value).words

    assert words != replace(PAGE, code=None).words
    assert words.happened.endswith(".")
    assert words.to_do.endswith((".", "”."))


@pytest.mark.parametrize("status", [422, 429, 503])
def test_a_refusal_without_a_code_is_told_by_its_status(status: int) -> None:
    assert replace(PAGE, status=HTTPStatus(status)).words != PAGE.words


def test_a_word_of_a_later_version_is_shown_all_the_same() -> None:
    page = render(replace(PAGE, code="a_later_word"))

    assert "<code>a_later_word</code>" in page
    assert "The CRM cannot be opened" in page


def test_what_comes_from_outside_is_escaped_and_nothing_is_loaded() -> None:
    page = render(replace(PAGE, detail="<script>alert(1)</script>", application_url="https://app.example.com/?a=1&b"))

    assert "<script" not in page
    assert 'href="https://app.example.com/?a=1&amp;b"' in page
    assert "src=" not in page


def test_another_try_is_offered_where_it_may_help() -> None:
    assert "try again</a>" not in render(PAGE)
    assert "in 1 second:" in render(replace(PAGE, retry_seconds=1))
    assert "in 60 seconds:" in render(replace(PAGE, retry_seconds=60))
