"""The manifests are what Kubernetes and its extensions take, and say what the service does."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from docs.generate import REPOSITORY
from inferctl.server.access import OPEN
from inferctl.settings import Settings
from inferctl.sources import load_settings

MANIFESTS = REPOSITORY / "deploy" / "kubernetes"
DEPLOYING = REPOSITORY / "docs" / "deploy.md"
SCHEMAS = Path(__file__).parent / "schemas"
KUBERNETES = "1.34"
# Files that are for kustomize and for Helm.
OTHERS = {"kustomization.yaml", "prometheus-adapter.yaml"}
OF_EXTENSIONS = {
    "keda.yaml": "scaledobject",
    "kserve.yaml": "clusterservingruntime",
    "servicemonitor.yaml": "servicemonitor",
}
GRACE_S_BY_DEFAULT = 30
# What a stop takes besides its delay and its limit.
SPARE_S = 5


def manifest(name: str) -> Any:
    return yaml.safe_load((MANIFESTS / name).read_text())


OWN = sorted({file.name for file in MANIFESTS.glob("*.yaml")} - OTHERS - OF_EXTENSIONS.keys())


@pytest.mark.parametrize("name", OWN)
def test_a_manifest_is_what_kubernetes_takes(name: str) -> None:
    kubernetes_validate.validate(manifest(name), KUBERNETES, strict=True)


@pytest.mark.parametrize(("name", "schema"), OF_EXTENSIONS.items())
def test_a_manifest_is_what_its_extension_takes(name: str, schema: str) -> None:
    described = json.loads((SCHEMAS / f"{schema}.json").read_text())

    jsonschema.validate(manifest(name), described)


def test_what_nobody_takes_is_refused() -> None:
    """The schemas refuse what is misspelt."""
    misspelt = manifest("keda.yaml")
    misspelt["spec"]["maxReplicas"] = misspelt["spec"].pop("maxReplicaCount")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(misspelt, json.loads((SCHEMAS / "scaledobject.json").read_text()))
    misspelt = manifest("deployment.yaml")
    misspelt["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(misspelt, KUBERNETES, strict=True)


def pod_specs() -> dict[str, dict[str, Any]]:
    """What runs in pods: the Deployment's, and KServe's runtime in the documented predictor."""
    return {
        "deployment.yaml": manifest("deployment.yaml")["spec"]["template"]["spec"],
        "kserve.yaml": manifest("kserve.yaml")["spec"] | predictor(),
    }


def predictor() -> dict[str, Any]:
    """Of the InferenceService in docs/deploy.md: it has a pod's own fields, the runtime has few."""
    (block,) = re.findall(r"```yaml\n(.*?)```", DEPLOYING.read_text(), re.DOTALL)
    found: dict[str, Any] = yaml.safe_load(block)["spec"]["predictor"]
    return found


def service_links() -> dict[str, str]:
    """What Kubernetes tells every pod of a namespace of our Service, unless the pod declines."""
    service, address = manifest("service.yaml"), "10.0.0.1"
    name = service["metadata"]["name"].upper().replace("-", "_")
    (port,) = service["spec"]["ports"]
    number, link = str(port["port"]), f"{name}_PORT_{port['port']}_TCP"
    return {
        f"{name}_SERVICE_HOST": address,
        f"{name}_SERVICE_PORT": number,
        f"{name}_SERVICE_PORT_{port['name'].upper()}": number,
        f"{name}_PORT": f"tcp://{address}:{number}",
        link: f"tcp://{address}:{number}",
        f"{link}_PROTO": "tcp",
        f"{link}_PORT": number,
        f"{link}_ADDR": address,
    }


def settings_of(pod: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What the service makes of the environment of a pod's container."""
    (container,) = pod["containers"]
    own = {variable["name"]: variable["value"] for variable in container["env"]}
    links = service_links() if pod.get("enableServiceLinks", True) else {}
    for name, value in (links | own).items():
        monkeypatch.setenv(name, value)
    return load_settings(dotenv=Path(os.devnull)).settings


def test_kserves_container_is_what_kubernetes_takes() -> None:
    wrapped = manifest("deployment.yaml")
    wrapped["spec"]["template"]["spec"]["containers"] = manifest("kserve.yaml")["spec"][
        "containers"
    ]

    kubernetes_validate.validate(wrapped, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", pod_specs())
def test_a_pod_has_the_time_that_a_stop_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = pod_specs()[name]
    server = settings_of(pod, monkeypatch).server

    assert server.drain_delay_s > 0
    assert (
        pod.get("terminationGracePeriodSeconds", GRACE_S_BY_DEFAULT)
        >= server.drain_delay_s + server.drain_timeout_s + SPARE_S
    )


@pytest.mark.parametrize("name", pod_specs())
def test_probes_ask_what_needs_no_key_where_the_service_listens(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = pod_specs()[name]
    (container,) = pod["containers"]
    (port,) = container["ports"]

    assert port["containerPort"] == settings_of(pod, monkeypatch).server.port
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["path"] in OPEN
        assert asked["port"] in (port["name"], port["containerPort"])
        assert ("live" in asked["path"]) == (probe == "livenessProbe")


@pytest.mark.parametrize("name", pod_specs())
def test_a_pod_may_do_nothing_but_serve(name: str) -> None:
    pod = pod_specs()[name]
    (container,) = pod["containers"]
    context = pod.get("securityContext", {}) | container["securityContext"]

    assert context["runAsNonRoot"]
    assert context["runAsUser"] == 10001
    assert not context["allowPrivilegeEscalation"]
    assert context["readOnlyRootFilesystem"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert all(mount["readOnly"] for mount in container.get("volumeMounts", ()))
    assert container["envFrom"] == [{"secretRef": {"name": "inferctl-keys"}}]
    assert container["resources"].keys() == {"requests", "limits"}


def test_everything_is_about_the_same_pods() -> None:
    labels = manifest("deployment.yaml")["spec"]["template"]["metadata"]["labels"]

    assert manifest("service.yaml")["spec"]["selector"] == labels
    for name, field in (
        ("deployment.yaml", "selector"),
        ("poddisruptionbudget.yaml", "selector"),
        ("networkpolicy.yaml", "podSelector"),
        ("servicemonitor.yaml", "selector"),
    ):
        assert manifest(name)["spec"][field] == {"matchLabels": labels}, name
    for name in ("hpa.yaml", "keda.yaml"):
        assert manifest(name)["spec"]["scaleTargetRef"]["name"] == "inferctl"


def test_both_autoscalers_say_the_same() -> None:
    hpa, keda = manifest("hpa.yaml")["spec"], manifest("keda.yaml")["spec"]
    (metric,), (trigger,) = hpa["metrics"], keda["triggers"]

    assert hpa["minReplicas"] == keda["minReplicaCount"]
    assert hpa["maxReplicas"] == keda["maxReplicaCount"]
    assert metric["pods"]["target"]["averageValue"] == trigger["metadata"]["threshold"]
    assert metric["pods"]["metric"]["name"] in trigger["metadata"]["query"]


def test_kustomize_is_given_files_that_are_there() -> None:
    for name in manifest("kustomization.yaml")["resources"]:
        assert (MANIFESTS / name).exists()
