"""Ids that find a sweep again, what is shipped, and what is refused before anything is sent."""

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from pipeline.commands.submission import shipping
from pipeline.commands.submission.client import Jobs, authorization, exit_code, probe
from pipeline.commands.submission.shipping import find_local_data, stage
from pipeline.commands.submission.submit import (
    Submission,
    entrypoint,
    prepare_out,
    read_requirements,
    submission_id,
    submit,
)
from pipeline.configuration.reading import load_config, parse_config
from pipeline.configuration.yaml_text import dump_yaml, parse_yaml
from pipeline.studies.training.automatic import is_automatic
from qnn.errors import InputError
from tests.pipeline.small import config_text
from tests.servers import serve

OUT = "s3://bucket/small"


@dataclass
class Details:
    submission_id: str
    status: str
    driver_exit_code: int | None = None


@dataclass
class Cluster:
    """Stands for `Jobs`: a list of jobs, and what was submitted."""

    found: list[Details] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)
    refusal: str = ""

    def list(self) -> list[Details]:
        return self.found

    def info(self, job: str) -> Details:
        return Details(job, "RUNNING")

    def submit(self, **arguments: Any) -> None:
        if self.refusal:
            raise InputError(self.refusal)
        staged = Path(arguments["runtime_env"]["working_dir"])
        files = {str(file.relative_to(staged)) for file in staged.rglob("*") if file.is_file()}
        text = parse_yaml((staged / "sweep.yaml").read_text(), "sweep.yaml")
        self.sent.append({**arguments, "files": files, "text": text})


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "small.yaml"
    file.write_text(config_text(tmp_path))
    return file


def send(config: Path, cluster: Cluster, **options: Any) -> Any:
    return submit(config, cast(Jobs, cluster), OUT, (), Submission(**options))


def test_the_id_follows_from_config_data_and_output(config: Path, tmp_path: Path) -> None:
    def identify(out: str = OUT, *overrides: str) -> str:
        resolved = load_config(config, overrides)
        return submission_id(resolved, out, find_local_data(resolved))

    first = identify()
    assert identify(OUT + "/") == first
    assert len({first, identify("s3://bucket/other"), identify(OUT, "seeds=[7]")}) == 3
    elsewhere = tmp_path / "moved"
    elsewhere.mkdir()
    (tmp_path / "small.csv").rename(elsewhere / "small.csv")
    assert identify(OUT, f"data.source={elsewhere / 'small.csv'}") == first
    with (elsewhere / "small.csv").open("a") as stream:
        stream.write("0,0,0,0,yes\n")
    assert identify(OUT, f"data.source={elsewhere / 'small.csv'}") != first


def without_beta(tmp_path: Path) -> Path:
    config_text(tmp_path)
    file = tmp_path / "open.yaml"
    file.write_text("data: {source: small.csv}\n")
    return file


def test_a_sweep_without_beta_is_sent_open_and_chosen_by_the_job(tmp_path: Path) -> None:
    cluster, file = Cluster(), without_beta(tmp_path)
    sent = send(file, cluster)
    assert sent.started
    text = cluster.sent[0]["text"]
    for key in ("beta", "loss", "widths"):
        assert key not in text
    assert "scaling" not in text["preprocessing"]
    assert (text["name"], text["shards"]["count"], text["seeds"]) == ("small", 3, [0])
    # Nobody can know before how many networks that will be.
    assert "trials" not in cluster.sent[0]["metadata"]
    # The file that is sent is one whose choices are made where it runs, and given ones stay.
    on_node = tmp_path / "on_node.yaml"
    on_node.write_text(dump_yaml(text))
    assert is_automatic(on_node, [])
    given = submit(file, cast(Jobs, cluster), OUT, ["widths=[4]"], Submission())
    assert cluster.sent[1]["text"]["widths"] == [4]
    # A limit that the standing width would not keep is the job's to keep.
    assert submit(file, cast(Jobs, Cluster()), OUT, ["max_bytes=90"], Submission()).started
    explicit = ["beta.fractions=[0.05]", "name=small", "seeds=[0]", "second_layer=8",
                "shards={kind: kfold, count: 3}", "rounding=[refined]"]  # fmt: skip
    told = submit(file, cast(Jobs, cluster), OUT, explicit, Submission())
    assert len({sent.job, given.job, told.job}) == 3
    assert send(file, Cluster([Details(sent.job, "RUNNING")])).job == sent.job


@pytest.mark.parametrize(
    ("setting", "variable", "message"),
    [
        ("data.source=s3:bucket/x.csv", "", r"data\.source: s3:bucket/x\.csv: write s3://"),
        ("data.source=store:9000/x.csv", "", r"data\.source: .*need a scheme in front"),
        ("tracking.uri=head:5000", "", r"tracking\.uri: head:5000: a host and a port need"),
        ("tracking.uri=sqlite:mlflow.db", "", r"tracking\.uri: .*write sqlite://"),
        ("tracking.uri=mlruns", "", r"tracking\.uri: mlruns is no URI"),
        ("seeds=[0]", "head:5000", r"MLFLOW_TRACKING_URI: head:5000: a host and a port need"),
    ],
)
def test_half_uris_are_refused_before_anything_is_sent(
    config: Path, setting: str, variable: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", variable)
    cluster = Cluster()
    with pytest.raises(InputError, match=message):
        submit(config, cast(Jobs, cluster), OUT, [setting], Submission())
    assert not cluster.sent


def test_lists_without_beta_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    cluster = Cluster()
    with pytest.raises(InputError, match=r"open\.yaml: beta: is required where several"):
        submit(without_beta(tmp_path), cast(Jobs, cluster), OUT, ["widths=[4, 8]"], Submission())
    assert not cluster.sent


def test_what_runs_or_succeeded_is_not_sent_again(config: Path) -> None:
    cluster = Cluster()
    job = send(config, cluster).job
    for status in ("PENDING", "RUNNING", "SUCCEEDED"):
        cluster = Cluster([Details(job, status)])
        found = send(config, cluster)
        assert (found.job, found.status, found.started, cluster.sent) == (job, status, False, [])
    again = send(config, Cluster([Details(job, "SUCCEEDED")]), again=True)
    assert (again.job, again.started) == (f"{job}.2", True)


@pytest.mark.parametrize("status", ["FAILED", "STOPPED"])
def test_after_a_failure_comes_a_numbered_attempt(config: Path, status: str) -> None:
    job = send(config, Cluster()).job
    other = Details("qnn-small-000000000000.9", "RUNNING")
    assert send(config, Cluster([Details(job, status), other])).job == f"{job}.2"
    tenth = [Details(f"{job}.{k}", status) for k in range(2, 11)]
    assert send(config, Cluster([Details(job, status), *tenth])).job == f"{job}.11"


def test_of_two_at_once_one_is_told_that_it_runs(config: Path) -> None:
    cluster = Cluster(refusal="Job with submission_id x already exists. Please use another")
    assert send(config, cluster).started is False
    with pytest.raises(InputError, match="no space left"):
        send(config, Cluster(refusal="no space left"))


def test_the_package_config_and_data_are_shipped_and_nothing_else(config: Path) -> None:
    cluster = Cluster()
    send(config, cluster)
    [sent] = cluster.sent
    assert {
        "sweep.yaml",
        "input/small.csv",
        "qnn/training/problems/problem.py",
        "pipeline/reports/pages/page.css",
    } <= sent["files"]
    assert {name.split("/")[0].split("-")[0] for name in sent["files"]} == {
        "sweep.yaml",
        "input",
        "qnn",
        "pipeline",
        "qnn_sdp",
    }
    assert not any("__pycache__" in name for name in sent["files"])
    assert sent["metadata"]["trials"] == "48"
    assert sent["metadata"]["out"] == OUT
    assert "pip" not in sent["runtime_env"]


def test_with_the_package_in_the_image_only_the_config_goes(config: Path) -> None:
    cluster = Cluster()
    send(config, cluster, package=False, shared_data=True, pip=("lightgbm",))
    [sent] = cluster.sent
    assert sent["files"] == {"sweep.yaml"}
    assert sent["entrypoint"].startswith("qnn sweep sweep.yaml --address auto")
    assert sent["runtime_env"]["pip"] == ["lightgbm"]


def test_a_staged_sweep_means_what_it_meant(config: Path, tmp_path: Path) -> None:
    resolved = load_config(config)
    staged = tmp_path / "staged"
    staged.mkdir()
    stage(staged, resolved, find_local_data(resolved), package=False)
    there = load_config(staged / "sweep.yaml")
    assert there.data.source == str(staged / "input" / "small.csv")
    same = there.model_copy(update={"data": resolved.data})
    assert same == resolved


@pytest.mark.parametrize("source", [".", "..", "sub/..", "{}/sub/.."])
def test_a_folder_without_a_name_is_sent_under_its_own(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tmp_path / "rows"
    (rows / "sub").mkdir(parents=True)
    text = config_text(rows)
    monkeypatch.chdir(rows / "sub" if source == ".." else rows)
    resolved = parse_config(text, "small.yaml", [f"data.source={source.format(rows)}"])
    (tmp_path / "staged").mkdir()
    stage(tmp_path / "staged", resolved, find_local_data(resolved), package=False)
    assert (tmp_path / "staged" / "input" / "rows" / "small.csv").is_file()
    assert load_config(tmp_path / "staged" / "sweep.yaml").data.source.endswith("input/rows")


def test_data_too_large_to_ship_are_refused(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "LARGEST_DATA", 1000)
    with pytest.raises(InputError, match=r"^data.source: .*small.csv has 0 MB, and at most 0 MB"):
        send(config, Cluster())
    assert send(config, Cluster(), shared_data=True).started


def test_data_that_do_not_fit_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    text = config_text(tmp_path, data={"source": str(tmp_path / "small.csv"), "target": "nope"})
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    cluster = Cluster()
    with pytest.raises(InputError, match="nope"):
        send(file, cluster)
    assert cluster.sent == []


def test_uris_and_built_in_sets_are_not_shipped(tmp_path: Path) -> None:
    for source in ("s3://bucket/data", "sklearn:breast_cancer"):
        text = config_text(tmp_path, data={"source": source})
        assert find_local_data(parse_config(text, "small.yaml")) is None


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (None, "--out: give a folder that all nodes of the cluster share"),
        ("out/here", "--out out/here: on a cluster it must be absolute, or a URI"),
        ("s3://KEY:SECRETSECRET@b/x", r"--out s3://\*\*\*@b/x: holds credentials, and a job's"),
        ("s3://b/x?secret_key=abcdefgh", r"--out s3://b/x\?secret_key=\*\*\*: holds credentials"),
    ],
)
def test_outputs_that_cannot_work_are_refused(
    out: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QNN_OUT", raising=False)
    with pytest.raises(InputError, match=f"^{message}"):
        prepare_out(out, "small")


def test_the_output_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QNN_OUT", "s3://bucket/runs/")
    assert prepare_out(None, "small") == "s3://bucket/runs/small"
    assert prepare_out("/shared/x", "small") == "/shared/x"


def test_secrets_are_not_passed_on(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-canary")
    monkeypatch.setenv("COLOUR", "blue")
    cluster = Cluster()
    send(config, cluster, environment=("COLOUR",))
    assert cluster.sent[0]["runtime_env"]["env_vars"]["COLOUR"] == "blue"
    assert "canary" not in str(cluster.sent)
    with pytest.raises(InputError, match=r"^AWS_SECRET_ACCESS_KEY: holds a secret, and a job's"):
        send(config, cluster, environment=("AWS_SECRET_ACCESS_KEY",))
    with pytest.raises(InputError, match=r"^--env NOPE: is not set here"):
        send(config, cluster, environment=("NOPE",))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:canary-canary@mlflow")
    with pytest.raises(InputError, match=r"^MLFLOW_TRACKING_URI: holds a secret"):
        send(config, cluster)


def test_the_command_is_quoted() -> None:
    assert entrypoint("/a b/$(x)", package=True) == (
        "python -m pipeline sweep sweep.yaml --address auto --out '/a b/$(x)'"
    )


def test_requirements_are_read_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    with pytest.raises(InputError, match=f"^--pip {file}: cannot be read: No such file"):
        read_requirements(file)
    file.write_text("# none\n\n")
    with pytest.raises(InputError, match=f"^--pip {file}: names no packages"):
        read_requirements(file)
    file.write_text("# some\nlightgbm==4.6\n")
    assert read_requirements(file) == ("lightgbm==4.6",)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (
            401,
            "",
            "the cluster wants a token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH=FILE",
        ),
        (200, "<html>", r"something answers \(HTTP 200\), but no Ray dashboard"),
        (404, "{}", r"something answers \(HTTP 404\), but no Ray dashboard"),
        (200, '{"ray_version": "2.9.3"}', "runs Ray 2.9.3; 2.55 or newer is needed"),
    ],
)
def test_servers_that_are_no_cluster_for_us(
    status: int, body: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with (
        serve(status, body) as (address, _),
        pytest.raises(InputError, match=f"^--address {address}: {message}"),
    ):
        Jobs(address)


def test_addresses_where_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        message = rf"^--address {address}: no Ray dashboard answers \(Connection refused\)"
        with pytest.raises(InputError, match=message):
            probe(address)
    for address in ("head:8265", "ray://head:10001", "http://"):
        with pytest.raises(InputError, match=f"^--address {address}: give the dashboard's"):
            probe(address)


def test_the_token_is_sent_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(file))
    with pytest.raises(InputError, match=f"^RAY_AUTH_MODE is token, but {file}: No such file"):
        authorization()
    file.write_text("canary-token\n")
    with (
        serve(403, "") as (address, seen),
        pytest.raises(InputError, match="the cluster refused the token") as told,
    ):
        probe(address)
    assert seen == ["Bearer canary-token"]
    assert "canary" not in str(told.value)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another")
    assert authorization() == {"Authorization": "Bearer another"}


def test_exit_codes_are_the_jobs_own() -> None:
    assert exit_code(Details("x", "SUCCEEDED", 0)) == 0
    assert exit_code(Details("x", "FAILED", 2)) == 2
    assert exit_code(Details("x", "FAILED", None)) == 1
    assert exit_code(Details("x", "FAILED", -9)) == 1
    assert exit_code(Details("x", "STOPPED", -15)) == 143


class YoungCluster:
    """Stands for Ray's client: no job is taken before the third try."""

    def __init__(self, refusal: str) -> None:
        self.refusal, self.asked = refusal, 0

    def submit_job(self, **arguments: str) -> str:
        self.asked += 1
        if self.asked < 3:
            raise RuntimeError(f"Request failed with status code 500: {self.refusal}.")
        return arguments["submission_id"]


def test_a_cluster_that_has_just_started_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.commands.submission.client.POLL", 0.01)
    jobs = Jobs.__new__(Jobs)
    jobs.address, jobs._client = "http://head:8265", YoungCluster("No available agent to submit")
    assert jobs.submit(submission_id="qnn-a") == "qnn-a"
    jobs._client = YoungCluster("Traceback")
    with pytest.raises(InputError, match=r"--address http://head:8265: .*500: Traceback"):
        jobs.submit(submission_id="qnn-a")
    monkeypatch.setattr("pipeline.commands.submission.client.START_SECONDS", 0.0)
    jobs._client = YoungCluster("No available agent to submit")
    with pytest.raises(InputError, match=r"no node takes jobs; .*--dashboard-agent-listen-port"):
        jobs.submit(submission_id="qnn-a")


def test_the_id_of_a_name_in_any_script_is_plain(config: Path) -> None:
    found = [load_config(config, [f"name={name}"]) for name in ("Kündigung", "Kàndigung", "解約")]
    ids = [submission_id(resolved, OUT, None) for resolved in found]
    assert [one[: -len(one.rpartition("-")[2])] for one in ids] == ["qnn-K-ndigung-"] * 2 + [
        "qnn---"
    ]
    assert len(set(ids)) == 3
    assert all(one.isascii() for one in ids)
