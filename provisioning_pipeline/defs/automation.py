"""The state in which sensors and schedules begin, by PROVISIONING_AUTOMATION."""

import dagster as dg

from provisioning_pipeline.settings.variables import begins_running

_RUNNING = begins_running()
SENSORS = dg.DefaultSensorStatus.RUNNING if _RUNNING else dg.DefaultSensorStatus.STOPPED
SCHEDULES = dg.DefaultScheduleStatus.RUNNING if _RUNNING else dg.DefaultScheduleStatus.STOPPED
