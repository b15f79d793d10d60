"""The manifests, as rendered, are what Kubernetes and the operators take, and agree with images and code."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from deploy.kubernetes.render import FOLDER, OVERLAYS, header, rendered_file
from deploy.local.jars import fetch_jars, jar_paths
from reccore.access import KafkaAccess, redis_url_setting, zookeeper_auth_setting
from reweigh.cli import build_parser
from tests.deployment.test_images import IMAGES, OF_A_CONTAINER, options

KUBERNETES = "1.33"
OPERATOR_JARS = Path(__file__).with_name("jars.lock")
MONITORING = "monitoring.coreos.com/v1"
GRAFANA = Path(__file__).resolve().parents[2] / "grafana"


def manifests(overlay: str) -> list[dict[str, Any]]:
    """Every object of an overlay."""
    return list(yaml.load_all(rendered_file(overlay).read_text(), Loader=yaml.CSafeLoader))


def of_kind(overlay: str, kind: str) -> dict[str, dict[str, Any]]:
    """Those of one kind, by name."""
    return {each["metadata"]["name"]: each for each in manifests(overlay) if each["kind"] == kind}


def pods(overlay: str) -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
    """Name, specification and labels of every pod that an object makes."""
    for each in manifests(overlay):
        spec, kind = each.get("spec", {}), each["kind"]
        template = {
            "Deployment": lambda spec=spec: spec["template"],
            "Job": lambda spec=spec: spec["template"],
            "CronJob": lambda spec=spec: spec["jobTemplate"]["spec"]["template"],
            "FlinkDeployment": lambda spec=spec: spec["podTemplate"],
        }.get(kind)
        if template is not None:
            yield each["metadata"]["name"], template()["spec"], template()["metadata"]["labels"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_rendered_from_the_sources_as_they_are(overlay: str) -> None:
    """Whoever changes a source renders anew: `python -m deploy.kubernetes.render`."""
    assert rendered_file(overlay).read_text().startswith(header())


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_takes_them(overlay: str) -> None:
    """Every member of every object of its own kinds is one that its schema knows."""
    own = [each for each in manifests(overlay) if "." not in each["apiVersion"] or ".k8s.io/" in each["apiVersion"]]
    assert {each["kind"] for each in own} >= {
        "Deployment",
        "Service",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "CronJob",
    }
    for each in own:
        kubernetes_validate.validate(each, KUBERNETES, strict=True)


def test_what_is_wrong_is_found() -> None:
    """The judge of the test above is one."""
    wrong = of_kind("development", "Deployment")["reweigh-service"]
    wrong["spec"]["template"]["spec"]["containers"][0]["portz"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_flink_operator_takes_the_job(overlay: str, flink_deployment: jsonschema.Draft202012Validator) -> None:
    """By the definition that the operator's API has in it, but for the version of Flink, which is newer than that."""
    (job,) = of_kind(overlay, "FlinkDeployment").values()
    version = job["spec"].pop("flinkVersion")
    assert re.fullmatch(r"v2_\d", version)
    flink_deployment.validate(job["spec"])
    job["spec"]["job"]["upgradeModus"] = "savepoint"
    with pytest.raises(jsonschema.ValidationError, match="upgradeModus"):
        flink_deployment.validate(job["spec"])


@pytest.fixture(scope="module")
def flink_deployment() -> jsonschema.Draft202012Validator:
    """The judge of a FlinkDeployment's `spec`, in which members that its schema doesn't name are not allowed."""
    fetch_jars(print, lock=OPERATOR_JARS)
    (jar,) = jar_paths("flink-operator", lock=OPERATOR_JARS)
    with zipfile.ZipFile(jar) as content:
        text = content.read("META-INF/fabric8/flinkdeployments.flink.apache.org-v1.yml")
    definition = yaml.load(text, Loader=yaml.CSafeLoader)
    (version,) = definition["spec"]["versions"]
    assert version["name"] == "v1beta1"
    return jsonschema.Draft202012Validator(_closed(version["schema"]["openAPIV3Schema"]["properties"]["spec"]))


def _closed(schema: Any) -> Any:
    """Forbid what a structural schema doesn't name; Kubernetes would only drop it."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict) or schema.get("x-kubernetes-preserve-unknown-fields"):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "type" in schema:
        closed.setdefault("additionalProperties", False)
    return closed


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_job_is_set_as_in_every_deployment(overlay: str) -> None:
    """The operator puts its configuration in the place of the image's, so it has all of that, and one parallelism."""
    (job,) = of_kind(overlay, "FlinkDeployment").values()
    spec = job["spec"]
    image = options(IMAGES / "job" / "conf" / "config.yaml")
    operators = {key for key in OF_A_CONTAINER if key.endswith(("bind-host", "bind-address", ".port"))} - {
        "metrics.reporter.prom.port"
    }
    operators |= {"jobmanager.memory.process.size", "taskmanager.memory.process.size"}
    given = spec["flinkConfiguration"]
    assert {key: value for key, value in image.items() if key not in operators} == {
        key: given[key] for key in image if key not in operators
    }
    assert given["high-availability.type"] == "kubernetes"
    logged = (IMAGES / "job" / "conf" / "log4j-console.properties").read_text()
    assert logged.endswith(spec["logConfiguration"]["log4j-console.properties"])
    assert spec["job"]["upgradeMode"] == "savepoint"
    (container,) = spec["podTemplate"]["spec"]["containers"]
    assert {"name": "PARALLELISM", "value": str(spec["job"]["parallelism"])} in container["env"]
    python = set(re.findall(r"flink-python-[\d.]+\.jar", (IMAGES / "job" / "Dockerfile").read_text()))
    assert {spec["job"]["jarURI"].rpartition("/")[2]} == python


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_pod_has_more_rights_than_it_needs(overlay: str) -> None:
    """Not root, nothing to gain, nothing to write but volumes; a token for the Kubernetes API only for Flink."""
    seen = set()
    for name, spec, labels in pods(overlay):
        seen.add(name)
        assert labels["app.kubernetes.io/part-of"] == "reweigh", f"{name} is in no network policy"
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] == (9999 if name == "reweigh-profile" else 10001), name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert name == "reweigh-profile" or spec["automountServiceAccountToken"] is False, name
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert name == "reweigh-profile" or container["resources"]["limits"]["memory"], name
    assert seen >= {
        "reweigh-service",
        "reweigh-sweeper",
        "reweigh-follower",
        "reweigh-canary",
        "reweigh-profile",
        "reweigh-train",
        "reweigh-verify",
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_secrets_are_references(overlay: str) -> None:
    """No Secret is among the manifests; settings name files of mounted ones, and each such folder is mounted."""
    assert of_kind(overlay, "Secret") == {}
    for name, spec, _ in pods(overlay):
        (container,) = spec["containers"]
        settings = _settings(overlay) | {each["name"]: each["value"] for each in container.get("env", ())}
        folders = {each["mountPath"] for each in container["volumeMounts"] if each.get("readOnly")}
        files = [Path(value) for key, value in settings.items() if key.endswith("_FILE")]
        assert files
        assert {str(file.parent) for file in files} == folders, name
        assert not [key for key in settings if re.search(r"PASSWORD$|API_KEY$|_AUTH$|REDIS_URL$", key)], name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_settings_are_settings(overlay: str) -> None:
    """What reads them takes them."""
    settings = _settings(overlay)
    texts = {"/etc/reweigh/redis-url": "redis://:x@redis:6379/0", "/etc/reweigh/zookeeper-auth": "reweigh:x"}
    assert redis_url_setting(settings, texts.__getitem__)
    access = KafkaAccess.from_settings(settings, lambda _: "x")
    assert (access.has_tls, bool(zookeeper_auth_setting(settings, texts.__getitem__))) == (
        (True, True) if overlay == "production" else (False, False)
    )


def _settings(overlay: str) -> dict[str, str]:
    (found,) = (each for name, each in of_kind(overlay, "ConfigMap").items() if name.startswith("reweigh-settings-"))
    data: dict[str, str] = found["data"]
    return data


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_reads_the_settings_as_they_are(overlay: str) -> None:
    """By the name that ends in their digest, so that a changed setting starts new pods, those of Flink too."""
    (settings,) = of_kind(overlay, "ConfigMap")
    for name, spec, _ in pods(overlay):
        (container,) = spec["containers"]
        assert container["envFrom"] == [{"configMapRef": {"name": settings}}], name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_service_is_asked_and_scaled(overlay: str) -> None:
    """Probes on the routes for them; the Service, the scaler, the budget and the policy all mean the same pods."""
    service = of_kind(overlay, "Deployment")["reweigh-service"]
    (container,) = service["spec"]["template"]["spec"]["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    # What fails it kills the pod, so it may not ask for a server that is away, as /readyz does.
    assert container["startupProbe"]["httpGet"]["path"] == "/livez"
    labels = service["spec"]["template"]["metadata"]["labels"].items()
    (found,) = of_kind(overlay, "Service").values()
    assert found["spec"]["selector"].items() <= labels
    assert found["spec"]["ports"][0]["targetPort"] in {port["name"] for port in container["ports"]}
    (budget,) = of_kind(overlay, "PodDisruptionBudget").values()
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels
    (scaler,) = of_kind(overlay, "HorizontalPodAutoscaler").values()
    assert scaler["spec"]["scaleTargetRef"]["name"] == "reweigh-service"
    assert "replicas" not in service["spec"], "the scaler's, or each `apply` would undo what it did"
    callers = of_kind(overlay, "NetworkPolicy")["reweigh-callers"]["spec"]
    assert callers["podSelector"]["matchLabels"].items() <= labels
    assert [port["port"] for port in callers["ingress"][0]["ports"]] == [container["ports"][0]["containerPort"]]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_commands_are_commands(overlay: str) -> None:
    """What begins with `reweigh` is understood by it."""
    commands = {}
    for name, spec, _ in pods(overlay):
        (container,) = spec["containers"]
        command = [*container.get("command", ()), *container.get("args", ())]
        if command[:1] == ["reweigh"]:
            commands[name] = build_parser().parse_args(command[1:]).command
    known = {"follower": "follow", "canary": "canary", "train": "train", "verify": "verify"}
    assert commands.items() >= {f"reweigh-{name}": command for name, command in known.items()}.items()


def test_monitors_find_a_port_that_there_is() -> None:
    """Each named port of a monitor is one of the pods or the Service that it selects; schema: docs/deployment.md."""
    for found, endpoints in scraped():
        ports = found["spec"]["ports"] if found["kind"] == "Service" else found["spec"]["containers"][0]["ports"]
        assert {each["port"] for each in endpoints} == {each["name"] for each in ports}, found["metadata"]


def test_every_metric_has_the_job_by_which_it_is_looked_for() -> None:
    """What Kubernetes, Compose and the rules and dashboards of `grafana/` call a job is the same."""
    labels = [found["metadata"]["labels"] for found, _ in scraped()]
    jobs = {each["app.kubernetes.io/component"] for each in labels}
    compose = yaml.safe_load((GRAFANA / "prometheus" / "prometheus.yml").read_text())
    # Who runs Kubernetes has a Prometheus and node exporters of their own, and there is no bridge.
    assert jobs == {each["job_name"] for each in compose["scrape_configs"]} - {"prometheus", "node", "bridge"}
    asked = "".join(file.read_text() for file in (*GRAFANA.rglob("rules/*.yml"), *GRAFANA.rglob("dashboards/*.json")))
    selected = re.findall(r'\bjob(=~|!~|!=|=)\\?"([^"\\]*)', asked)
    assert {how for how, _ in selected} == {"="}
    assert {job for _, job in selected} <= jobs


def scraped() -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each Service and each pod with metrics that a monitor selects, with the monitor's endpoints."""
    pod_objects = [
        {"kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}
        for name, spec, labels in pods("production")
        if any("ports" in each for each in spec["containers"])
    ]
    candidates = {"ServiceMonitor": list(of_kind("production", "Service").values()), "PodMonitor": pod_objects}
    found = []
    for monitor in manifests("production"):
        if monitor["apiVersion"] == MONITORING:
            spec = monitor["spec"]
            assert spec["jobLabel"] == "app.kubernetes.io/component"
            endpoints = spec.get("endpoints") or spec["podMetricsEndpoints"]
            selected = [each for each in candidates.pop(monitor["kind"]) if _selects(spec["selector"], each)]
            found += [(each, endpoints) for each in selected]
    assert candidates == {}
    return found


def _selects(selector: dict[str, Any], found: dict[str, Any]) -> bool:
    labels = found["metadata"]["labels"]
    without = selector.get("matchExpressions", [])
    assert {each["operator"] for each in without} <= {"NotIn"}
    return selector["matchLabels"].items() <= labels.items() and not any(
        labels.get(each["key"]) in each["values"] for each in without
    )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_canary_reaches_the_service(overlay: str) -> None:
    """By the Service's name, at a port that both policies let through; its metrics are let out."""
    (canary,) = of_kind(overlay, "Deployment")["reweigh-canary"]["spec"]["template"]["spec"]["containers"]
    service = of_kind(overlay, "Service")["reweigh-service"]
    assert {"name": "API_URL", "value": "http://reweigh-service"} in canary["env"]
    assert service["spec"]["ports"][0]["port"] == 80
    policies = of_kind(overlay, "NetworkPolicy")
    _lets_through(policies["reweigh-canary"], "reweigh-canary", "reweigh-service", 8000)
    _lets_through(policies["reweigh-from-canary"], "reweigh-service", "reweigh-canary", 8000)
    let_out = {port["port"] for port in policies["reweigh-metrics"]["spec"]["ingress"][0]["ports"]}
    ports = {port["containerPort"] for _, spec, _ in pods(overlay) for port in spec["containers"][0].get("ports", ())}
    assert ports <= let_out


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_service_reaches_the_job(overlay: str) -> None:
    """By the name that Flink gives its Service, that of the deployment and `-rest`; `/ops` has the job's state so."""
    (job,) = of_kind(overlay, "FlinkDeployment")
    service = of_kind(overlay, "Deployment")["reweigh-service"]["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "FLINK_REST", "value": f"http://{job}-rest:8081"} in service["env"]
    policies = of_kind(overlay, "NetworkPolicy")
    _lets_through(policies["reweigh-to-job"], "reweigh-service", job, 8081)
    _lets_through(policies["reweigh-from-service"], job, "reweigh-service", 8081)


def _lets_through(policy: dict[str, Any], pods_of: str, peers: str, port: int) -> None:
    """Assert that a policy opens this port between these pods, and does nothing else."""
    assert policy["spec"]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": pods_of}
    (rule,) = policy["spec"].get("egress") or policy["spec"]["ingress"]
    (peer,) = rule.get("to") or rule["from"]
    assert peer == {"podSelector": {"matchLabels": {"app.kubernetes.io/name": peers}}}
    assert [each["port"] for each in rule["ports"]] == [port]


def test_nothing_lies_about_unrendered() -> None:
    """Every overlay is rendered, and nothing else is."""
    assert {path.name for path in (FOLDER / "overlays").iterdir()} == set(OVERLAYS)
    assert {path.stem for path in (FOLDER / "rendered").iterdir()} == set(OVERLAYS)
