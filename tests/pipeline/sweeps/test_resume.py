"""What a rerun believes of a folder: the config, the finished paths, and nothing damaged."""

import logging
import shutil
from pathlib import Path

import pytest

from pipeline.configuration.reading import SweepConfig, dump_config, parse_config
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import write_lost, write_results
from pipeline.sweeps.driver import SweepOptions, SweepOutcome, run_sweep
from pipeline.sweeps.resume import claim, completed_units
from qnn.errors import InputError
from tests.pipeline.small import rows_of, small_config

INLINE = SweepOptions(inline=True)


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its figures take longer than the sweep and are tested elsewhere."""
    monkeypatch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepOutcome, Path]:
    home = tmp_path_factory.mktemp("finished")
    config = small_config(home, beta={"fractions": [0.3]}, widths=[4])
    return run_sweep(config, str(home / "run"), INLINE), home


@pytest.fixture
def swept(
    finished: tuple[SweepOutcome, Path], tmp_path: Path
) -> tuple[SweepOutcome, SweepConfig, RunFolder]:
    """A copy of a finished run, its outcome, and the config to run again."""
    outcome, home = finished
    shutil.copytree(home / "run", tmp_path / "run")
    shutil.copy(home / "small.csv", tmp_path)
    config = parse_config((home / "run" / "sweep.yaml").read_text(), "sweep.yaml")
    return outcome, config, RunFolder.open(tmp_path / "run")


def again(config: SweepConfig, folder: RunFolder) -> SweepOutcome:
    return run_sweep(config, folder.location, INLINE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": [0, 1, 2]}, r"seeds is \[0, 1\] there and \[0, 1, 2\] here"),
        ({"beta": {"values": [1.0]}}, r"beta\.fractions is \[0\.3, 0\.05\] there and null here"),
        ({"relaxation": {"tol": 1e-5}}, r"relaxation\.tol is 0\.0001 there and 1\.0e-05 here"),
        (
            {"shards": {"kind": "parts", "count": 2}},
            r"shards\.kind is kfold there and parts here",
        ),
    ],
)
def test_another_config_is_refused_by_the_key_that_differs(tmp_path, change, message):
    folder = RunFolder.open(tmp_path / "run")
    claim(folder, dump_config(small_config(tmp_path)))
    with pytest.raises(InputError, match=message) as caught:
        claim(folder, dump_config(small_config(tmp_path, **change)))
    assert "\n" not in str(caught.value)
    assert "give another --out" in str(caught.value)


def test_how_a_sweep_is_run_and_tracked_may_change(tmp_path):
    folder = RunFolder.open(tmp_path / "run")
    claim(folder, dump_config(small_config(tmp_path)))
    changed = small_config(tmp_path, resources={"cpus_per_task": 2}, tracking={"top": 1})
    claim(folder, dump_config(changed))
    assert folder.read("sweep.yaml").decode() == dump_config(changed)


def test_an_unreadable_config_is_not_overwritten(tmp_path):
    folder = RunFolder.open(tmp_path / "run")
    folder.write("sweep.yaml", b"name: [")
    with pytest.raises(InputError, match=r"sweep\.yaml: cannot be read .*give another --out"):
        claim(folder, dump_config(small_config(tmp_path)))
    assert folder.read("sweep.yaml") == b"name: ["


def test_a_finished_sweep_computes_nothing_again(swept, monkeypatch):
    def fail(*args: object, **options: object) -> None:
        raise AssertionError("computed again")

    outcome, config, folder = swept
    before = {file: folder.read(file) for file in folder.files() if file != "report.html"}
    monkeypatch.setattr("pipeline.sweeps.worker.path.solve", fail)
    second = again(config, folder)
    assert second.exit_code == 0
    assert second.reused_paths == 3
    assert second.champion == outcome.champion
    assert {f: folder.read(f) for f in folder.files() if f != "report.html"} == before


@pytest.mark.parametrize("kind", ["results", "certificates", "networks", "data"])
@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_damaged_files_are_quarantined_and_their_paths_computed_again(
    swept, tmp_path, caplog, kind, damage
):
    _, config, folder = swept
    before = rows_of(folder.location)
    name = folder.files(kind)[0]
    file = tmp_path / "run" / name
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(content[: len(content) * 2 // 3])
    else:
        middle = len(content) // 2 if kind != "results" else content.index(b"refined")
        flipped = bytearray(content)
        flipped[middle] ^= 4
        file.write_bytes(flipped)
    with caplog.at_level(logging.WARNING):
        outcome = again(config, folder)
    # The first file may belong to the refit, which is no path of the plan.
    assert outcome.reused_paths in (2, 3)
    assert rows_of(folder.location).equals(before)
    assert file.read_bytes() == content or kind == "results"
    assert (f"kept as quarantine/{name}" in caplog.text) == (damage != "gone")
    assert folder.exists(f"quarantine/{name}") == (damage != "gone")


def test_paths_with_failed_rows_count_as_finished_unless_they_are_to_be_retried(tmp_path):
    folder = RunFolder.open(tmp_path / "run")
    write_results(folder, "a" * 16, [{"path": "a" * 16, "status": "failed", "error": "x"}])
    write_lost(folder, "b" * 16, [{"path": "b" * 16, "status": "failed", "error": "x"}])
    assert completed_units(folder) == {"a" * 16}
    assert folder.files("results") == [f"results/{'a' * 16}.parquet"]
    assert completed_units(folder, retry_failed=True) == set()


def test_other_data_under_the_same_config_are_refused(swept, tmp_path):
    _, config, folder = swept
    file = tmp_path / "small.csv"
    file.write_text(file.read_text() + "1,2,3,4,yes\n")
    data = config.data.model_copy(update={"source": str(file)})
    config = config.model_copy(update={"data": data})
    folder.write("sweep.yaml", dump_config(config).encode())
    with pytest.raises(InputError, match="results of other data under the same config"):
        again(config, folder)


def test_the_row_of_an_earlier_choice_is_dropped(swept):
    outcome, config, folder = swept
    stale = {**outcome.champion.columns, "path": "f" * 16, "trial": "f" * 16}
    write_results(folder, "f" * 16, [stale])
    assert again(config, folder).champion == outcome.champion
    assert "f" * 16 not in rows_of(folder.location)["path"].to_pylist()
