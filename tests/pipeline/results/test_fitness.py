"""A network that has learned nothing is said to be one, and is not promoted."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from pipeline.commands.terminal import print_outcome
from pipeline.configuration.reading import parse_config
from pipeline.configuration.yaml_text import dump_yaml
from pipeline.plans.plan import plan_of
from pipeline.results import summary
from pipeline.results.fitness import reasons_against, reasons_against_choice
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.results.measures import HeldOutMeasures, Measures, PartMeasures
from pipeline.results.record import NetworkRow, rows_of
from pipeline.results.selection import choose
from pipeline.results.verification import verify_paths
from pipeline.sweeps.driver import SweepOptions, run_sweep
from pipeline.tracking import tracker
from pipeline.tracking.store import open_store
from qnn.errors import InputError
from tests.pipeline.small import small_config
from tests.pipeline.tracked import run_small


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


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """Of a small sweep whose networks learn and whose parts have both classes."""
    home = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
        return read_results(run_small(small_config(home), home / "run"))


def said_of(row: NetworkRow, **confusions: tuple[int, ...]) -> list[str]:
    kinds = {"train": PartMeasures, "validation": HeldOutMeasures, "test": HeldOutMeasures}
    parts = {
        name: kinds[name](rows=sum(counts), confusion=counts) for name, counts in confusions.items()
    }
    return reasons_against(replace(row, measures=Measures(**parts)))


def test_what_speaks_against_a_network(results: pa.Table) -> None:
    row = rows_of(results)[0]
    assert reasons_against(row) == []
    assert said_of(row, train=(5, 1, 2, 4), test=(6, 0, 2, 0)) == []
    constant = "it predicts one class for every row"
    assert said_of(row, train=(8, 0, 2, 0), test=(0, 3, 0, 3)) == [constant]
    assert said_of(row, train=(8, 0, 2, 0), test=(6, 0, 0, 0)) == [
        constant, "its 6 test rows lack a class",
    ]  # fmt: skip
    assert said_of(row, train=(0, 0, 1, 9), validation=(3, 1, 0, 0)) == [
        "its 10 training rows lack a class", "its 4 validation rows lack a class",
    ]  # fmt: skip
    assert said_of(row) == []


def test_shards_whose_validation_lacks_a_class_speak_against_the_choice(results: pa.Table) -> None:
    choice = choose(results, "fractions", "classification")
    champion = summary.champion_of(summary.frame(results))
    assert choice is not None
    assert champion is not None
    assert reasons_against_choice(results, choice, champion.row) == []
    at = results.schema.get_field_index("validation_confusion")
    told = zip(results["shard"].to_pylist(), results[at].to_pylist(), strict=True)
    counts = [[5, 1, 0, 0] if shard == "fold-01" else known for shard, known in told]
    column = pa.array(counts, results.schema.field(at).type)
    lacking = results.set_column(at, results.schema.field(at), column)
    expected = ["the validation rows of fold-01 lack a class"]
    assert reasons_against_choice(lacking, choice, champion.row) == expected
    assert reasons_against_choice(lacking, None, None) == []


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
