"""A network that has learned nothing is said to be one, and is not promoted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from pipeline.commands.terminal import print_outcome
from pipeline.configuration.reading import parse_config
from pipeline.configuration.yaml_text import dump_yaml
from pipeline.plans.plan import plan_of
from pipeline.results.folder import RunFolder
from pipeline.results.verification import verify_paths
from pipeline.sweeps.driver import SweepOptions, run_sweep
from pipeline.tracking import tracker
from pipeline.tracking.store import open_store
from qnn.errors import InputError


def skewed(folder: Path, rows: int, rare: int, **changes: Any) -> Any:
    """A sweep on two classes, `rare` of its rows of the positive one."""
    rng = np.random.default_rng(4)
    X = rng.standard_normal((rows, 3))
    labels = np.array(["no"] * rows, dtype=object)
    labels[rng.permutation(rows)[:rare]] = "yes"
    X[labels == "yes"] += 2.5
    lines = [",".join([*(f"{v:.4f}" for v in x), t]) for x, t in zip(X, labels, strict=True)]
    (folder / "skewed.csv").write_text("a,b,c,target\n" + "\n".join(lines) + "\n")
    sweep = {
        "name": "skewed",
        "data": {"source": str(folder / "skewed.csv"), "positive": "yes"},
        "shards": {"kind": "kfold", "count": 2},
        "beta": {"fractions": [0.3, 0.02]},
        "seeds": [0],
        "widths": [4],
        "rounding": ["refined"],
    }
    return parse_config(dump_yaml(sweep | changes), "skewed.yaml")


@pytest.fixture(autouse=True)
def _no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)


def test_a_champion_of_one_class_is_not_promoted_and_that_is_said(tmp_path: Path) -> None:
    config = skewed(tmp_path, rows=202, rare=2)
    notes = plan_of(config).warnings
    assert any("the test has no row of class 'yes'" in note for note in notes)
    out = str(tmp_path / "run")
    outcome = run_sweep(config, out, SweepOptions(inline=True), start_tracking=tracker.start)
    assert outcome.tracking_error is None
    assert outcome.champion.fit.test_accuracy == 1.0
    assert outcome.champion.measures.test.majority_share == 1.0
    assert "test rows lack a class" in "; ".join(outcome.cautions)
    client = open_store(config, RunFolder.open(out)).client
    (version,) = client.search_model_versions("name = 'skewed'")
    assert "lack a class" in version.tags["qnn.not_promoted"]
    assert version.description.startswith("**Not promoted:")
    assert client.get_registered_model("skewed").aliases == {}
    console = Console(record=True, width=120)
    print_outcome(outcome, console)
    assert "not promoted: its 40 test rows lack a class" in console.export_text()


def test_metric_chooses_and_is_recorded(tmp_path: Path) -> None:
    """The setting that guesses the majority has the better accuracy, the other learns."""
    choices = {}
    for metric in ("accuracy", "balanced_accuracy", "log_loss"):
        config = skewed(tmp_path, rows=160, rare=30, metric=metric)
        out = str(tmp_path / "run")
        outcome = run_sweep(config, f"{out}-{metric}", SweepOptions(inline=True))
        assert outcome.cautions == ()
        assert outcome.choice.metric == f"validation_{metric}"
        frame = outcome.results.to_pandas()
        search = frame[frame["shard"] != "all"]
        means = search.groupby("beta_fraction")[f"validation_{metric}"].mean()
        best = means.idxmin() if metric == "log_loss" else means.idxmax()
        assert outcome.choice.beta.written == best
        choices[metric] = outcome.choice.mean
        assert f"by mean validation {metric.replace('_', ' ')}" in _printed(outcome)
    assert len(set(choices.values())) == 3
    assert [one.line for one in verify_paths([f"{out}-log_loss"]) if not one.ok] == []


def _printed(outcome: Any) -> str:
    console = Console(record=True, width=160)
    print_outcome(outcome, console)
    return console.export_text()


def test_a_metric_of_another_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="metric rmse does not belong to task classification"):
        skewed(tmp_path, 40, 9, metric="rmse")
    with pytest.raises(InputError, match="metric: must be 'accuracy'"):
        skewed(tmp_path, 40, 9, metric="acc")
