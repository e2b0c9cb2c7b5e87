"""The schedules: what systemd, cron and Kubernetes make of them, and the command that they call."""

import copy
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.commands.retraining import DONE, FAILED, REFUSED
from pipeline.configuration.reading import parse_config
from tests.pipeline.retraining.arriving import arrive

SCHEDULE = Path(__file__).parents[2] / "infra" / "schedule"


def qnn(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from pipeline.commands.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def unit(name: str) -> dict[str, list[str]]:
    """The settings of a systemd unit, by name."""
    found: dict[str, list[str]] = {}
    for line in (SCHEDULE / name).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def documents() -> dict[str, dict[str, Any]]:
    loaded = yaml.safe_load_all((SCHEDULE / "cronjob.yaml").read_text())
    return {document["kind"]: document for document in loaded}


def cron_line() -> tuple[str, str, str]:
    """The cron file's one job: when, as whom, and what."""
    lines = (SCHEDULE / "qnn-retrain.cron").read_text().splitlines()
    (job,) = [line for line in lines if line and not line.startswith("#") and "=" not in line[:12]]
    fields = job.split(maxsplit=6)
    return " ".join(fields[:5]), fields[5], fields[6]


def commands() -> dict[str, list[str]]:
    """What each of them runs, from `qnn` on."""
    (service,) = unit("qnn-retrain.service")["ExecStart"]
    _, _, line = cron_line()
    inner = line.partition("&&")[2].partition("||")[0]
    job = documents()["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return {
        "systemd": shlex.split(service),
        "cron": shlex.split(inner),
        "kubernetes": job["containers"][0]["command"],
    }


def test_every_schedule_runs_the_same_command() -> None:
    for name, command in commands().items():
        assert Path(command[0]).name == "qnn", name
        assert command[1] == "retrain"
        assert command[2].endswith("retrain.yaml")
        assert command[3] == "--out"


@pytest.mark.parametrize("name", ["systemd", "cron", "kubernetes"])
def test_the_very_command_explains_itself_on_data_that_are_there(tmp_path: Path, name: str) -> None:
    for k in (1, 2):
        arrive(tmp_path / "incoming", f"{k}.csv", seed=k, count=40)
    if name == "kubernetes":
        config = tmp_path / "retrain.yaml"
        config.write_text(documents()["ConfigMap"]["data"]["retrain.yaml"])
    else:
        config = SCHEDULE / "retrain.yaml"
    command = commands()[name]
    command[2], command[4] = str(config), str(tmp_path / "out")
    done = qnn(*command[1:], "--dry-run", "--set", f"data.source={tmp_path}/incoming")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("retrain nightly: first run, on 2 partitions")
    assert not (tmp_path / "out").exists()


def test_the_configs_are_configs() -> None:
    config = parse_config((SCHEDULE / "retrain.yaml").read_text(), "retrain.yaml")
    assert config.retrain is not None
    parse_config(documents()["ConfigMap"]["data"]["retrain.yaml"], "the config map")


def test_exit_codes_mean_the_same_everywhere() -> None:
    service = unit("qnn-retrain.service")
    assert service["SuccessExitStatus"] == [str(REFUSED)]
    assert service["RestartPreventExitStatus"] == ["2"]
    assert service["Restart"] == ["on-failure"]
    rules = documents()["CronJob"]["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert rules[0]["onExitCodes"]["values"] == [2, REFUSED]
    assert rules[0]["action"] == "FailJob"
    assert FAILED not in rules[0]["onExitCodes"]["values"]
    assert DONE == 0


def test_the_cron_line_is_one_that_cron_takes() -> None:
    when, who, what = cron_line()
    minute, hour, day, month, weekday = when.split()
    assert re.fullmatch(r"\d+|\*", minute)
    assert 0 <= int(minute) <= 59
    assert 0 <= int(hour) <= 23
    assert (day, month, weekday) == ("*", "*", "*")
    assert who == "qnn"
    # A percent sign ends a command in cron and begins its input.
    assert "%" not in what
    assert subprocess.run(["bash", "-n", "-c", what], check=False).returncode == 0
    assert (SCHEDULE / "qnn-retrain.cron").read_text().endswith("\n")


def test_the_cron_job_has_the_secrets_of_the_service(tmp_path: Path) -> None:
    lines = (SCHEDULE / "qnn-retrain.cron").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))
    (file,) = unit("qnn-retrain.service")["EnvironmentFile"]
    assert file == f"-{settings['BASH_ENV']}"
    secrets = tmp_path / "retrain.env"
    secrets.write_text("MLFLOW_TRACKING_URI='https://qnn:a$b@example.org'\n")
    show = [settings["SHELL"], "-c", "printenv MLFLOW_TRACKING_URI"]
    there = subprocess.run(
        show, env={**settings, "BASH_ENV": str(secrets)}, capture_output=True, text=True
    )
    assert (there.stdout, there.stderr) == ("https://qnn:a$b@example.org\n", "")
    absent = subprocess.run(
        show, env={**settings, "BASH_ENV": f"{secrets}.not"}, capture_output=True, text=True
    )
    assert (absent.stdout, absent.stderr) == ("", "")


def test_the_timer_starts_the_service_every_night() -> None:
    timer = unit("qnn-retrain.timer")
    assert timer["Unit"] == ["qnn-retrain.service"]
    assert timer["Persistent"] == ["true"]
    assert timer["OnCalendar"] == ["*-*-* 02:00:00"]


@pytest.mark.slow
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """`systemd-analyze verify` wants the program to be there."""
    for name in ("qnn-retrain.service", "qnn-retrain.timer"):
        shutil.copy(SCHEDULE / name, tmp_path)
    service = tmp_path / "qnn-retrain.service"
    service.write_text(service.read_text().replace("/srv/qnn/.venv/bin/qnn", sys.executable))
    units = [str(service), str(tmp_path / "qnn-retrain.timer")]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    own = [line for line in done.stderr.splitlines() if "qnn-retrain" in line]
    assert (done.returncode, own) == (0, []), done.stderr
    broken = service.read_text().replace("Type=oneshot", "Type=sometimes")
    service.write_text(broken)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "sometimes" in done.stderr
    when = subprocess.run(
        ["systemd-analyze", "calendar", *unit("qnn-retrain.timer")["OnCalendar"]],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "02:00:00" in when.stdout


def test_kubernetes_takes_the_objects() -> None:
    import kubernetes_validate

    version = kubernetes_validate.latest_version()
    for document in documents().values():
        kubernetes_validate.validate(document, version, strict=True)
    broken = copy.deepcopy(documents()["CronJob"])
    broken["spec"]["jobTemplate"]["spec"]["template"]["spec"]["restartpolicy"] = "Never"
    with pytest.raises(kubernetes_validate.ValidationError, match="restartpolicy"):
        kubernetes_validate.validate(broken, version, strict=True)


def test_the_ray_cron_job_runs_the_same_on_pods_that_kubernetes_takes() -> None:
    import kubernetes_validate

    job = yaml.safe_load((SCHEDULE / "raycronjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayCronJob")
    assert job["spec"]["schedule"] == documents()["CronJob"]["spec"]["schedule"]
    # What the kind of KubeRay 1.6 knows, `suspend` aside.
    assert set(job["spec"]) == {"schedule", "timeZone", "jobTemplate"}
    template = job["spec"]["jobTemplate"]
    wanted = [*commands()["kubernetes"], "--address", "auto"]
    assert template["entrypoint"].split() == wanted
    cluster = template["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, **group["template"]}
        kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)


def test_pods_are_closed_and_have_room_for_the_objects_of_ray() -> None:
    ray = yaml.safe_load((SCHEDULE / "raycronjob.yaml").read_text())
    cluster = ray["spec"]["jobTemplate"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    alone = documents()["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]
    for pod in (alone["spec"], *(group["template"]["spec"] for group in groups)):
        assert pod["securityContext"]["runAsNonRoot"] is True
        memory = [v["name"] for v in pod["volumes"] if v.get("emptyDir", {}).get("medium")]
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
            }  # fmt: skip
            mounted = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
            assert [mounted["/dev/shm"]] == memory


def test_the_cron_job_gives_the_lease_time_to_be_released() -> None:
    job = documents()["CronJob"]
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # a pod failure policy asks for it
    assert pod["terminationGracePeriodSeconds"] >= 30
    (config,) = [v for v in pod["volumes"] if v["name"] == "config"]
    assert config["configMap"]["name"] == documents()["ConfigMap"]["metadata"]["name"]
