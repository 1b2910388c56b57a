"""Where an export lies, and when Twenty destroys what was deleted."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.steps.offboarding.plan import clean_up_after, folder_of


def test_a_deleted_workspace_is_destroyed_from_the_eighth_day_on() -> None:
    found = clean_up_after(datetime(2026, 11, 30, 18, 0, tzinfo=UTC))
    assert found.from_ == datetime(2026, 12, 8, 18, 0, tzinfo=UTC)
    assert str(found) == "by Twenty's default settings it is destroyed from 2026-12-08 on"


def test_a_plain_name_is_kept() -> None:
    assert folder_of("acme", "twenty_tenant_acme_1") == "acme-twenty_tenant_acme_1"


@given(slug=st.text(), database_name=st.text())
def test_any_name_is_one_folder_below_the_place_of_exports(slug: str, database_name: str) -> None:
    found = folder_of(slug, database_name)
    assert found
    assert len(found) < 200
    assert all(character.isascii() and (character.isalnum() or character in "-_") for character in found)


@given(names=st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), min_size=2, max_size=2, unique=True))
def test_names_that_look_alike_have_folders_of_their_own(names: list[tuple[str, str]]) -> None:
    (one, other) = names
    if "-".join(one) != "-".join(other):
        assert folder_of(*one) != folder_of(*other)
