"""What the campaign's processes are forked with: imported once, since each import takes longer than their work."""

import gc

from provisioning_pipeline.cli import applying, main, verify
from provisioning_pipeline.http import app
from provisioning_pipeline.ledger import schema
from provisioning_pipeline.tasks import preflight
from provisioning_pipeline.tasks.certify import preloaded
from provisioning_pipeline_tests.campaign import processes

__all__ = ["app", "applying", "main", "preflight", "preloaded", "processes", "schema", "verify"]

# what is there by now stays: a process that looks through it would copy all of it
gc.collect()
gc.freeze()
