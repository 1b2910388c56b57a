"""The wheel of the client distribution, in an environment of its own, against the real application."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from provisioning_pipeline import __version__
from provisioning_pipeline_tests.client.test_real_door import RealDoor, real_door

pytestmark = pytest.mark.slow
__all__ = ["real_door"]

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("uses.py")
NEEDED = {"httpx2", "psycopg", "pyjwt", "starlette"}
BEHIND_THEM = {
    *{"anyio", "cffi", "cryptography", "h11", "httpcore2", "idna", "psycopg-binary", "pycparser", "sniffio"},
    *{"truststore", "typing-extensions"},
}
OF_ITS_OWN = {"pip", "setuptools"}
"""What a new environment has."""
NO_INDEX = ("Failed to establish a new connection", "Temporary failure in name resolution", "Max retries exceeded")


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PROVISIONING_"))}
    return subprocess.run(
        [str(part) for part in command],
        env=kept | variables,
        cwd=PROGRAM.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling is not installed, so there is no building without an index")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    # in this very environment: its path may hold what builds
    done = subprocess.run(
        [*command, "--wheel-dir", str(folder), str(ROOT / "client")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment that has the wheel and what it requires."""
    home = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    made = home / "bin" / "python"
    done = run(made, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", f"{wheel}[binary]")
    if done.returncode and any(words in done.stderr for words in NO_INDEX):
        pytest.skip("no package index is reachable, so what the client distribution requires cannot be installed")
    assert done.returncode == 0, done.stderr
    return made


def test_it_brings_its_four_requirements_and_what_these_need(python: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = run(python, "-m", "pip", "list", "--format", "json")
    names = {one["name"].lower().replace("_", "-") for one in json.loads(done.stdout)} - OF_ITS_OWN

    assert names >= {"provisioning-pipeline-client", *NEEDED}
    assert names <= {"provisioning-pipeline-client", *NEEDED, *BEHIND_THEM}
    assert run(python, "-m", "pip", "check").returncode == 0
    packages = python.parents[1].glob("lib/*/site-packages/*")
    size = sum(
        file.stat().st_size
        for package in packages
        if package.name.partition("-")[0] not in {*OF_ITS_OWN, "pkg_resources", "_distutils_hack"}
        for file in package.rglob("*")
        if file.is_file()
    )
    with capsys.disabled():
        print(f"\nThe client distribution and what it needs take {size / 1_000_000:.0f} MB: {', '.join(sorted(names))}")


def test_a_program_uses_both_parts(python: Path, real_door: RealDoor) -> None:
    world = real_door.world
    database_name, organization, admin = real_door.new_tenant("by-wheel")
    facts = {"slug": "by-wheel", "name": "Wheel Ltd", "database_name": database_name, "clerk_org_id": organization}
    clerk = world.sandbox.clerk

    done = run(
        python,
        "-I",
        PROGRAM,
        URL=real_door.url,
        KEY=real_door.key,
        FACTS=json.dumps(facts),
        TOKEN=clerk.session_token(world.clerk_user(admin), organization, seconds=600),
        PROVISIONING_REGISTRY_URL=world.settings.registry_url.get_secret_value(),
        PROVISIONING_CLERK_SECRET_KEY=world.settings.clerk_secret_key.get_secret_value(),
        PROVISIONING_CLERK_BASE_URL=world.settings.clerk_base_url,
        PROVISIONING_CLERK_ISSUERS=json.dumps([clerk.frontend_url]),
        PROVISIONING_CLERK_AUTHORIZED_PARTIES=json.dumps(world.settings.clerk_authorized_parties),
    )

    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    workspace = world.link("by-wheel")["workspace_id"]
    assert Path(found["from"]).is_relative_to(python.parents[1])
    assert (found["version"], found["whole"]) == (__version__, False)
    assert found["tenant"] == ["by-wheel", "ready", workspace]
    assert "by-wheel" in found["slugs"]
    (passed, refused) = found["requests"]
    assert passed == [200, {"tenant": "by-wheel", "workspace": workspace, "role": "Admin"}]
    assert (refused[0], refused[1]["code"]) == (401, "no_session")
