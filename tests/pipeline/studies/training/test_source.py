"""`qnn verify RUN` measures again what was held out, where the sweep's source is what it was."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.plans.studies import study_at
from pipeline.results.folder import CONFIG_FILE, RunFolder
from pipeline.results.verification import Check
from pipeline.results.verification.manifest import MANIFEST, Manifest
from pipeline.sweeps.driver import SweepOptions, run_sweep
from qnn.networks.quantized import QuantizedNetwork
from tests.pipeline.classes import classes_config
from tests.pipeline.small import TINY, small_config
from tests.pipeline.targets import targets_config

RUNS = Path(__file__).parents[3] / "data" / "runs"


def made(home: Path, config: Any) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
        outcome = run_sweep(config, str(home / "run"), SweepOptions(inline=True))
    assert outcome.exit_code == 0
    return home / "run"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("source")
    made(place, small_config(place, **TINY))
    return place


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("classes")
    return made(place, classes_config(place))


@pytest.fixture
def run(home: Path, tmp_path: Path) -> RunFolder:
    shutil.copytree(home / "run", tmp_path / "run")
    return RunFolder.open(tmp_path / "run")


def verified(run: RunFolder | Path) -> tuple[list[Check], str]:
    """What is wrong, and what is said of the rows held out."""
    location = run.location if isinstance(run, RunFolder) else str(run)
    checks = list(study_at(location).verify(location))
    (told,) = [check.text for check in checks if check.file == CONFIG_FILE and check.ok]
    return [check for check in checks if not check.ok], told


def sign_anew(run: RunFolder) -> None:
    units = {}
    for file in run.files("results"):
        units[file[len("results/") : -len(".parquet")]] = run.read_table(file).num_rows
    Manifest.of(run, units).write(run)


def edit_row(run: RunFolder, change: Callable[[dict[str, Any]], None]) -> str:
    """Change a row of a fold, sign the folder anew, and return the row's network."""
    for file in run.files("results"):
        table = run.read_table(file)
        rows = table.to_pylist()
        if rows[0]["shard"] == "fold-00":
            change(rows[0])
            run.write_table(file, pa.Table.from_pylist(rows, schema=table.schema))
            sign_anew(run)
            return str(rows[0]["network"])
    raise AssertionError("no row of the fold")


def edit_source(run: RunFolder, source: str) -> None:
    text = run.read(CONFIG_FILE).decode()
    (line,) = [one for one in text.splitlines() if one.strip().startswith("source:")]
    run.write(CONFIG_FILE, text.replace(line, f"  source: {source}").encode())
    sign_anew(run)


def test_an_untouched_run_is_measured_again_whole(run):
    bad, told = verified(run)
    assert bad == []
    assert told == "validation and test metrics measured again on its source, 3 networks"
    location = run.location
    (manifest,) = [one for one in study_at(location).verify(location) if one.file == MANIFEST]
    assert "metrics" not in manifest.text.removeprefix("13 files, 3 rows, as the run left them")


@pytest.mark.parametrize(
    "column",
    ["test_accuracy", "test_roc_auc", "test_log_loss", "test_brier", "test_rows",
     "validation_accuracy", "test_accuracy_low"],
)  # fmt: skip
def test_an_edited_metric_is_refused_though_signed(run, column):
    def nudge(row: dict[str, Any]) -> None:
        assert row[column] is not None
        row[column] = row[column] + 1 if column.endswith("rows") else row[column] * (1 - 1e-4)

    network = edit_row(run, nudge)
    bad, told = verified(run)
    assert [check.file for check in bad] == [network]
    assert f"its row says {column} " in bad[0].text
    assert told.endswith("2 networks")


@pytest.mark.parametrize("column", ["test_accuracy", "validation_log_loss", "test_brier"])
def test_a_metric_left_out_is_refused_though_signed(run, column):
    network = edit_row(run, lambda row: row.update({column: None}))
    assert [check.file for check in verified(run)[0]] == [network]


def test_counts_of_probabilities_are_made_again(run):
    def moved(row: dict[str, Any]) -> None:
        counts = list(row["test_reliability"])
        used = counts.index(max(counts))
        row["test_reliability"] = [count - (k == used) for k, count in enumerate(counts)]

    network = edit_row(run, moved)
    (bad,) = verified(run)[0]
    assert (bad.file, bad.text.split(" [")[0]) == (network, "its row says test_reliability")


def test_rows_of_before_there_was_a_brier_score_are_right_without(run):
    youngest = [f"{part}_{name}" for part in ("train", "validation", "test")
                for name in ("brier", "brier_low", "brier_high", "reliability")]  # fmt: skip
    edit_row(run, lambda row: row.update({key: None for key in youngest if key in row}))
    assert verified(run)[0] == []


@pytest.mark.parametrize("edit", ["untouched", "moved", "of before", "without its score"])
def test_of_three_classes_probabilities_of_the_predicted_one_are_counted(classes, edit, tmp_path):
    shutil.copytree(classes, tmp_path / "run")
    run = RunFolder.open(tmp_path / "run")
    tables = {file: run.read_table(file) for file in run.files("results")}
    # What a join says; a class's own network tells two apart.
    file = next(file for file, table in tables.items()
                if len(table["test_confusion"][0].as_py()) == 9)  # fmt: skip
    rows = tables[file].to_pylist()
    for row in rows:
        counts = row["test_reliability"]
        assert sum(counts[::2]) == row["test_rows"]
        assert sum(counts[1::2]) == round(row["test_accuracy"] * row["test_rows"])
        if edit == "moved":
            counts[next(k for k in range(1, 20, 2) if counts[k])] -= 1
        elif edit == "of before":
            for part in ("train", "validation", "test"):
                row[f"{part}_reliability"] = None
        elif edit == "without its score":
            row["test_brier"] = row["test_reliability"] = None
    run.write_table(file, pa.Table.from_pylist(rows, schema=tables[file].schema))
    sign_anew(run)
    wrong = rows if edit in ("moved", "without its score") else []
    assert sorted(one.file for one in verified(run)[0]) == sorted(row["network"] for row in wrong)


def test_a_metric_of_rows_that_are_not_there_is_refused(run):
    for file in run.files("results"):
        table = run.read_table(file)
        rows = table.to_pylist()
        if rows[0]["shard"] == "all":
            assert rows[0]["validation_accuracy"] is None
            rows[0]["validation_accuracy"] = 0.9
            run.write_table(file, pa.Table.from_pylist(rows, schema=table.schema))
    sign_anew(run)
    (bad,) = verified(run)[0]
    assert bad.text == "its row has validation metrics, its source no validation rows"


def test_another_scaling_in_the_network_is_refused_though_signed(run):
    name = edit_row(run, lambda row: None)
    network = QuantizedNetwork.from_bytes(run.read(name), name)
    old = network.preprocessing
    assert old is not None
    new = replace(old, scales=(1.5 * old.scales[0], *old.scales[1:]))
    run.write(name, replace(network, preprocessing=new).to_bytes())
    sign_anew(run)
    (bad,) = verified(run)[0]
    assert bad.file == name
    assert "does not make its training matrix" in bad.text


def test_classes_swapped_in_the_network_are_refused_though_signed(run):
    name = edit_row(run, lambda row: None)
    network = QuantizedNetwork.from_bytes(run.read(name), name)
    old = network.preprocessing
    assert old is not None
    assert old.classes is not None
    swapped = replace(old, target=replace(old.target, classes=old.classes[::-1]))
    run.write(name, replace(network, preprocessing=swapped).to_bytes())
    sign_anew(run)
    (bad,) = verified(run)[0]
    assert bad.file == name


def test_a_moved_source_is_named_and_not_checked(run, tmp_path):
    gone = tmp_path / "gone.csv"
    edit_source(run, str(gone))
    bad, told = verified(run)
    assert bad == []
    assert told.startswith("validation and test metrics not checked: data.source: no such file")
    assert "gone.csv" in told


@pytest.mark.parametrize("place", ["first", "last", "one more"])
def test_a_changed_source_is_not_held_against_the_run(run, home, tmp_path, place):
    lines = (home / "small.csv").read_text().splitlines()
    if place == "one more":
        lines.append(lines[1])
    else:
        at = 1 if place == "first" else -1
        lines[at] = "0.5," + lines[at].partition(",")[2]
    (tmp_path / "changed.csv").write_text("\n".join(lines) + "\n")
    edit_source(run, str(tmp_path / "changed.csv"))
    bad, told = verified(run)
    assert bad == []
    assert told.startswith("validation and test metrics not checked: ")
    assert told.endswith("changed.csv or the sweep's setting is not what it was in the run")


def test_the_same_rows_in_another_place_are_the_same_source(run, home, tmp_path):
    shutil.copy(home / "small.csv", tmp_path / "elsewhere.csv")
    edit_source(run, str(tmp_path / "elsewhere.csv"))
    assert verified(run) == (
        [], "validation and test metrics measured again on its source, 3 networks"
    )  # fmt: skip


@pytest.mark.parametrize("source", ["s3://bucket/small.csv", "http://localhost:9/small.csv"])
def test_a_folder_from_elsewhere_sends_nobody_to_a_network(run, source, monkeypatch):
    monkeypatch.setattr("pipeline.studies.training.source.prepare", pytest.fail)
    edit_source(run, source)
    bad, told = verified(run)
    assert bad == []
    assert told == f"validation and test metrics not checked: {source} is not on this machine"


@pytest.mark.parametrize("content", [b"", b"name: [", b"\xff", None])
def test_without_a_readable_config_nothing_is_measured_again(run, content):
    if content is None:
        run.remove(CONFIG_FILE)
    else:
        run.write(CONFIG_FILE, content)
    sign_anew(run)
    checks = list(study_at(run.location).verify(run.location))
    (told,) = [check.text for check in checks if check.file == CONFIG_FILE]
    assert told == (
        "validation and test metrics not checked: "
        "no sweep.yaml that this version reads names their source"
    )


def test_an_embedded_set_is_read_again(tmp_path):
    data = {"source": "sklearn:iris"}
    run = made(tmp_path, small_config(tmp_path, data=data, **TINY))
    bad, told = verified(run)
    assert bad == []
    # Three classes and a join in each of three shards.
    assert told == "validation and test metrics measured again on its source, 12 networks"


@pytest.mark.parametrize("kind", ["classes", "targets", "regression"])
def test_outputs_and_quantities_are_measured_again(kind, tmp_path):
    if kind == "regression":
        config = small_config(tmp_path, **TINY, task="regression")
    else:
        config = (classes_config if kind == "classes" else targets_config)(tmp_path, **TINY)
    folder = RunFolder.open(made(tmp_path, config))
    bad, told = verified(folder)
    assert bad == []
    assert "measured again on its source" in told
    assert "not checked" not in told
    column = "test_accuracy" if kind == "classes" else "test_rmse"
    names = []
    for file in folder.files("results"):
        table = folder.read_table(file)
        rows = table.to_pylist()
        for row in rows:
            row[column] = row[column] * (1 - 1e-6) if row[column] else 1e-6
            names.append(row["network"])
        folder.write_table(file, pa.Table.from_pylist(rows, schema=table.schema))
    sign_anew(folder)
    assert sorted(check.file for check in verified(folder)[0]) == sorted(names)


@pytest.mark.parametrize("name", ["classes", "exact", "kinds", "plain", "targets"])
def test_an_earlier_folder_agrees_with_its_source(name, monkeypatch):
    monkeypatch.chdir(RUNS)
    bad, told = verified(RUNS / name)
    assert bad == []
    assert "measured again on its source" in told
    assert "not checked" not in told
    monkeypatch.chdir(RUNS.parent)
    bad, told = verified(RUNS / name)
    assert bad == []
    assert told.startswith("validation and test metrics not checked: data.source: no such file")
