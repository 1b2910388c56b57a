"""The tenant with which most tests of members begin."""

import pytest

from provisioning_pipeline_tests.decide.people import Town


@pytest.fixture
def town() -> Town:
    """One tenant, acme, with an admin about whom nothing is to be done."""
    town = Town()
    town.tenant("acme")
    town.at_rest("boss", "acme", "org:admin")
    return town
