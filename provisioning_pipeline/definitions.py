"""Assembles what Dagster loads, and does nothing else.

Nothing is reached at import, and of the settings three alone are read: whether sensors and schedules begin switched on,
where steps are executed, and when a report is old.
"""

import dagster as dg

from provisioning_pipeline.defs.executors import executor_of, holding_lock
from provisioning_pipeline.defs.launching import clerk_changes, new_tenant_databases
from provisioning_pipeline.defs.members import clerk_user_links, every_member_is_linked, no_email_was_sent
from provisioning_pipeline.defs.observation import clerk_and_plan, twenty_servers
from provisioning_pipeline.defs.onboarding.checks import login_proved
from provisioning_pipeline.defs.onboarding.ops import repair_onboarding_by_hand, verify
from provisioning_pipeline.defs.operations.alerts import check_failed_alert, run_failed_alert
from provisioning_pipeline.defs.operations.pruning import prune_history
from provisioning_pipeline.defs.operations.sensors import deliver_webhooks, runs_that_died
from provisioning_pipeline.defs.provisioning.ops import reconcile_tenants
from provisioning_pipeline.defs.provisioning.recording import every_tenant_got_through, tenant_workspace
from provisioning_pipeline.defs.reconciliation.assets import (
    TABLES,
    reconciliation_outcomes,
    reconciliation_report,
    tenant_timeline,
)
from provisioning_pipeline.defs.reconciliation.checks import (
    all_tenants_are_ready,
    harm_budget_is_respected,
    no_drift_is_left,
    report_is_fresh,
)
from provisioning_pipeline.defs.resources import Systems
from provisioning_pipeline.defs.schedules import (
    check_freshness,
    check_freshness_hourly,
    prune_history_daily,
    reconcile_tenants_hourly,
    verify_daily,
)
from provisioning_pipeline.defs.tables import tables_io_manager
from provisioning_pipeline.defs.values import values_io_manager
from provisioning_pipeline.settings.variables import chosen_executor


def build_defs(executor: dg.ExecutorDefinition | None = None) -> dg.Definitions:
    """Everything, with the executor that PROVISIONING_EXECUTOR names, or one of yours for a code location of your own.

    The default, in process, costs half of Dagster's own: steps wait on the network, not on the processor.

    Raises:
        SettingsError: when there is no such executor, or its package is not installed.
    """
    return dg.Definitions(
        assets=[
            twenty_servers,
            clerk_and_plan,
            clerk_user_links,
            tenant_workspace,
            reconciliation_outcomes,
            tenant_timeline,
            reconciliation_report,
        ],
        asset_checks=[
            every_tenant_got_through,
            every_member_is_linked,
            no_email_was_sent,
            login_proved,
            all_tenants_are_ready,
            no_drift_is_left,
            harm_budget_is_respected,
            report_is_fresh,
        ],
        jobs=[reconcile_tenants, repair_onboarding_by_hand, verify, prune_history, check_freshness],
        sensors=[
            new_tenant_databases,
            clerk_changes,
            runs_that_died,
            deliver_webhooks,
            run_failed_alert,
            check_failed_alert,
        ],
        schedules=[reconcile_tenants_hourly, verify_daily, prune_history_daily, check_freshness_hourly],
        resources={"systems": Systems(), TABLES: tables_io_manager, "io_manager": values_io_manager},
        executor=executor_of(chosen_executor()) if executor is None else holding_lock(executor),
    )


defs = build_defs()
