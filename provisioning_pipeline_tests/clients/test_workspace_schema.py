"""The schema that Twenty makes for a workspace."""

from uuid import UUID

from hypothesis import example, given
from hypothesis import strategies as st

from provisioning_pipeline.clients.twenty.members import schema_name


@given(workspace=st.uuids())
@example(workspace=UUID(int=0))
@example(workspace=UUID(int=35))
@example(workspace=UUID(int=36**2))
@example(workspace=UUID(int=2**128 - 1))
def test_it_is_named_by_the_id_in_base_36_without_leading_zeros(workspace: UUID) -> None:
    prefix, _, number = schema_name(str(workspace)).partition("_")
    assert prefix == "workspace"
    assert int(number, 36) == workspace.int
    assert number == "0" or not number.startswith("0")
