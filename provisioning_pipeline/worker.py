"""The Celery app of a worker: `celery -A provisioning_pipeline.worker worker --concurrency 1`."""

from dagster_celery.executor import CeleryExecutor
from dagster_celery.make_app import make_app
from dagster_celery.tasks import create_task

from provisioning_pipeline.defs.celery_executor import arguments_of
from provisioning_pipeline.settings import load_settings

app = make_app(CeleryExecutor.for_cli(**arguments_of(load_settings())).app_args())
execute_plan = create_task(app)
