"""Postgres clusters of the tests' own."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from provisioning_pipeline.sandbox.postgres import SandboxPostgres


@contextmanager
def running_cluster(*, keep: bool = True) -> Iterator[SandboxPostgres]:
    """A running cluster in a folder that is thrown away; `keep` as `SandboxPostgres` has it.

    Not below pytest's own folder: that is for one user alone, and each new session sets it so again, while a
    server started by root belongs to another user, who must be able to pass through.
    """
    folder = Path(tempfile.mkdtemp(prefix="provisioning-tests-"))
    folder.chmod(0o755)
    try:
        with SandboxPostgres(folder, keep=keep) as postgres:
            yield postgres
    finally:
        shutil.rmtree(folder, ignore_errors=True)
