"""Old runs go, and nothing that the champion, `previous` or a person's alias needs."""

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.reports.figures import plots
from pipeline.results.folder import RunFolder
from pipeline.results.verification import verify_paths
from pipeline.retraining.retention import prune
from pipeline.retraining.run import retrain
from pipeline.sweeps.driver import SweepOptions
from pipeline.tracking.aliases import CHAMPION, PREVIOUS, aliases
from pipeline.tracking.store import open_store
from tests.pipeline.retraining.arriving import arrive, config, home_with_store


def test_nights_with_room_for_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(plots, "FIGURES", ())
    monkeypatch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
    monkeypatch.setattr("pipeline.tracking.tracker.report_of", lambda folder, trial: b"")
    data, home = tmp_path / "data", home_with_store(tmp_path / "home")
    runs: list[str] = []

    def night(day: int, **settings: Any) -> set[int]:
        """The numbers of the nights whose runs are there after this one."""
        arrive(data, f"day-{day}.parquet", seed=day)
        one = config(data, retrain={"tolerance": 0.5, "keep_runs": 1, **settings})
        done = retrain(one, str(home), SweepOptions(inline=True))
        assert done.decision.run is not None
        runs.append(done.decision.run)
        there = {f"runs/{entry.name}" for entry in (home / "runs").iterdir()}
        assert there <= set(runs)
        return {number for number, run in enumerate(runs, 1) if run in there}

    arrive(data, "day-0.parquet", seed=9)
    assert night(1) == {1}
    assert night(2) == {1, 2}
    assert night(3, max_bytes=10) == {1, 2, 3}
    assert night(4) == {2, 4}
    client = open_store(config(data), RunFolder.open(home)).client
    assert aliases(client, "arriving") == {CHAMPION: "4", PREVIOUS: "2"}
    assert all(check.ok for check in verify_paths([str(home / run) for run in runs[1::2]]))


class Registry:
    """Versions 1 to 9 of a model, each with the sweep whose key is its number."""

    def __init__(self, **pointed: str) -> None:
        self.aliases, self.tags = pointed, {}

    def get_registered_model(self, name: str) -> "Registry":
        return self

    def get_model_version(self, name: str, number: str) -> "Registry":
        found = Registry()
        found.tags = {"qnn.sweep": f"key {number}"}
        return found


class Store:
    def __init__(self, client: Any) -> None:
        self.client = client


def nine_runs(where: Path) -> RunFolder:
    home = RunFolder.open(where)
    for number in range(1, 10):
        for file, content in (
            ("results/x.parquet", "x"),
            ("tracking.json", f'{{"key": "key {number}"}}'),
        ):
            home.write(f"runs/night {number}%/{file}", content.encode())
            os.utime(where / f"runs/night {number}%" / file, (number, number))
    return home


def left(home: RunFolder) -> set[int]:
    return {int(run.split()[1].rstrip("%")) for run in home.newest("runs")}


@pytest.mark.parametrize("uri", [False, True])
def test_the_newest_and_those_with_an_alias_stay(tmp_path: Path, uri: bool) -> None:
    nine_runs(tmp_path)
    home = RunFolder.open(tmp_path.as_uri() if uri else tmp_path)
    store: Any = Store(Registry(champion="4", previous="2", audited="1"))
    gone = prune(home, store, "m", 3, {"runs/night 3%", "runs/night 9%"})
    assert sorted(gone) == ["runs/night 5%", "runs/night 6%"]
    assert left(home) == {1, 2, 3, 4, 7, 8, 9}
    assert not (tmp_path / "runs" / "night 5%").exists()


def test_where_the_aliases_are_unknown_all_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home, store = nine_runs(tmp_path), Store(object())
    with caplog.at_level(logging.WARNING):
        unknown: Any = store
        assert prune(home, unknown, "m", 3, set()) == []
    assert "old runs stay: AttributeError" in caplog.text
    assert left(home) == set(range(1, 10))
