"""`provisioning demo`: the main job on a made-up fleet, in one command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from provisioning_pipeline.cli.sandbox import TwentyVersion
from provisioning_pipeline.cli.terminal import Terminal

if TYPE_CHECKING:
    from provisioning_pipeline.settings import Settings

TENANTS = 4
_DAGSTER_YAML = """\
telemetry:
  enabled: false
nux:
  enabled: false
run_monitoring:
  enabled: true
"""


def demo(
    ui: Annotated[bool, typer.Option("--ui", help="Keep the fleet and open Dagster's UI on it until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option(help="Port of Dagster's UI.")] = 3000,
    report_path: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("reports"),
    twenty: Annotated[TwentyVersion, typer.Option(help="Which Twenty the stand-in is.")] = TwentyVersion.V2_21,
) -> None:
    """Provision five made-up tenants, one of them broken, and show what came of it.

    Everything runs on this machine: PostgreSQL, a stand-in Twenty and a stand-in Clerk. No setting is read.
    """
    from provisioning_pipeline.cli.applying import apply_and_show
    from provisioning_pipeline.cli.exits import RUN_FAILED, one_sentence
    from provisioning_pipeline.cli.sandbox import served
    from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
    from provisioning_pipeline.sandbox.twenty.options import TwentyOptions

    console = Terminal()
    console.print("Starting PostgreSQL, Twenty and Clerk stand-ins with 5 tenants, one of them broken …")
    played = (TwentyOptions(version=twenty.value),)
    with Sandbox(SandboxOptions(tenants=TENANTS, broken=True, twenty=played)) as sandbox:
        environment = sandbox.environment() | {"PROVISIONING_REPORT_PATH": str(report_path)}
        with one_sentence():
            settings = settings_from(environment)
            applied = apply_and_show(settings, (), as_json=False)
        if ui:
            environment |= {"PROVISIONING_DAGSTER_URL": f"http://127.0.0.1:{port}"}
            with served(environment) as api_url:
                _dagster(environment | {"PROVISIONING_API_URL": api_url}, sandbox.data, port, console)
        else:
            console.print("Dagster's UI on such a fleet: [bold]provisioning demo --ui[/]")
    if applied.broken or applied.summary.count("ready") != TENANTS:
        raise typer.Exit(RUN_FAILED)


def settings_from(environment: dict[str, str]) -> "Settings":
    """Settings from these variables alone: nothing of the shell or of `.env` may leak into a demonstration.

    It stays on this machine, so no proxy is asked either.
    """
    import os

    from provisioning_pipeline.settings import PREFIX, load_settings
    from provisioning_pipeline.settings.environment import PROXIES

    for name in [name for name in os.environ if name.startswith(PREFIX) or name.lower() in PROXIES]:
        del os.environ[name]
    os.environ.update(environment)
    return load_settings(_env_file=None)


def _dagster(environment: dict[str, str], data: Path, port: int, console: "Terminal") -> None:
    import os
    import signal
    import subprocess
    import sys

    home = data / "dagster"
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text(_DAGSTER_YAML)
    command = [sys.executable, "-m", "dagster", "dev", "-m", "provisioning_pipeline.definitions", "-p", str(port)]
    process = subprocess.Popen(  # noqa: S603  # our own interpreter and arguments
        command, env=os.environ | environment | {"DAGSTER_HOME": str(home)}, start_new_session=True
    )
    console.print(f"Dagster's UI: [bold]http://127.0.0.1:{port}[/] (in a few seconds; Ctrl-C stops everything)")
    # to the whole group: `dagster dev` does not pass a signal on to its children
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: os.killpg(process.pid, signal.SIGTERM))
    process.wait()
