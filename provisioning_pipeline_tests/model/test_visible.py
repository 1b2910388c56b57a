"""Text from outside: what steers or hides is seen as an escape, and everything that people write stays."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.model.names import unsteered, visible

ANYTHING = st.text(st.characters(exclude_categories=[]), max_size=20)
TRICKY = st.text(st.sampled_from("\\xnt1bu\x1b\n\t\u200b\u202e"), max_size=8)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31m", "\\x9b31m"),
        ("a\nb\tc\rd", "a\\nb\\tc\\x0dd"),
        ("\u202eydaer", "\\u202eydaer"),
        ("ac\u200bme\ufeff\u00ad\u2060", "ac\\u200bme\\ufeff\\xad\\u2060"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("ac\u200dme", "ac\\u200dme"),
        ("a\u00a0b", "a\\xa0b"),
        ("\u3164", "\\u3164"),
        ("\\x1b", "\\\\x1b"),
        ("C:\\Data", "C:\\Data"),
    ],
)
def test_what_steers_or_hides_is_seen(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "Bücher & Söhne",
        "日本語　山田",
        "é́ e\u0301",
        "👩\u200d🚀 👍🏽 ❤\ufe0f 1\ufe0f\u20e3 🏳\ufe0f\u200d🌈",
        "Ελλάδα Россия",
        "مرحبا می\u200cخواهم",
        "שלום",
        "क्\u200dष ক্\u200cষ ไทย 한국어",
        "O'Brien — “Zoë”… №5 €",
    ],
)
def test_what_people_write_stays(text: str) -> None:
    assert visible(text) == unsteered(text) == text


@given(ANYTHING | TRICKY)
def test_nothing_that_steers_is_left(text: str) -> None:
    shown = visible(text)
    assert not [letter for letter in shown if unicodedata.category(letter) in {"Cc", "Cs", "Co", "Zl", "Zp"}]
    assert shown.encode().decode() == shown
    left = set(unsteered(text)) - set("\n\t")
    assert not [letter for letter in left if unicodedata.category(letter) in {"Cc", "Cs", "Co", "Zl", "Zp"}]


@given(ANYTHING | TRICKY, ANYTHING | TRICKY)
def test_texts_that_differ_are_seen_to_differ(one: str, other: str) -> None:
    assert (visible(one) == visible(other)) == (one == other)


def test_sentences_of_ours_keep_their_lines() -> None:
    assert unsteered("one\n\ttwo\\d\x1b[2J") == "one\n\ttwo\\d\\x1b[2J"
