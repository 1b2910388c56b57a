"""The step install_apps."""

from dataclasses import replace
from typing import Final

from provisioning_pipeline.model.tenant import TenantPlan
from provisioning_pipeline.steps.step import Held, Step
from provisioning_pipeline_tests.steps.install_apps.act import install_apps
from provisioning_pipeline_tests.steps.install_apps.changes import APPS_INSTALLED, INSTALL_APPS


def _due(plan: TenantPlan, held: Held) -> TenantPlan:
    return plan if APPS_INSTALLED in held else replace(plan, changes=(*plan.changes, INSTALL_APPS))


APPS_STEP: Final = Step(
    name="install_apps",
    description="Install the apps that every workspace has.",
    condition=APPS_INSTALLED,
    act=install_apps,
    changes=(INSTALL_APPS,),
    plan=_due,
)
