"""What a workspace is called: Twenty takes whatever comes out, whatever stands in a registry."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from provisioning_pipeline.model.names import LONGEST_NAME, display_name, person_name

DB = "twenty_tenant_acme_0a1b2c3d"
JS_BLANKS = "\t\n\v\f\r \u00a0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
ANYTHING = st.text(st.characters(codec=None, exclude_categories=()), max_size=400)


def taken_by_twenty(name: str) -> bool:
    """Twenty's own rules, as 2.21.0 answered: its length, then whether anything is left once blanks are trimmed."""
    return len(name) <= LONGEST_NAME and bool(name.strip(JS_BLANKS)) and "\0" not in name


@given(wanted=ANYTHING, slug=ANYTHING)
@example(wanted="", slug="")
@example(wanted="\u200b\ufeff", slug="\u3000")
@example(wanted="\u0301" * 300, slug="acme")
@example(wanted="\u200d" * 300 + "x", slug="acme")
def test_twenty_takes_every_name_that_comes_out(wanted: str, slug: str) -> None:
    found = display_name(wanted, slug, DB)
    assert taken_by_twenty(found.text)
    assert not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in found.text)
    # deciding again changes nothing, so that a plan has the same name every time
    assert display_name(found.text, slug, DB).text == found.text


@given(wanted=st.text(st.characters(categories=("Lu", "Ll", "Lo", "Nd", "So")), min_size=1, max_size=LONGEST_NAME))
def test_a_name_that_twenty_takes_stays_as_it_is(wanted: str) -> None:
    assert display_name(wanted, "acme", DB).text == wanted
    assert display_name(wanted, "acme", DB).why == ""


@pytest.mark.parametrize(
    "blank",
    ["", "   ", "\u00a0", "\u3000", "\u2028", "\ufeff", "\u200b", "\0", "\u200d\u2060", "\u3164", "\u2800\u200b"],
)
def test_a_name_that_shows_nothing_is_replaced_by_the_slug_and_said(blank: str) -> None:
    found = display_name(blank, "acme", DB)
    assert (found.text, "blank" in found.why) == ("acme", True)


def test_without_a_slug_that_shows_anything_the_database_gives_the_name() -> None:
    assert display_name(" ", "\u200b", DB).text == DB


def test_a_name_that_is_too_long_is_cut_and_the_plan_says_how_long_it_was() -> None:
    found = display_name("x" * 300, "acme", DB)
    assert found.text == "x" * 99 + "…"
    assert "300 characters" in found.why


def test_a_hundred_emoji_are_a_hundred_characters_to_twenty() -> None:
    assert display_name("😀" * 100, "acme", DB).text == "😀" * 100
    assert len(display_name("😀" * 101, "acme", DB).text) == 100


def test_a_name_is_not_cut_inside_what_is_shown_as_one_character() -> None:
    family = "👨\u200d👩\u200d👧"
    cut = display_name("x" * 97 + family + "x" * 20, "acme", DB).text
    assert cut == "x" * 97 + "…"
    accented = display_name("x" * 98 + "e\u0301" + "x" * 20, "acme", DB).text
    assert accented == "x" * 98 + "…"


def test_control_characters_are_left_out_and_that_is_said() -> None:
    found = display_name("Acme\0\nLtd", "acme", DB)
    assert (found.text, "control characters" in found.why) == ("Acme  Ltd", True)


@given(name=ANYTHING)
def test_no_name_of_a_person_holds_what_twenty_refuses(name: str) -> None:
    cleaned = person_name(name)
    assert "\0" not in cleaned
    assert len(cleaned) <= 256
    assert person_name(cleaned) == cleaned


def test_names_of_people_stay_as_they_are() -> None:
    assert person_name(" Ángela ") == "Ángela"
    assert person_name("山田") == "山田"
    assert person_name("\u3164") == person_name("\u200b \u2800") == ""
    assert person_name("한\u3164글") == "한\u3164글"
    assert person_name("Ann\0e") == "Ann e"
    assert person_name("n" * 3_000_000) == "n" * 256
