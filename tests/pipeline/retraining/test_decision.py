"""Whether there is anything to do, and which partitions then train and judge."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.commands.retraining import explain
from pipeline.configuration.retraining import RetrainConfig
from pipeline.results.folder import RunFolder
from pipeline.retraining.decision import look
from pipeline.retraining.state import STATE_FILE, State, read_state, settings_digest, write_state
from pipeline.retraining.window import HOLD_OUT, Selection, build, run_config, select, write_window
from pipeline.sweeps.driver import prepare
from qnn.errors import InputError
from tests.pipeline.retraining.arriving import arrive, config


def remember(home: RunFolder, data: Path, **changes: Any) -> None:
    """The state as a finished run leaves it."""
    settings = config(data, **changes)
    partitions = {one.name: one.digest for one in look(settings, home).partitions}
    write_state(home, State(config=settings_digest(settings), partitions=partitions, run="runs/x",
                            verdict="promoted", reason="", finished="then"))  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> RunFolder:
    return RunFolder.open(tmp_path / "home")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for k in (1, 2, 3):
        arrive(tmp_path / "data", f"{k}.parquet", seed=k, count=10 * k)
    return tmp_path / "data"


def test_content_decides_and_nothing_else(home: RunFolder, data: Path) -> None:
    assert look(config(data), home).reason == "first run, on 3 partitions"
    remember(home, data)
    for file in data.iterdir():
        os.utime(file)
    (data / "2.parquet").rename(data / "2b.parquet")
    assert look(config(data), home).reason == (
        "nothing new since the last run (promoted then): 3 partitions"
    )
    (data / "1.parquet").unlink()
    assert look(config(data), home).reason.endswith("2 partitions; 1 partition gone")
    assert look(config(data), home).selection is None
    arrive(data, "3.parquet", seed=9)
    changed = look(config(data), home)
    assert changed.new == ("3.parquet",)
    assert changed.reason.startswith("1 of 2 partitions new since the last run (promoted then)")


def test_bytes_that_come_twice_do_not_train_and_judge_at_once(home: RunFolder, data: Path) -> None:
    (data / "3b.parquet").write_bytes((data / "3.parquet").read_bytes())
    twice = look(config(data), home)
    assert twice.selection == Selection(("1.parquet", "2.parquet"), ("3.parquet",))
    assert twice.left_out == ("3b.parquet is left out: the bytes of 3.parquet",)
    assert twice.reason == "first run, on 3 partitions"
    assert explain(config(data), twice)[1] == twice.left_out[0]
    (data / "3b.parquet").unlink()
    once = look(config(data), home)
    assert (once.selection, once.run, once.left_out) == (twice.selection, twice.run, ())
    # A file of earlier that comes again is no new one to judge.
    remember(home, data)
    (data / "4.parquet").write_bytes((data / "1.parquet").read_bytes())
    assert look(config(data), home).selection is None
    arrive(data, "5.parquet", seed=5)
    later = look(config(data), home)
    assert later.selection is not None
    assert later.new == later.selection.hold_out == ("5.parquet",)


def test_another_registered_model_is_a_reason_to_train_again(home: RunFolder, data: Path) -> None:
    remember(home, data)
    other = config(data, tracking={"registered_model": "other"})
    # A state of before the model's name was kept.
    assert look(other, home).selection is None
    state = read_state(home)
    assert state is not None
    write_state(home, state.model_copy(update={"model": "arriving"}))
    assert look(config(data), home).selection is None
    assert look(other, home).config_changed
    assert look(other, home).selection is not None


def test_what_a_result_depends_on_is_a_reason_to_train_again(home: RunFolder, data: Path) -> None:
    remember(home, data)
    free = {"retrain": {"tolerance": 0.2, "max_bytes": 9}, "tracking": {"top": 2},
            "resources": {"cpus_per_task": 2}}  # fmt: skip
    assert look(config(data, **free), home).selection is None
    for changes in ({"seeds": [1]}, {"retrain": {"window": {"kind": "last", "partitions": 1}}}):
        decision = look(config(data, **changes), home)
        assert decision.config_changed
        assert decision.run is not None
        assert decision.reason.startswith("the configuration changed")


def test_a_runs_folder_is_named_after_what_it_is_made_of(home: RunFolder, data: Path) -> None:
    first = look(config(data), home).run
    assert first == look(config(data), home).run
    assert first is not None
    assert first.startswith("runs/3-")
    arrive(data, "1.parquet", seed=8)
    assert look(config(data), home).run != first


def test_a_damaged_state_is_no_first_run(home: RunFolder, data: Path) -> None:
    home.create()
    home.write(STATE_FILE, b"{}")
    with pytest.raises(InputError, match=r"retrain\.json: is damaged; move it away"):
        read_state(home)


NAMES = ("1", "2", "3", "4")


@pytest.mark.parametrize(
    ("settings", "training", "hold_out"),
    [
        ({}, ("1", "2", "3"), ("4",)),
        ({"hold_out": {"kind": "freshest", "partitions": 2}}, ("1", "2"), ("3", "4")),
        ({"window": {"kind": "last", "partitions": 2}}, ("2", "3"), ("4",)),
        ({"hold_out": {"kind": "fraction", "fraction": 0.5}}, NAMES, ("3", "4")),
    ],
)
def test_selection(settings: Any, training: Any, hold_out: Any) -> None:
    chosen = select(NAMES, ("3", "4"), RetrainConfig.model_validate(settings, strict=False))
    assert (chosen.training, chosen.hold_out) == (training, hold_out)


def test_judges_without_rows_are_named(data: Path) -> None:
    arrive(data, "9.parquet", count=0)
    names = [one.name for one in look(config(data), RunFolder.open(data.parent / "x")).partitions]
    chosen = select(names, ["9.parquet"], RetrainConfig())
    with pytest.raises(
        InputError, match=r"should judge \(9\.parquet\) have no rows; fill or remove"
    ):
        build(config(data), chosen, RetrainConfig())


def test_too_few_partitions_are_one_line() -> None:
    with pytest.raises(
        InputError, match=r"1 partition, and .* nothing is left to train on"
    ) as told:
        select(["1"], ["1"], RetrainConfig())
    assert "\n" not in str(told.value)


def test_a_rolling_window_holds_the_newest_rows(home: RunFolder, data: Path) -> None:
    rolling = config(data, retrain={"window": {"kind": "rolling", "rows": 25}})
    decision = look(rolling, home)
    assert decision.selection is not None
    assert rolling.retrain is not None
    window = build(rolling, decision.selection, rolling.retrain)
    assert (window.training_rows, window.hold_out_rows) == (25, 30)
    whole = build(config(data), decision.selection, RetrainConfig())
    assert window.table.equals(whole.table.slice(5))


def test_a_fraction_of_the_new_rows_judges_stratified(home: RunFolder, data: Path) -> None:
    remember(home, data)
    arrive(data, "4.parquet", seed=4, count=200)
    changes: dict[str, Any] = {"retrain": {"hold_out": {"kind": "fraction", "fraction": 0.25}}}
    settings = config(data, **changes)
    decision = look(settings, home)
    assert decision.selection is not None
    assert settings.retrain is not None
    window = build(settings, decision.selection, settings.retrain)
    assert (window.training_rows, window.hold_out_rows) == (210, 50)
    marks = window.table[HOLD_OUT].to_numpy()
    assert not marks[:60].any()
    yes = np.array(window.table["target"].to_pylist()) == "yes"
    assert abs(yes[60:].sum() / 4 - yes[marks].sum()) <= 1
    assert window.table.equals(build(settings, decision.selection, settings.retrain).table)


def test_the_sweep_trains_on_the_window_and_tests_on_the_hold_out(
    home: RunFolder, data: Path
) -> None:
    decision = look(config(data), home)
    assert decision.selection is not None
    window = build(config(data), decision.selection, RetrainConfig())
    write_window(config(data), window, home)
    prepared = prepare(run_config(config(data), home))
    assert prepared.plan.dataset == "data"
    assert list(prepared.table.columns) == ["a", "b", "c", "d"]
    assert prepared.split.test_rows.tolist() == list(range(30, 60))
    assert prepared.split.development_rows.tolist() == list(range(30))


def test_a_hold_out_of_the_sweeps_own_is_refused(home: RunFolder, data: Path) -> None:
    with pytest.raises(InputError, match="retrain makes its own hold-out"):
        look(config(data, test={"column": "a"}), home)
