"""The image, end to end: its five commands beside a PostgreSQL, from CREATE DATABASE to a ready workspace."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline_tests.deploy.containers import Container, Image, environments, image_of_ci
from provisioning_pipeline_tests.world import World

pytestmark = pytest.mark.image

API = "http://127.0.0.1:8000"
SECRETS = "/run/secrets"
STORAGE_PASSWORD = "the-storage-password"
LONG_LIVED = ("code-server", "webserver", "daemon", "api")
WITHOUT_SECRETS = ("webserver", "daemon")


def until(holds: Callable[[], bool], what: Callable[[], str], seconds: float = 600) -> None:
    """Waits for a state that other processes bring about, and says what there was when it never came."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, what()
        time.sleep(0.5)


@dataclass
class Deployment:
    """The containers of one installation, and what they may see."""

    image: Image
    folder: Path
    settings: dict[str, str]
    port_of_postgres: int
    running: dict[str, Container] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.chmod(0o755)
        user = int(self.image.config["User"].split(":")[0])
        self.data = self.folder / "data"
        self.data.mkdir()
        shutil.chown(self.data, user, user)
        self.secrets = self._secret_files("secrets", self.settings, user)
        self.storage = self._secret_files("storage", {"dagster_pg_password": STORAGE_PASSWORD}, user)

    def _secret_files(self, name: str, contents: dict[str, str], user: int) -> Path:
        folder = self.folder / name
        folder.mkdir()
        for file, content in contents.items():
            (folder / file).write_text(f"{content}\n")
            (folder / file).chmod(0o400)
            shutil.chown(folder / file, user, user)
        return folder

    def start(self, *command: str, storage: bool = True, secrets: bool = False) -> Container:
        """A container as compose.yaml has it: what holds no settings gets neither a variable nor a file of them."""
        variables: dict[str, str] = {}
        mounts: dict[Path, str] = {}
        if storage:
            variables |= {
                "DAGSTER_PG_HOST": "127.0.0.1",
                "DAGSTER_PG_PORT": str(self.port_of_postgres),
                "DAGSTER_PG_PASSWORD_FILE": "/run/storage/dagster_pg_password",
                "CODE_LOCATION_HOST": "127.0.0.1",
            }
            mounts[self.storage] = "/run/storage"
        if secrets:
            variables["PROVISIONING_SECRETS_DIR"] = SECRETS
            mounts[self.secrets] = SECRETS
        log = self.folder / f"{'-'.join(command)}.log"
        return Container(self.image, command, self.data, log, variables, mounts)

    def ran(self, *command: str) -> str:
        """What a command that ends by itself printed."""
        container = self.start(*command, storage=False, secrets=True)
        assert container.process.wait(timeout=300) == 0, container.said()
        return container.said()

    def up(self) -> None:
        self.migrated = self.ran("migrate")
        # in the order of compose.yaml
        for names in (["code-server"], ["webserver", "daemon", "api"]):
            for name in names:
                self.running[name] = self.start(name, storage=name != "api", secrets=name not in WITHOUT_SECRETS)
            for name in names:
                until(self.running[name].is_healthy, self.said)

    def down(self) -> None:
        for container in self.running.values():
            container.process.kill()
            container.process.wait(timeout=60)

    def said(self) -> str:
        return "\n".join(f"--- {name}\n{one.said()[-6000:]}" for name, one in self.running.items())


@pytest.fixture(scope="module")
def image() -> Image:
    found = image_of_ci()
    if found is None:
        pytest.skip("there is no image: .ci/image builds one and runs this")
    return found


@pytest.fixture(scope="module")
def sandbox(image: Image) -> Iterator[Sandbox]:
    with Sandbox(SandboxOptions(tenants=1)) as running:
        running.postgres.execute("postgres", f"CREATE ROLE dagster LOGIN PASSWORD '{STORAGE_PASSWORD}'")
        running.postgres.execute("postgres", "CREATE DATABASE dagster OWNER dagster")
        yield running


@pytest.fixture(scope="module")
def deployment(image: Image, sandbox: Sandbox) -> Iterator[Deployment]:
    folder = Path(tempfile.mkdtemp(prefix="provisioning-image-"))
    settings = sandbox.environment() | {"PROVISIONING_DAGSTER_GRAPHQL_URL": "http://127.0.0.1:3000/graphql"}
    # relative to the folder that the container works in
    del settings["PROVISIONING_REPORT_PATH"]
    made = Deployment(image, folder, settings, sandbox.postgres.port)
    try:
        made.up()
        yield made
    finally:
        made.down()
        shutil.rmtree(folder)


def secrets_of(deployment: Deployment) -> list[str]:
    """Each value that the daemon must not have: every setting with a secret in it."""
    words = ("URL", "KEY", "SECRET", "PASSWORD")
    return [value for name, value in deployment.settings.items() if any(word in name for word in words)]


@pytest.mark.timeout(1800)
def test_it_says_what_it_is_and_runs_as_a_number(image: Image) -> None:
    assert image.config["User"] == "10001:10001"
    assert image.config["Labels"]["org.opencontainers.image.version"]
    assert image.config["Labels"]["org.opencontainers.image.revision"] != "unknown"
    assert image.config["Entrypoint"] == ["entrypoint"]
    assert not [name for name in image.environment if name.startswith("PROVISIONING_") or "PASSWORD" in name]
    compilers = [name for name in ("cc", "gcc", "g++", "make") if (image.root / "usr/bin" / name).exists()]
    assert compilers == []
    # nothing of the machine that built it
    assert not (image.root / "etc/pip.conf").exists()
    assert list((image.root / "run/secrets").glob("*")) == []


@pytest.mark.timeout(1800)
def test_a_new_database_becomes_a_ready_workspace(deployment: Deployment, sandbox: Sandbox) -> None:
    assert "The ledger in" in deployment.migrated
    key = deployment.ran("keys", "create", "tests").split()[-1]
    headers = {"Authorization": f"Bearer {key}"}

    def ready(slug: str) -> bool:
        answer = httpx2.get(f"{API}/v1/tenants/{slug}", headers=headers, trust_env=False, timeout=30)
        return answer.status_code == 200 and answer.json()["state"] == "ready"

    # CREATE DATABASE is all that there is to go by: the daemon asks the code server's sensor
    added = sandbox.add_tenant("newcomer")
    until(lambda: ready("newcomer"), deployment.said)
    # and a request over HTTP goes through web server and code server at once
    asked = httpx2.post(f"{API}/v1/tenants/newcomer/reconcile", headers=headers, trust_env=False, timeout=60)
    assert asked.status_code in (200, 202), asked.text

    assert ("newcomer", "ACTIVE") in [(one.subdomain, one.status) for one in World(sandbox).workspaces()]
    assert "✓ ready" in deployment.ran("status")
    assert added.database_name in deployment.ran("status", "newcomer", "--json")
    assert list((deployment.data / "reports").glob("*.html"))


@pytest.mark.timeout(1800)
def test_the_daemon_and_the_web_server_hold_no_secret(deployment: Deployment) -> None:
    own = {*deployment.image.environment, "DAGSTER_PG_PASSWORD_FILE", "DAGSTER_PG_PASSWORD"}
    for name in WITHOUT_SECRETS:
        container = deployment.running[name]
        found = environments(container.processes())
        assert STORAGE_PASSWORD in found
        assert not [secret for secret in secrets_of(deployment) if secret in found]
        names = {line.split("=", 1)[0] for line in environments([container.first_process]).splitlines() if line}
        assert names - {"PWD", "HOME", "SHLVL", "OLDPWD", "_"} <= own
        assert container.execute("ls", SECRETS).returncode != 0
    # where there are settings, they are in files: a list of processes shows none
    for name in ("code-server", "api"):
        found = environments(deployment.running[name].processes())
        assert not [secret for secret in secrets_of(deployment) if secret in found]


@pytest.mark.timeout(1800)
def test_each_runs_as_its_user_and_writes_to_its_data_alone(deployment: Deployment) -> None:
    for container in deployment.running.values():
        assert container.is_healthy()
        status = Path(f"/proc/{container.first_process}/status").read_text()
        assert "Uid:\t10001\t10001\t10001\t10001" in status
        assert "CapEff:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
        for place in ("/x", "/app/x", "/etc/dagster/x", "/usr/local/bin/x", "/var/x"):
            refused = container.execute("touch", place)
            assert (refused.returncode, "Read-only file system" in refused.stderr) == (1, True), (place, refused)
        assert container.execute("touch", "/tmp/x", "/data/x").returncode == 0


@pytest.mark.timeout(1800)
def test_each_ends_in_good_order_when_it_is_told_to(deployment: Deployment) -> None:
    codes = {name: deployment.running[name].end() for name in reversed(LONG_LIVED)}
    said = deployment.said()

    assert codes == dict.fromkeys(LONG_LIVED, 0), said
    assert not [secret for secret in (*secrets_of(deployment), STORAGE_PASSWORD) if secret in said]
