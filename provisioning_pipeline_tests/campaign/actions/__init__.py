"""What each kind of action does: one function each, in a table by the kind's name.

An action returns a sentence about what it did, for the evidence.
"""

from collections.abc import Callable, Mapping

from provisioning_pipeline_tests.campaign.actions import at_clerk, in_registry, in_twenty, put_right, runs, troubles
from provisioning_pipeline_tests.campaign.drawing import Action
from provisioning_pipeline_tests.campaign.fleet import Fleet

ACTIONS: Mapping[str, Callable[[Fleet, Action], str]] = {
    **runs.ACTIONS,
    **at_clerk.ACTIONS,
    **in_twenty.ACTIONS,
    **in_registry.ACTIONS,
    **troubles.ACTIONS,
    **put_right.ACTIONS,
}
