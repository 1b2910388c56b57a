"""The password of an account that we create."""

from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from provisioning_pipeline.clients.twenty.accounts import derived_password
from provisioning_pipeline_tests.clients.twenty import KEY

EMAILS = st.text(st.characters(codec="utf-8"), max_size=80)


@given(EMAILS, EMAILS)
def test_a_derived_password_is_one_that_twenty_takes_and_each_address_has_its_own(one: str, other: str) -> None:
    password = derived_password(KEY, one).get_secret_value()
    assert 8 <= len(password) <= 50
    assert password.isascii()
    assert "\n" not in password
    assert password == derived_password(KEY, one).get_secret_value()
    same = one.strip().lower() == other.strip().lower()
    assert (password == derived_password(KEY, other).get_secret_value()) == same


def test_a_derived_password_does_not_depend_on_case_or_blanks_but_on_the_key() -> None:
    plain = derived_password(KEY, "ada@acme.test").get_secret_value()
    assert derived_password(KEY, " Ada@ACME.Test\n").get_secret_value() == plain
    assert derived_password(SecretStr("another key entirely"), "ada@acme.test").get_secret_value() != plain
    assert "ada" not in plain


def test_a_derived_password_never_changes_between_releases() -> None:
    """Accounts that exist already have the passwords of today."""
    fixed = derived_password(SecretStr("0123456789abcdef"), "ada@acme.test").get_secret_value()
    assert fixed == "boPox0Fgtf8dn12zefNYqz17APDr3zD2-iY_0vJcuEM"
