"""Deployments, as far as they can be checked without a cluster: schemas, parsers, dry runs."""

import copy
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

INFRA = Path(__file__).parents[2] / "infra"
BIN = Path(sys.executable).parent
KUBERNETES = kubernetes_validate.latest_version()

# The fields of ray.io/v1 (KubeRay 1.5 and 1.6) that a cluster and a job may use here.
CLUSTER_FIELDS = {
    "rayVersion": str,
    "authOptions": dict,
    "enableInTreeAutoscaling": bool,
    "autoscalerOptions": dict,
    "headGroupSpec": dict,
    "workerGroupSpecs": list,
}
JOB_FIELDS = {
    "entrypoint": str,
    "backoffLimit": int,
    "activeDeadlineSeconds": int,
    "shutdownAfterJobFinishes": bool,
    "ttlSecondsAfterFinished": int,
    "runtimeEnvYAML": str,
    "rayClusterSpec": dict,
}
HEAD_FIELDS = {"serviceType": str, "rayStartParams": dict, "template": dict}
WORKER_FIELDS = {
    "groupName": str,
    "replicas": int,
    "minReplicas": int,
    "maxReplicas": int,
    "rayStartParams": dict,
    "template": dict,
}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((INFRA / name).read_text()))


def of_kind(name: str, kind: str) -> dict[str, Any]:
    (found,) = [document for document in documents(name) if document["kind"] == kind]
    return found


def qnn(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(BIN / "qnn"), *arguments], capture_output=True, text=True)


def require(fields: dict[str, type], given: dict[str, Any]) -> None:
    unknown = set(given) - set(fields)
    assert not unknown, unknown
    for name, value in given.items():
        assert isinstance(value, fields[name]), (name, value)


def check_cluster(spec: dict[str, Any]) -> None:
    require(CLUSTER_FIELDS, spec)
    assert spec["authOptions"] == {"mode": "token"}
    require(HEAD_FIELDS, spec["headGroupSpec"])
    for group in spec["workerGroupSpecs"]:
        require(WORKER_FIELDS, group)
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, **group["template"]}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False


def ray_commands() -> Iterator[list[str]]:
    """Every `ray start` that a deployment runs, KubeRay's made of its parameters."""
    launcher = yaml.safe_load((INFRA / "ray" / "aws.yaml").read_text())
    for line in (*launcher["head_start_ray_commands"], *launcher["worker_start_ray_commands"]):
        words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
        if words[1] == "start":
            yield words
    compose = yaml.safe_load((INFRA / "compose" / "compose.yaml").read_text())
    for service in ("head", "worker"):
        yield compose["services"][service]["command"]
    job = of_kind("kubernetes/rayjob.yaml", "RayJob")["spec"]["rayClusterSpec"]
    for cluster in (of_kind("kubernetes/raycluster.yaml", "RayCluster")["spec"], job):
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            parameters = [f"--{key}={value}" for key, value in group["rayStartParams"].items()]
            yield ["ray", "start", *parameters]


def test_kuberays_objects_have_known_fields_and_sound_pods() -> None:
    check_cluster(of_kind("kubernetes/raycluster.yaml", "RayCluster")["spec"])
    job = of_kind("kubernetes/rayjob.yaml", "RayJob")
    require(JOB_FIELDS, job["spec"])
    check_cluster(job["spec"]["rayClusterSpec"])
    wrong = copy.deepcopy(job["spec"]["rayClusterSpec"])
    wrong["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["imagge"] = "x"
    with pytest.raises(kubernetes_validate.ValidationError, match="imagge"):
        check_cluster(wrong)


def test_the_jobs_command_runs_dry_with_its_own_config(tmp_path: Path) -> None:
    job = of_kind("kubernetes/rayjob.yaml", "RayJob")["spec"]
    config = of_kind("kubernetes/rayjob.yaml", "ConfigMap")["data"]["sweep.yaml"]
    (tmp_path / "sweep.yaml").write_text(config)
    program, *arguments = shlex.split(job["entrypoint"])
    assert program == "qnn"
    here = [word.replace("/etc/qnn", str(tmp_path)) for word in arguments]
    done = qnn(*here, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "1728 networks" in done.stdout
    assert yaml.safe_load(job["runtimeEnvYAML"])["env_vars"]["QNN_LOG"] == "json"


def test_kubernetes_takes_the_mlflow_server() -> None:
    for document in documents("kubernetes/mlflow.yaml"):
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
        # Secrets are made by hand, never kept in a file.
        assert document["kind"] != "Secret"
    for kind in ("StatefulSet", "Deployment"):
        pod = of_kind("kubernetes/mlflow.yaml", kind)["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
    services = [d for d in documents("kubernetes/mlflow.yaml") if d["kind"] == "Service"]
    assert all(service["spec"].get("type", "ClusterIP") == "ClusterIP" for service in services)


def test_rays_launcher_takes_the_cluster() -> None:
    # Found, not imported: an import settles how this process would authenticate.
    found = find_spec("ray")
    assert found is not None
    assert found.origin is not None
    schema = json.loads((Path(found.origin).parent / "autoscaler/ray-schema.json").read_text())
    config = yaml.safe_load((INFRA / "ray" / "aws.yaml").read_text())
    jsonschema.validate(config, schema)
    starts = (*config["head_start_ray_commands"], *config["worker_start_ray_commands"])
    for line in starts:
        assert "RAY_AUTH_MODE=token" in line or line == "ray stop"
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][1]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**config, "max_wrokers": 3}, schema)


def test_ray_start_knows_every_option() -> None:
    starts = [arguments for _, _, *arguments in ray_commands()]
    # In a process of its own: Ray's commands settle how this one would authenticate.
    program = (
        "import json, sys\n"
        "from ray.scripts.scripts import start\n"
        "for arguments in json.load(sys.stdin):\n"
        "    start.make_context('start', arguments)\n"
    )

    def parse(commands: list[list[str]]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", program],
            input=json.dumps(commands),
            capture_output=True,
            text=True,
        )

    assert len(starts) == 8
    done = parse(starts)
    assert done.returncode == 0, done.stderr
    assert "No such option" in parse([["--hed"]]).stderr


def test_the_stack_follows_the_compose_specification(tmp_path: Path) -> None:
    def check(file: Path) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "check_jsonschema"]
        return subprocess.run(
            [*command, "--builtin-schema", "vendor.compose-spec", str(file)],
            capture_output=True,
            text=True,
        )

    file = INFRA / "compose" / "compose.yaml"
    done = check(file)
    assert done.returncode == 0, done.stdout + done.stderr
    broken = tmp_path / "compose.yaml"
    broken.write_text(file.read_text().replace("healthcheck:", "healthchek:"))
    assert check(broken).returncode == 1


def test_the_stack_publishes_on_loopback_only_and_asks_for_every_secret() -> None:
    text = (INFRA / "compose" / "compose.yaml").read_text()
    stack = yaml.safe_load(text)
    for service in stack["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    secrets = set(re.findall(r"\$\{(\w+)", text))
    assert all(f"${{{name}:?" in text for name in secrets)
    script = (INFRA / "compose" / "secrets.sh").read_text()
    assert all(re.search(rf"\b{name}\b", script) for name in secrets)


def test_every_cluster_asks_for_a_token() -> None:
    for service in yaml.safe_load((INFRA / "compose" / "compose.yaml").read_text())[
        "services"
    ].values():
        if "ray" in service.get("command", ()):
            assert service["environment"]["RAY_AUTH_MODE"] == "token"
    for cluster in (
        of_kind("kubernetes/raycluster.yaml", "RayCluster")["spec"],
        of_kind("kubernetes/rayjob.yaml", "RayJob")["spec"]["rayClusterSpec"],
    ):
        assert cluster["authOptions"] == {"mode": "token"}


def test_secrets_are_made_once_and_for_their_owner_only(tmp_path: Path) -> None:
    script = tmp_path / "secrets.sh"
    script.write_text((INFRA / "compose" / "secrets.sh").read_text())
    env, made = tmp_path / ".env", []
    for _ in range(2):
        subprocess.run(["bash", str(script)], check=True, capture_output=True)
        made.append(env.read_text())
    assert made[0] == made[1]
    values = dict(line.split("=") for line in made[0].splitlines())
    assert len(set(values.values())) == len(values) == 5
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in values.values())
    assert env.stat().st_mode & 0o077 == 0
    assert not (tmp_path / ".env.new").exists()


def test_the_image_is_no_roots_and_copies_what_there_is() -> None:
    lines = (INFRA / "image" / "Dockerfile").read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users[-1] == "1000:1000"
    sent = {
        line[1:].split("/")[0]
        for line in (INFRA.parent / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    for line in lines:
        if line.startswith("COPY "):
            *sources, _ = line.split()[1:]
            for source in sources:
                assert (INFRA.parent / source).exists(), source
                assert source.split("/")[0].removeprefix("./") in sent


@pytest.mark.parametrize("script", sorted(INFRA.rglob("*.sh")), ids=lambda path: path.name)
def test_scripts_parse(script: Path) -> None:
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_mlflow_server_names_what_is_missing() -> None:
    server = INFRA / "mlflow" / "server.sh"
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(["bash", str(server)], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (2, "mlflow server: set MLFLOW_BACKEND_STORE_URI\n")
    names = re.findall(r"MLFLOW_\w+", server.read_text().split("for name in")[1].split(";")[0])
    short = {**environment, **dict.fromkeys(names, "short")}
    done = subprocess.run(["bash", str(server)], capture_output=True, text=True, env=short)
    assert done.returncode == 2
    assert done.stderr == "mlflow server: MLFLOW_ADMIN_PASSWORD needs 12 characters or more\n"


def test_the_mlflow_server_leaves_no_password_behind(tmp_path: Path) -> None:
    """Its settings are read by a process that the server starts, as MLflow's are, and again."""
    reader = (
        "import configparser, os, subprocess, sys\n"
        "look = ('import configparser, os; c = configparser.ConfigParser(); '\n"
        "        'c.read(os.environ[\"MLFLOW_AUTH_CONFIG_PATH\"]); '\n"
        "        'print(dict(c[\"mlflow\"]))')\n"
        "for _ in range(2):\n"
        "    subprocess.run([sys.executable, '-c', look], check=True)\n"
        f"print(os.listdir({str(tmp_path / 'tmp')!r}))\n"
    )
    for folder in ("bin", "tmp"):
        (tmp_path / folder).mkdir()
    (tmp_path / "bin" / "mlflow").write_text(f"#!{sys.executable}\n{reader}")
    (tmp_path / "bin" / "mlflow").chmod(0o755)
    server = INFRA / "mlflow" / "server.sh"
    names = re.findall(r"MLFLOW_\w+", server.read_text().split("for name in")[1].split(";")[0])
    environment = {
        **dict.fromkeys(names, "x"),
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "TMPDIR": str(tmp_path / "tmp"),
        "MLFLOW_ADMIN_PASSWORD": "50%-canary-password",
    }
    done = subprocess.run(["bash", str(server)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    first, second, there = done.stdout.splitlines()
    assert first == second
    assert "'admin_password': '50%-canary-password'" in first
    assert there == "[]"


def test_the_readme_names_every_file() -> None:
    text = (INFRA / "README.md").read_text()
    for name in ("aws.yaml", "raycluster.yaml", "rayjob.yaml", "mlflow.yaml", "server.sh"):
        assert name in text
    for line in re.findall(r"\.venv/bin/qnn (submit [^\n]*)", text):
        words = shlex.split(line.rstrip("\\"))
        assert (INFRA.parent / words[1]).is_file()
