"""A sweep on rows with noise: it trains on them, and `qnn verify` makes them again."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.configuration.reading import parse_config
from pipeline.configuration.yaml_text import dump_yaml, parse_yaml
from pipeline.results.folder import CONFIG_FILE, RunFolder
from pipeline.results.ledger import read_results
from pipeline.studies.training.prepared import prepare
from pipeline.sweeps.driver import SweepOptions, run_sweep
from qnn.errors import InputError
from tests.pipeline.classes import classes_config
from tests.pipeline.small import TINY, config_text, small_config
from tests.pipeline.studies.training.test_source import made, sign_anew, verified

NOISE: dict[str, Any] = {"deviation": 0.5, "copies": 2}


def test_networks_train_on_the_rows_with_noise_and_verify_from_the_source(tmp_path: Path) -> None:
    run = RunFolder.open(made(tmp_path, small_config(tmp_path, **TINY, noise=NOISE)))
    rows = read_results(run).to_pylist()
    assert {row["shard"]: row["n"] for row in rows} == {"fold-00": 72, "fold-01": 72, "all": 144}
    assert {row["train_rows"] for row in rows} == {72, 144}
    assert {row["test_rows"] for row in rows} == {12}
    bad, told = verified(run)
    assert bad == []
    assert told.endswith("measured again on its source, 3 networks")


@pytest.mark.parametrize("other", [{"deviation": 0.25}, {"seed": 1}, {"copies": 1}])
def test_a_setting_of_other_noise_is_not_that_of_the_run(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    run = RunFolder.open(made(tmp_path, small_config(tmp_path, **TINY, noise=NOISE)))
    tree = parse_yaml(run.read(CONFIG_FILE).decode(), "sweep")
    tree["noise"].update(other)
    run.write(CONFIG_FILE, dump_yaml(tree).encode())
    sign_anew(run)
    bad, told = verified(run)
    assert bad == []
    assert "not checked" in told
    assert "is not what it was in the run" in told


def test_classes_and_their_weights_follow(tmp_path: Path) -> None:
    config = classes_config(tmp_path, noise=NOISE, class_weight="balanced", **TINY)
    bad, told = verified(RunFolder.open(made(tmp_path, config)))
    assert bad == []
    assert "not checked" not in told


def test_ids_without_noise_stay_and_each_noise_has_its_own(tmp_path: Path) -> None:
    plain = prepare(small_config(tmp_path)).plan
    none = prepare(small_config(tmp_path, noise=None)).plan
    other = [
        prepare(small_config(tmp_path, noise={**NOISE, **change})).plan
        for change in ({}, {"seed": 1}, {"copies": 3}, {"deviation": 0.4})
    ]
    assert [unit.id for unit in plain.units] == [unit.id for unit in none.units]
    first = [plan.units[0].id for plan in (plain, *other)]
    assert len(set(first)) == len(first)
    assert "each row 2 times more, with noise of 0.5 deviations" in other[0].describe()
    assert "noise" not in plain.describe()
    assert "n = 96 training rows" in other[0].describe()


def test_booleans_of_parquet_have_no_noise_and_the_plan_says_so(tmp_path: Path) -> None:
    rows = range(24)
    columns = {"number": [float(k % 7) for k in rows], "open": [k % 3 == 0 for k in rows],
               "target": ["yes" if k % 2 else "no" for k in rows]}  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "flags.parquet")
    source = str(tmp_path / "flags.parquet")
    tree = {
        "name": "flags", "data": {"source": source}, "noise": NOISE, "beta": {"fractions": [0.1]},
        "shards": {"kind": "kfold", "count": 2}, "preprocessing": {"scaling": "none"},
    }  # fmt: skip
    prepared = prepare(parse_config(dump_yaml(tree), "flags.yaml"))
    said = "with noise of 0.5 deviations; none in 'open', which have only 0 and 1"
    assert said in prepared.plan.describe()
    shard = prepared.data.shard("fold-00")
    names = shard.preprocessing.feature_names
    assert set(shard.X[:, names.index("open")].tolist()) == {0.0, 1.0}
    assert not set(shard.X[:, names.index("number")].tolist()) <= set(range(7))


def test_the_plan_refuses_numbers_too_large_for_noise(tmp_path: Path) -> None:
    lines = [f"{1e200 if k == 5 else k},{'ny'[k % 2]}" for k in range(24)]
    (tmp_path / "giants.csv").write_text("\n".join(["size,target", *lines]))
    tree = {
        "name": "giants", "data": {"source": str(tmp_path / "giants.csv")},
        "beta": {"fractions": [0.1]}, "preprocessing": {"scaling": "thermometer"},
        "shards": {"kind": "kfold", "count": 2},
    }  # fmt: skip
    prepare(parse_config(dump_yaml(tree), "giants.yaml"))
    with pytest.raises(InputError, match=r"^column 'size' has numbers too large for noise"):
        prepare(parse_config(dump_yaml({**tree, "noise": NOISE}), "giants.yaml"))


def test_a_finished_folder_of_other_noise_is_refused(tmp_path: Path) -> None:
    run = made(tmp_path, small_config(tmp_path, **TINY, noise=NOISE))
    config = small_config(tmp_path, **TINY, noise={**NOISE, "seed": 7})
    with pytest.raises(InputError):
        run_sweep(config, str(run), SweepOptions(inline=True))


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        ({"deviation": 0}, "noise.deviation"),
        ({"deviation": 1e308}, "noise.deviation"),
        ({"deviation": float("nan")}, "noise.deviation"),
        ({"copies": 0}, "noise.copies"),
        ({"copies": 101}, "noise.copies"),
        ({"size": 1}, "noise.size"),
        (0.5, "noise"),
    ],
)
def test_what_is_no_noise_is_refused(tmp_path: Path, noise: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_config(config_text(tmp_path, noise=noise), "small.yaml")
