"""`python -m provisioning_pipeline.cli` is `provisioning`."""

from provisioning_pipeline.cli.main import app

app()
