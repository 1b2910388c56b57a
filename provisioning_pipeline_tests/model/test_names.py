"""Names are read letter by letter only where a letter is odd; what comes out is the same."""

import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from provisioning_pipeline.model.names import LONGEST, plain_name, shows_nothing

ANYTHING = st.text(st.characters(codec=None, exclude_categories=()), max_size=2 * LONGEST)
BLANK = {"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"}
FILLERS = "\u115f\u1160\u2800\u3164\uffa0"


@given(name=ANYTHING)
@example(name="Ann\u00a0Lee ")
@example(name="a\nb\x7f")
@example(name="\ud800")
def test_control_characters_and_halves_become_blanks_and_nothing_else_changes(name: str) -> None:
    letters = [" " if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in name[:LONGEST]]
    assert plain_name(name) == "".join(letters).strip()


@given(text=ANYTHING)
@example(text="")
@example(text=" \t")
@example(text="\x7f")
@example(text="\u3164 ")
def test_what_shows_nothing_is_blanks_and_fillers_alone(text: str) -> None:
    assert shows_nothing(text) == all(letter in FILLERS or unicodedata.category(letter) in BLANK for letter in text)
