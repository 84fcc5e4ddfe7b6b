"""What `infra/` deploys, checked as far as it can be without a container engine or a cluster."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from flows.settings import HEARTBEAT_SECONDS, RETENTION, Settings

ROOT = Path(__file__).parents[1]
INFRA = ROOT / "infra"
KUBERNETES = INFRA / "kubernetes"
BIN = Path(sys.executable).parent
VERSION = "1.32"

COMPOSE = sorted(INFRA.glob("compose*.yaml"))
MANIFESTS = sorted(
    file
    for folder in ("base", "self-contained")
    for file in (KUBERNETES / folder).glob("*.yaml")
    if file.name not in ("kustomization.yaml", "gpu-pool.yaml")
)


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def variables() -> set[str]:
    """Every variable that a file of `infra/` sets or reads."""
    found: set[str] = set()
    for file in INFRA.rglob("*"):
        if file.is_file():
            found |= set(re.findall(r"\b(?:STVD|PREFECT|MLFLOW)_[A-Z_]+\b", file.read_text()))
    return found


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: file.name)
def test_compose_files_meet_the_specification(file: Path) -> None:
    run(str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(file))


def test_compose_listens_on_loopback_and_waits_for_what_is_well() -> None:
    services = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]
    for name, service in services.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} listens on {port}"
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other], f"{name} waits for {other}"
            else:
                assert services[other]["restart"] == "on-failure", f"{name} waits for {other}"
    overlay = yaml.safe_load((INFRA / "compose.gpu.yaml").read_text())["services"]
    assert set(overlay) == {name for name in services if name.startswith("worker-")}


def test_compose_has_no_secret_and_no_default_for_one() -> None:
    text = (INFRA / "compose.yaml").read_text()
    for line in (INFRA / "secrets.example.env").read_text().splitlines():
        if line and not line.startswith("#"):
            name, value = line.split("=")
            assert value == "", name
            uses = re.findall(rf"\$\{{{name}(.*?)\}}", text)
            assert uses, f"{name} is not used"
            assert set(uses) <= ({":-"} if name == "STVD_ALERT_URL" else {":?"}), name


def test_containers_run_services_and_modules_that_exist() -> None:
    commands = [
        service["command"]
        for service in yaml.safe_load((INFRA / "compose.yaml").read_text())["services"].values()
        if "command" in service
    ]
    for pod in pods():
        commands += [c["args"] for c in pod["containers"] if "args" in c]
    assert len(commands) == 14
    from flows.serve import PORTS
    from flows.stack_services import QUEUES

    for python, dash_m, module, *arguments in commands:
        assert (python, dash_m) == ("python", "-m")
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists()
        if module == "flows.serve":
            assert arguments[0] in PORTS
            assert arguments[0] != "worker" or arguments[1] in QUEUES


def test_every_variable_is_one_that_somebody_reads() -> None:
    from prefect.settings import Settings as PrefectSettings
    from prefect.settings.legacy import _get_settings_fields

    prefect = set(_get_settings_fields(PrefectSettings))
    ours = {f"STVD_{name.upper()}" for name in Settings.model_fields} | {
        "STVD_IMAGE",  # of the manifests and the compose file themselves
        "STVD_VARIANT",
    }
    mlflow = mlflow_variables()
    assert {name for name in variables() if name.startswith("STVD_")} <= ours
    assert {name for name in variables() if name.startswith("PREFECT_")} <= prefect
    assert {name for name in variables() if name.startswith("MLFLOW_")} <= mlflow
    assert set(RETENTION) <= prefect


def test_prefect_reads_what_is_kept_as_it_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import Settings as PrefectSettings

    for name, value in RETENTION.items():
        monkeypatch.setenv(name, value)
    settings = PrefectSettings()
    vacuum = settings.server.services.db_vacuum
    assert settings.flows.heartbeat_frequency == HEARTBEAT_SECONDS
    assert settings.server.events.retention_period == timedelta(days=14)
    assert vacuum.enabled_vacuum_types == {"events", "flow_runs", "orphans"}
    assert vacuum.retention_period == timedelta(days=90)
    assert vacuum.event_retention_overrides == {"prefect.flow-run.heartbeat": timedelta(days=1)}


def mlflow_variables() -> set[str]:
    """Those of MLflow's sources: to import them all takes longer than to read them."""
    spec = importlib.util.find_spec("mlflow")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    sources = ("environment_variables.py", "cli/__init__.py", "utils/cli_args.py")
    text = "".join((package / source).read_text() for source in sources)
    return set(re.findall(r"\"(MLFLOW_[A-Z_]+)\"", text))


def documents(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]


def pods() -> list[dict[str, Any]]:
    """What each workload of the manifests runs."""
    kinds = ("Deployment", "StatefulSet", "Job")
    return [
        document["spec"]["template"]["spec"]
        for file in MANIFESTS
        for document in documents(file.read_text())
        if document["kind"] in kinds
    ]


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.name)
def test_manifests_meet_the_schemas(file: Path) -> None:
    for document in documents(file.read_text()):
        kubernetes_validate.validate(document, VERSION, strict=True)


def test_pods_may_do_no_more_than_they_need() -> None:
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"]
        if pod.get("serviceAccountName") != "stvd-worker":
            assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("overlay", ["cluster", "self-contained"])
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_overlays_build_and_name_one_image(overlay: str) -> None:
    built = documents(run("kubectl", "kustomize", str(KUBERNETES / overlay)))
    image = "registry.example.org/stvd:gpu"
    for document in built:
        kubernetes_validate.validate(document, VERSION, strict=True)
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "stvd"
    text = yaml.safe_dump(built)
    assert "image: stvd\n" not in text
    assert text.count(f"value: {image}") == 2, "each worker says which image its Jobs run"


def test_the_gpu_pool_makes_jobs_that_kubernetes_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.utilities.templating import apply_values
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    from flows.deployments import pool

    monkeypatch.setenv("STVD_IMAGE", "registry.example.org/stvd:2")
    monkeypatch.setenv("STVD_POOL_TEMPLATE", str(KUBERNETES / "base" / "gpu-pool.yaml"))
    made = pool(Settings())
    assert made.type == "kubernetes"
    template = made.base_job_template
    used = set(re.findall(r"\{\{ (\w+) \}\}", yaml.safe_dump(template["job_configuration"])))
    assert used == set(template["variables"]["properties"])

    defaults = {
        name: field["default"]
        for name, field in template["variables"]["properties"].items()
        if "default" in field
    }
    values = {"name": "backfill", "command": "prefect flow-run execute", "labels": {}, "env": {}}
    configuration = apply_values(template["job_configuration"], {**defaults, **values})
    job = KubernetesWorkerJobConfiguration(**configuration).job_manifest
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "registry.example.org/stvd:2"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    job["metadata"]["name"] = "backfill"
    container["args"], container["env"] = container["args"].split(), []
    for misplaced in ("completions", "parallelism"):  # Prefect wants them in the pod's template
        del job["spec"]["template"]["spec"][misplaced]
    kubernetes_validate.validate(job, VERSION, strict=True)


def test_dockerfile_lint() -> None:
    run(str(BIN / "hadolint"), str(INFRA / "image" / "Dockerfile"))


def test_what_the_image_copies_exists_and_is_sent() -> None:
    text = (INFRA / "image" / "Dockerfile").read_text()
    sent = (INFRA / "image" / "Dockerfile.dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name
        assert f"!{name.split('/')[0]}" in sent, name


def test_this_environment_has_what_the_image_needs() -> None:
    run("sh", "-n", str(INFRA / "image" / "install.sh"))
    run(str(INFRA / "image" / "check.sh"), PATH=f"{BIN}:{os.environ['PATH']}")
