import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.reports import origin
from pipeline.reports.origin import Origin, add_session, code_version, duration, origin_of
from pipeline.reports.page import ReportInput, render_report
from pipeline.results.folder import RunFolder
from pipeline.sweeps.driver import SweepOptions, run_sweep
from pipeline.tracking import tracker
from tests.pipeline.small import small_config
from tests.pipeline.synthetic import results_table

TABLE = results_table(seeds=1, betas=2, shards=1)


def folder_in(where: Path) -> RunFolder:
    folder = RunFolder.open(where)
    folder.create()
    return folder


def test_the_commit_is_that_of_this_checkout() -> None:
    said = code_version()
    assert re.fullmatch(r"[0-9a-f]{7,}(-dirty)?", said["commit"])
    assert said["version"]


def test_a_package_within_another_checkout_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "site" / "pipeline" / "reports" / "origin.py"
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(origin, "__file__", str(place))
    assert "commit" not in dict(origin._code_version.__wrapped__())


def test_sittings_add_up(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    first = datetime(2026, 2, 3, 22, 58, tzinfo=UTC)
    add_session(folder, first, 75.0, 3)
    add_session(folder, first.replace(hour=23), 250.0, 1)
    said = origin_of(folder, TABLE)
    assert said.date == "4 February 2026, 00:02 UTC"
    assert said.wall_time == "5 min 25 s in 2 sittings"
    assert said.code.startswith("qnn-sdp 0")
    assert f"commit {code_version()['commit']}" in said.code
    assert said.versions == "qnn-sdp 0.1.0, numpy 2.4.6"


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[1]", b'[{"started": 1, "seconds": 2}]',
                                     b'[{"started": "yesterday", "seconds": "long"}]'])  # fmt: skip
def test_damaged_notes_are_no_notes(tmp_path: Path, content: bytes) -> None:
    folder = folder_in(tmp_path)
    folder.write(origin.SESSIONS_FILE, content)
    folder.write(origin.TRACKING_FILE, content)
    said = origin_of(folder, TABLE)
    assert said == replace(Origin(), computing_time=said.computing_time, versions=said.versions)


def test_a_folder_of_an_earlier_version_has_the_age_of_its_results(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    folder.write_table("results/a.parquet", TABLE)
    said = origin_of(folder, TABLE)
    assert said.date.endswith(" UTC")
    assert said.wall_time == said.code == ""
    assert said.files == (("results, a row a network", "results/"),)


def test_a_run_on_a_server_and_one_in_the_folder(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    noted = {"uri": "http://mlflow:5000/", "experiment_id": "7", "run_id": "abc", "key": "k"}
    folder.write(origin.TRACKING_FILE, json.dumps(noted).encode())
    assert origin_of(folder, TABLE).tracked == "http://mlflow:5000/#/experiments/7/runs/abc"
    folder.write("mlflow.db", b"")
    noted["uri"] = "sqlite:////elsewhere/run/mlflow.db"
    folder.write(origin.TRACKING_FILE, json.dumps(noted).encode())
    said = origin_of(folder, TABLE)
    # Where the folder was copied to, its database is beside the page.
    assert said.command == "mlflow ui --backend-store-uri sqlite:///mlflow.db"
    assert said.local == "http://127.0.0.1:5000/#/experiments/7/runs/abc"
    assert said.tracked == ""


def test_no_secret_of_an_address_reaches_the_page(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    noted = {"uri": "javascript:alert(1)", "experiment_id": "7", "run_id": "abc"}
    folder.write(origin.TRACKING_FILE, json.dumps(noted).encode())
    page = render_report(ReportInput(TABLE, origin=origin_of(folder, TABLE)))
    assert 'href="javascript' not in page


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.84, "0.84 s"), (9.0, "9 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (11_220.0, "3 h 7 min")],
)
def test_times_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_sweep_says_when_by_what_and_where_it_is_tracked(tmp_path: Path) -> None:
    config = small_config(tmp_path, seeds=[0], widths=[2], beta={"fractions": [0.2]})
    out, options = tmp_path / "run", SweepOptions(inline=True)
    run_sweep(config, str(out), options, start_tracking=tracker.start)
    noted = json.loads((out / "sessions.json").read_text())
    assert len(noted) == 1
    assert noted[0]["seconds"] > 0
    page = (out / "report.html").read_text()
    run_id = json.loads((out / "tracking.json").read_text())["run_id"]
    assert f"/runs/{run_id}" in page
    assert f"commit {code_version()['commit']}" in page
    for name in ("sweep.yaml", "results/", "networks/", "certificates/"):
        assert f'<a href="{name}">' in page
        assert (out / name).exists()
    for link in re.findall(r'href="((?:networks|certificates)/[^"]+)"', page):
        assert (out / link).is_file()
    # Nothing is left to do: no further sitting.
    run_sweep(config, str(out), options)
    assert json.loads((out / "sessions.json").read_text()) == noted
