"""What the step repair_databases changes: onboarding rows and activation statuses in a tenant's own database."""

from typing import Final

from provisioning_pipeline.model.change import Change, Where
from provisioning_pipeline.steps.onboarding.changes import REMOVE_ROWS

MEND_WORKSPACE: Final = Change("mend hand-made workspace", where=Where.OWN_DATABASE, drift=REMOVE_ROWS.drift)

CHANGES: Final = (REMOVE_ROWS, MEND_WORKSPACE)
