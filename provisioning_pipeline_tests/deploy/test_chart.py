"""What we tell Dagster's Helm chart: it knows each key, and Dagster takes what the chart makes of it.

With a `helm` and the chart (`helm pull dagster --repo https://dagster-io.github.io/helm`, its path in
DAGSTER_HELM_CHART) the chart is rendered, and the pod of a run is made as Dagster's own launcher makes it.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml

from provisioning_pipeline_tests.deploy.files import IMAGE, PORTS, ROOT, VALUES, Manifest, user_deployment, values
from provisioning_pipeline_tests.deploy.test_kubernetes import VERSIONS, invalid

KNOWN: dict[str, list[str]] = yaml.safe_load((Path(__file__).parent / "chart_keys.yaml").read_text("utf-8"))
FREE = {"additionalInstanceConfig", "envConfigMaps"}
"""Whose content is dagster.yaml's, or Kubernetes's."""
OF_KUBERNETES = {
    *("securityContext", "podSecurityContext", "resources", "initContainerResources", "volumes", "volumeMounts"),
    *("startupProbe", "livenessProbe", "readinessProbe", "podSpecConfig", "jobSpecConfig"),
}
NAMESPACE = "provisioning"


def _objects(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, set[str]]]:
    """Each object that we tell the chart, by its path, and the keys that we set there."""
    if path and path[-1] in FREE | OF_KUBERNETES:
        return
    if isinstance(value, dict):
        yield ".".join(path) or "(top)", set(value)
        for key, one in value.items():
            yield from _objects(one, (*path, key))
    elif isinstance(value, list):
        for one in value:
            yield from _objects(one, (*path, "[]"))


def test_the_chart_knows_every_key() -> None:
    found = list(_objects(values()))
    assert len(found) >= 20
    for path, keys in found:
        assert keys <= set(KNOWN[path]), path


def test_all_of_dagster_is_the_same_image() -> None:
    images = [values()["dagsterWebserver"]["image"], values()["dagsterDaemon"]["image"], user_deployment()["image"]]
    assert {one["repository"] for one in images} == {IMAGE}
    assert len({json.dumps(one) for one in images}) == 1


def test_dagster_finds_its_database_with_a_driver_that_it_installs() -> None:
    told = values()["postgresql"]
    assert told["postgresqlScheme"] == "postgresql+psycopg2"
    assert not told["enabled"]
    assert "postgresqlPassword" not in told


def test_the_page_installs_the_chart_of_the_dagster_that_was_tested() -> None:
    page = (ROOT / "docs" / "deployment.md").read_text("utf-8")
    tested = re.findall(r"^dagster==(.+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    assert set(re.findall(r"--version (\S+)|dagster-(\d\S+)\.tgz", page)) == {(tested[0], ""), ("", tested[0])}


@cache
def rendered() -> tuple[Manifest, ...]:
    """The chart with our values, as `helm template` makes it."""
    helm, chart = shutil.which("helm"), os.environ.get("DAGSTER_HELM_CHART")
    if helm is None or not chart:
        missing = "helm" if helm is None else "chart (DAGSTER_HELM_CHART names its path)"
        pytest.skip(f"there is no {missing} here, so the chart is not rendered")
    command = [helm, "template", "dagster", chart, "--namespace", NAMESPACE, "--values", str(VALUES)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return tuple(one for one in yaml.safe_load_all(done.stdout) if one)


def _one(kind: str, name: str) -> Manifest:
    (found,) = (one for one in rendered() if one["kind"] == kind and name in one["metadata"]["name"])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_what_the_chart_makes(version: str) -> None:
    assert [fault for one in rendered() if (fault := invalid(one, version))] == []


@pytest.mark.slow
def test_the_chart_calls_the_web_server_and_the_code_server_as_our_settings_do() -> None:
    (port,) = _one("Service", "dagster-webserver")["spec"]["ports"]
    assert (port["port"], _one("Service", "dagster-webserver")["metadata"]["name"]) == (
        PORTS["webserver"],
        "dagster-dagster-webserver",
    )
    (workspace,) = yaml.safe_load(_one("ConfigMap", "workspace")["data"]["workspace.yaml"])["load_from"]
    assert workspace["grpc_server"] == {
        "host": user_deployment()["name"],
        "port": PORTS["code-server"],
        "location_name": user_deployment()["name"],
    }


@pytest.mark.slow
def test_a_run_gets_a_pod_with_the_settings_and_the_secrets_and_no_right_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher_module = pytest.importorskip("dagster_k8s.launcher", reason="the extra `k8s` is missing")
    import kubernetes
    from dagster._core.instance.ref import InstanceRef
    from dagster_k8s.container_context import K8sContainerContext
    from dagster_k8s.job import UserDefinedDagsterK8sConfig, construct_dagster_k8s_job

    monkeypatch.setenv("DAGSTER_PG_PASSWORD", "c4nary")
    (tmp_path / "dagster.yaml").write_text(_one("ConfigMap", "dagster-instance")["data"]["dagster.yaml"], "utf-8")
    # Dagster refuses a dagster.yaml that it does not understand
    reference = InstanceRef.from_dir(str(tmp_path))
    with mock.patch("kubernetes.config.load_incluster_config"):
        launcher = reference.run_launcher
    assert isinstance(launcher, launcher_module.K8sRunLauncher)
    (code,) = _one("Deployment", "user-deployments")["spec"]["template"]["spec"]["containers"]
    told = {one["name"]: one.get("value") for one in code["env"]}
    context = K8sContainerContext(
        namespace=launcher.job_namespace,
        security_context=launcher.security_context,
        run_k8s_config=UserDefinedDagsterK8sConfig.from_dict(launcher.run_k8s_config),
    ).merge(K8sContainerContext.create_from_config(json.loads(told["DAGSTER_CONTAINER_CONTEXT"])))
    job = construct_dagster_k8s_job(
        job_config=context.get_k8s_job_config(told["DAGSTER_CURRENT_IMAGE"], launcher),
        args=["dagster", "api", "execute_run"],
        job_name="dagster-run",
        component="run_worker",
        user_defined_k8s_config=context.run_k8s_config,
        labels={},
    )
    made = kubernetes.client.ApiClient().sanitize_for_serialization(job)
    assert [fault for version in VERSIONS if (fault := invalid(made, version))] == []
    pod = made["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {"configMapRef": {"name": "provisioning-settings"}} in container["envFrom"]
    assert {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume} == {
        "provisioning-secrets"
    }
    assert container["volumeMounts"] == user_deployment()["volumeMounts"]
    assert container["resources"] == user_deployment()["resources"]
    assert container["securityContext"] == user_deployment()["securityContext"]
    assert pod["securityContext"] == user_deployment()["podSecurityContext"]
    assert pod["enableServiceLinks"] is False
