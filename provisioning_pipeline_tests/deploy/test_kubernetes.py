"""The manifests: valid for Kubernetes, listed where they must be, and of one mind about labels, ports and names."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioning_pipeline.settings import PREFIX, Settings
from provisioning_pipeline_tests.deploy.files import (
    IMAGE,
    KUBERNETES,
    PORTS,
    USER,
    Manifest,
    documents,
    manifests,
    of_kind,
    pod_templates,
    user_deployment,
    values,
    variables,
)

VERSIONS = ("1.31", "1.34", "1.37")
CUSTOM = {"ServiceMonitor", "PodMonitor", "PrometheusRule"}
"""Of the Prometheus operator; kubernetes-validate has no schema for them."""
EXAMPLE = KUBERNETES / "example"
LABELS_OF_THE_CHART = (
    {"component": "dagster-webserver"},
    {"component": "dagster-daemon"},
    {"component": "user-deployments"},
)


def invalid(manifest: Manifest, version: str) -> str | None:
    """What Kubernetes would refuse."""
    validator = pytest.importorskip("kubernetes_validate", reason="the extra `ci` (kubernetes-validate) is missing")
    try:
        validator.validate(manifest, version, strict=True)
    except validator.ValidationError as error:
        return f"{manifest['kind']} {manifest['metadata']['name']}, Kubernetes {version}: {error}"
    return None


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_manifest(version: str) -> None:
    ours = [one for _, one in manifests() if one["kind"] not in CUSTOM]
    assert len(ours) >= 10
    assert [fault for one in ours if (fault := invalid(one, version))] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_what_the_chart_hands_on(version: str) -> None:
    assert [fault for one in pods_of_the_chart() if (fault := invalid(one, version))] == []


def pods_of_the_chart() -> list[Manifest]:
    """A pod of each of the chart's deployments, of what we say about it."""
    told = {"webserver": values()["dagsterWebserver"], "daemon": values()["dagsterDaemon"]}
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {
                "securityContext": one["podSecurityContext"],
                "volumes": one["volumes"],
                "containers": [
                    {"name": "dagster", "image": IMAGE}
                    | {key: one[key] for key in ("securityContext", "resources", "volumeMounts")}
                    | {key: _probe(one[key]) for key in PROBES if one.get(key)}
                ],
            },
        }
        for name, one in (told | {"code-server": user_deployment()}).items()
    ]


PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def _probe(told: Manifest) -> Manifest:
    # `enabled` is the chart's own word
    return {key: value for key, value in told.items() if key != "enabled"}


def test_a_kustomization_lists_every_file_beside_it() -> None:
    for path in KUBERNETES.rglob("kustomization.yaml"):
        (told,) = documents(path)
        for name in (*told.get("resources", ()), *told.get("components", ())):
            assert (path.parent / name).exists(), f"{path}: {name}"
        generated = [env for one in told.get("configMapGenerator", ()) for env in one["envs"]]
        assert set(told.get("resources", ())) | set(generated) >= {
            one.name for one in path.parent.iterdir() if one != path
        }


def test_selectors_find_pods() -> None:
    labels: list[dict[str, str]] = [*LABELS_OF_THE_CHART, *(one["metadata"]["labels"] for _, one in pod_templates())]
    selectors = [
        *(one["spec"]["selector"]["matchLabels"] for one in of_kind("Deployment").values()),
        *(one["spec"]["selector"] for one in of_kind("Service").values()),
        *(one["spec"]["selector"]["matchLabels"] for one in of_kind("PodDisruptionBudget").values()),
        *(one["spec"]["podSelector"]["matchLabels"] for one in of_kind("NetworkPolicy").values()),
    ]
    assert len(selectors) >= 7
    for selector in selectors:
        assert any(selector.items() <= one.items() for one in labels), selector


def test_kustomize_leaves_selectors_as_they_are() -> None:
    # one that added a label of ours would lose the pods of Dagster's chart
    (base,) = documents(KUBERNETES / "api" / "kustomization.yaml")
    assert not any(one.get("includeSelectors") for one in base["labels"])
    assert "commonLabels" not in base


def test_the_autoscaler_and_the_monitor_find_what_they_name() -> None:
    for one in of_kind("HorizontalPodAutoscaler").values():
        target = one["spec"]["scaleTargetRef"]
        assert "replicas" not in of_kind(target["kind"])[target["name"]]["spec"]
    for one in of_kind("ServiceMonitor").values():
        wanted = one["spec"]["selector"]["matchLabels"].items()
        (service,) = (each for each in of_kind("Service").values() if wanted <= each["metadata"]["labels"].items())
        named = {port["name"] for port in service["spec"]["ports"]}
        for endpoint in one["spec"]["endpoints"]:
            assert endpoint["port"] in named
            assert endpoint["path"] == "/metrics"
            assert endpoint["authorization"]["credentials"].keys() == {"name", "key"}


def test_ports_agree() -> None:
    api = of_kind("Deployment")["provisioning-api"]["spec"]["template"]["spec"]["containers"][0]
    (port,) = api["ports"]
    assert port["containerPort"] == PORTS["api"]
    assert {api[probe]["httpGet"]["port"] for probe in PROBES} == {port["name"]}
    assert {api[probe]["httpGet"]["path"] for probe in PROBES} == {"/healthz", "/readyz"}
    (service,) = of_kind("Service")["provisioning-api"]["spec"]["ports"]
    assert service["targetPort"] == port["name"]
    assert user_deployment()["port"] == PORTS["code-server"]
    web = values()["dagsterWebserver"]
    assert {web[probe]["httpGet"]["port"] for probe in PROBES} | {web["service"]["port"]} == {PORTS["webserver"]}
    policies = {
        name: [port["port"] for rule in one["spec"].get("ingress", ()) for port in rule["ports"]]
        for name, one in of_kind("NetworkPolicy").items()
    }
    assert policies == {
        "provisioning-api": [port["name"]],
        "provisioning-migrate": [],
        "dagster-webserver": [PORTS["webserver"]],
        "dagster-code-server": [PORTS["code-server"]],
    }


def test_no_pod_may_do_more_than_it_must() -> None:
    ours = [template["spec"] for _, template in pod_templates()]
    for pod in (*ours, *(one["spec"] for one in pods_of_the_chart()), run_pod()):
        assert pod["securityContext"]["runAsNonRoot"]
        assert {pod["securityContext"][key] for key in ("runAsUser", "runAsGroup", "fsGroup")} == {USER}
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            if "resources" in container:
                assert container["resources"]["requests"].keys() == {"cpu", "memory"}
                assert container["resources"]["limits"].keys() == {"memory"}
    for pod in ours:
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False


def run_pod() -> Manifest:
    """What the launcher is told of the pod of each run; it takes the rest from the code server."""
    launcher = values()["runLauncher"]["config"]["k8sRunLauncher"]
    return launcher["runK8sConfig"]["podSpecConfig"] | {
        "containers": [{"securityContext": launcher["securityContext"]}]
    }


def test_only_what_works_on_tenants_holds_settings_and_secrets() -> None:
    for name in ("dagsterWebserver", "dagsterDaemon"):
        told = values()[name]
        assert not {"env", "envConfigMaps", "envSecrets"} & told.keys()
        assert [volume["name"] for volume in told["volumes"]] == ["tmp"]
    holders: list[Any] = [template["spec"] for _, template in pod_templates()]
    for pod in holders:
        (container,) = pod["containers"]
        assert container["envFrom"] == [{"configMapRef": {"name": "provisioning-settings"}}]
        _has_the_secrets(pod["volumes"], container["volumeMounts"])
    code = user_deployment()
    assert code["envConfigMaps"] == [{"name": "provisioning-settings"}]
    _has_the_secrets(code["volumes"], code["volumeMounts"])
    assert code["includeConfigInLaunchedRuns"] == {"enabled": True}


def _has_the_secrets(volumes: list[Manifest], mounts: list[Manifest]) -> None:
    (secret,) = (one for one in volumes if "secret" in one)
    assert secret["secret"] == {"secretName": "provisioning-secrets", "defaultMode": 0o440}
    (where,) = (one for one in mounts if one["name"] == secret["name"])
    assert where["readOnly"]
    assert where["mountPath"] == variables(EXAMPLE / "settings.env")[f"{PREFIX}SECRETS_DIR"]
    writable = {one["mountPath"] for one in mounts if not one.get("readOnly")}
    assert writable == {"/data", "/tmp"}


def test_the_settings_of_the_example_and_the_documented_secrets_are_a_whole() -> None:
    told = variables(EXAMPLE / "settings.env")
    secrets = {
        name: (field.examples or [""])[0]
        for name, field in Settings.model_fields.items()
        if PREFIX + name.upper() in documented_secrets()
    }
    settings = Settings(
        _env_file=None,
        **secrets,
        **{name: _parsed(told[f"{PREFIX}{name.upper()}"]) for name in Settings.model_fields if _in(told, name)},
    )
    assert [server.name for server in settings.servers] == ["twenty"]
    assert settings.dagster_location == user_deployment()["name"]
    assert str(settings.dagster_graphql_url) == f"http://dagster-dagster-webserver:{PORTS['webserver']}/graphql"


def _in(told: dict[str, str], name: str) -> bool:
    return PREFIX + name.upper() in told


def _parsed(text: str) -> Any:
    return yaml.safe_load(text) if text.startswith("[") else text


def documented_secrets() -> set[str]:
    """The keys of the Secret, as the page lists them."""
    page = (KUBERNETES.parents[1] / "docs" / "deployment.md").read_text("utf-8")
    section = page[page.index("## Kubernetes") :]
    table = section[section.index("| key") : section.index("\n\n", section.index("| key"))]
    return {cell.strip(" `") for line in table.splitlines()[2:] for cell in line.split("|")[1:2]}


@pytest.mark.slow
def test_kustomize_builds_the_example(tmp_path: Path) -> None:
    command = next(
        (found for name in ("kustomize", "kubectl") if (found := shutil.which(name))),
        None,
    )
    if command is None:
        pytest.skip("there is neither kustomize nor kubectl here")
    build = [command, *(["kustomize"] if command.endswith("kubectl") else ["build"]), str(EXAMPLE)]
    built = subprocess.run(build, check=True, capture_output=True, text=True).stdout
    objects = [one for one in yaml.safe_load_all(built) if one]
    assert {one["metadata"].get("namespace", "provisioning") for one in objects} == {"provisioning"}
    assert [fault for one in objects if one["kind"] not in CUSTOM and (fault := invalid(one, VERSIONS[0]))] == []
    images = {
        container["image"]
        for one in objects
        if one["kind"] in {"Deployment", "Job"}
        for container in one["spec"]["template"]["spec"]["containers"]
    }
    assert images == {f"{IMAGE}:{user_deployment()['image']['tag']}"}
    (settings,) = (one["data"] for one in objects if one["kind"] == "ConfigMap")
    assert settings == variables(EXAMPLE / "settings.env")
