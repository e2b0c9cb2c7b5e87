"""Sweeps whose rows count by their class, and what `qnn verify` says where a weight is edited."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from pipeline.configuration.reading import SweepConfig, dump_config, parse_config
from pipeline.plans.plan import plan_of
from pipeline.reports.page import collect
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.results.matrices import matrices
from pipeline.results.summary import frame as summary_frame
from pipeline.results.summary import metric_of
from pipeline.results.verification import verify_files, verify_paths
from pipeline.results.verification.manifest import MANIFEST
from pipeline.studies.training.prepared import prepare
from pipeline.sweeps.driver import SweepOptions, run_sweep
from qnn.certificates import Certificate
from qnn.errors import InputError
from qnn.losses import LOSSES
from qnn.networks.quantized import QuantizedNetwork
from qnn.training.problems.problem import Problem
from qnn.training.problems.vector import VectorProblem, rows_of
from tests.pipeline.classes import classes_config
from tests.pipeline.skewed import skewed_config
from tests.pipeline.small import small_config
from tests.qnn.certificates.members import changed_bytes

THREE = {"a<b": 1.0, "b & c": 3.0, "c": 0.25}
PAIRS = {"multi_class": "one_vs_one", "loss": "logistic", "beta": {"fractions": [0.1]}}
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "balanced": (skewed_config, {"class_weight": "balanced"}),
    "mapping": (skewed_config, {"class_weight": {"yes": 20.0}}),
    "swapped": (skewed_config, {"class_weight": {"yes": 20}, "data": {"positive": "no"}}),
    "three": (classes_config, {"class_weight": "balanced", "beta": {"fractions": [0.1]}}),
    "three mapped": (classes_config, {"class_weight": THREE, "beta": {"fractions": [0.1]}}),
    "pairs": (classes_config, {"class_weight": THREE, **PAIRS}),
}


def sweep(config: SweepConfig, location: Path) -> RunFolder:
    outcome = run_sweep(config, str(location), SweepOptions(inline=True))
    assert (outcome.exit_code, outcome.failed) == (0, 0)
    return RunFolder.open(location)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("weighted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
        for name, (config_of, changes) in CASES.items():
            sweep(config_of(home, **changes), home / name)
    return {name: home / name for name in CASES}


@pytest.fixture(params=list(CASES))
def run(request: pytest.FixtureRequest, originals: dict[str, Path], tmp_path: Path) -> RunFolder:
    """Without its manifest, which would miss every change before anything is proven."""
    shutil.copytree(originals[request.param], tmp_path / "run")
    (tmp_path / "run" / MANIFEST).unlink()
    return RunFolder.open(tmp_path / "run")


def failures(run: RunFolder) -> set[str]:
    return {check.file for check in verify_paths([run.location]) if not check.ok}


def proven_and_used(run: RunFolder) -> set[str]:
    return {*run.files("certificates"), *run.files("networks")}


def frame(run: RunFolder) -> pd.DataFrame:
    return pd.DataFrame(read_results(run).to_pylist())


def weights_asked(run: RunFolder, data: str) -> np.ndarray:
    """By scikit-learn, of the classes of a shard's data file."""
    _, y = matrices(run.read_table(data))
    network = QuantizedNetwork.load(f"{run.location}/{whole(run)['network'].iloc[0]}")
    labels = network.preprocessing.target.decode(y)
    asked = parse_config(run.read("sweep.yaml").decode(), "sweep.yaml").class_weight
    return compute_sample_weight(asked, labels)


def whole(run: RunFolder) -> pd.DataFrame:
    rows = frame(run)
    return rows[rows["output"].isna()]


def edit_config(run: RunFolder, class_weight: Any) -> None:
    config = parse_config(run.read("sweep.yaml").decode(), "sweep.yaml")
    changed = config.model_copy(update={"class_weight": class_weight})
    run.write("sweep.yaml", dump_config(changed).encode())


def test_what_is_proven_is_of_the_weighted_loss(run):
    assert failures(run) == set()
    for name in run.files("certificates"):
        certificate = Certificate.load(f"{run.location}/{name}")
        _, y = matrices(run.read_table(certificate.data))
        part = rows_of(y.reshape(len(y), -1)[:, certificate.output], certificate.loss)
        asked = weights_asked(run, certificate.data)[part]
        np.testing.assert_array_equal(certificate.weights, asked)
    for _, row in whole(run).iterrows():
        network = QuantizedNetwork.load(f"{run.location}/{row['network']}")
        name = (row["certificates"] or [row["certificate"]])[0]
        data = Certificate.load(f"{run.location}/{name}").data
        X, y = matrices(run.read_table(data))
        kind = Problem if y.ndim == 1 else VectorProblem
        weights = weights_asked(run, data)
        problem = kind(X, y, row["beta"], row["loss"], sample_weight=weights)
        assert row["beta_max"] == pytest.approx(problem.beta_max, rel=1e-6)
        assert row["upper_bound"] == pytest.approx(problem.objective(network), rel=1e-9)
        assert row["lower_bound"] <= row["upper_bound"]


def test_balanced_weights_learn_what_plain_ones_do_not(originals, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
    plain = frame(sweep(skewed_config(tmp_path), tmp_path / "plain"))
    assert set(plain["train_balanced_accuracy"]) == {0.5}
    weighted = frame(RunFolder.open(originals["balanced"]))
    best = weighted[weighted["beta_fraction"] == 0.1]["train_balanced_accuracy"]
    assert best.min() > 0.8
    assert set(plain["trial"]).isdisjoint(weighted["trial"])


def test_weighted_classes_choose_by_balanced_accuracy(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
    config = skewed_config(tmp_path, class_weight="balanced")
    outcome = run_sweep(config, str(tmp_path / "run"), SweepOptions(inline=True))
    assert outcome.choice.metric == "validation_balanced_accuracy"
    assert metric_of(summary_frame(outcome.results)).name == "balanced_accuracy"
    page = collect(RunFolder.open(tmp_path / "run"))
    assert metric_of(summary_frame(page.results)).name == "balanced_accuracy"
    assert page.weighted
    named = skewed_config(tmp_path, class_weight="balanced", metric="accuracy")
    assert prepare(named).choose(outcome.results).metric == "validation_accuracy"


def test_an_edited_weight_is_refused(run):
    name = run.files("certificates")[0]
    old = Certificate.load(f"{run.location}/{name}")
    for factor in (2.0, 0.5, 1.0 + 1e-15):
        weights = old.weights.copy()
        weights[3] *= factor
        run.write(name, changed_bytes(old, weights=weights))
        assert name in failures(run)


def test_weights_of_a_problem_of_its_own_are_refused(run):
    """A certificate that proves what it says, of other weights than were asked for."""
    name = run.files("certificates")[0]
    old = Certificate.load(f"{run.location}/{name}")
    X, y = matrices(run.read_table(old.data))
    y = y if y.ndim == 1 else np.ascontiguousarray(y[:, old.output])
    X, y = X[rows_of(y, old.loss)], y[rows_of(y, old.loss)]
    for weights in (None, 1.5 * old.weights):
        problem = Problem(X, y, old.beta, old.loss, sample_weight=weights)
        dual = old.arrays()["nu"] * 0.0
        forged = changed_bytes(
            old, weights=weights, nu=dual, data_sha256=problem.data_sha256, lower_bound=0.0
        )
        run.write(name, forged)
        (check,) = verify_files(run.location, [name])
        assert not check.ok
        assert "sweep.yaml's class_weight asks" in check.text


def test_an_edited_key_is_refused(run):
    config = parse_config(run.read("sweep.yaml").decode(), "sweep.yaml")
    other = {"balanced": {"yes": 2.0}, "mapping": {"yes": 21.0}, "swapped": {"no": 20.0},
             "three": {**THREE, "b & c": 2.0, "c": 1.0}, "three mapped": "balanced"}  # fmt: skip
    edits = [None, *(one for one in other.values() if _fits(one, config)), {"maybe": 2.0}]
    assert len(edits) >= 4
    for edit in edits:
        if edit == config.class_weight:
            continue
        edit_config(run, edit)
        assert proven_and_used(run) <= failures(run)


def _fits(edit: Any, config: SweepConfig) -> bool:
    return edit == "balanced" or ("c" in edit) == config.data.source.endswith("classes.csv")


@pytest.mark.parametrize("case", ["three", "pairs"])
def test_outputs_weigh_rows_alike(case, originals, tmp_path):
    shutil.copytree(originals[case], tmp_path / "run")
    run = RunFolder.open(tmp_path / "run")
    (tmp_path / "run" / MANIFEST).unlink()
    (tmp_path / "run" / "sweep.yaml").unlink()
    row = whole(run).iloc[0]
    name = row["certificates"][1]
    old = Certificate.load(f"{run.location}/{name}")
    X, y = matrices(run.read_table(old.data))
    weights, part = 2.0 * old.weights, rows_of(y[:, 1], old.loss)
    digest = Problem(X[part], y[part, 1], 1.0, old.loss, sample_weight=weights).data_sha256
    forged = changed_bytes(
        old, weights=weights, nu=0.0 * old.arrays()["nu"], data_sha256=digest, lower_bound=0.0
    )
    run.write(name, forged)
    (check,) = verify_files(run.location, [row["network"]])
    assert not check.ok
    assert "weigh their rows differently" in check.text


def test_without_any_network_each_class_has_one_of_the_weights(originals, tmp_path):
    for case in ("mapping", "three mapped", "pairs"):
        shutil.copytree(originals[case], tmp_path / case)
        run = RunFolder.open(tmp_path / case)
        for file in run.files("networks"):
            (tmp_path / case / file).unlink()
        names = run.files("certificates")
        assert all(check.ok for check in verify_files(run.location, names))
        edit_config(run, {"yes": 19.0} if case == "mapping" else {**THREE, "b & c": 2.0, "c": 0.5})
        assert not any(check.ok for check in verify_files(run.location, names))


@pytest.mark.parametrize("changes", [
    {"baselines": ["random_signs"]},
    {"loss": ["logistic", "hinge"]},
    {"certify": "exact"},
    {"certify": "tightened"},
    {"bounds": "learned", "beta": {"fractions": [0.3, 0.28]}, "prune_gap": 0.9},
    {"activation": {"polynomial": {"a": 0.1, "b": 0.5, "c": 0.2}}},
    {"second_layer": 8, "alphabet": 2},
])  # fmt: skip
def test_every_other_choice_takes_weights(changes, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
    config = skewed_config(tmp_path, **{"beta": {"fractions": [0.3]}, **changes},
                           class_weight={"yes": 9})  # fmt: skip
    run = sweep(config, tmp_path / "run")
    assert failures(run) == set()


def test_what_cannot_be_weighted_is_refused_in_a_line(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"^[^\n]*class_weight weighs classes, but task is regres"):
        small_config(tmp_path, task="regression", class_weight="balanced")
    for bad, told in (
        ("even", "must be 'balanced'"), ({"yes": 0}, "must be at least 1e-100"), ({}, "empty"),
        ({"yes": -1.0}, "at least"), ({"yes": float("nan")}, "class_weight.yes"),
        ({"yes": 1e101}, "at most 1e"), ({"yes": "much"}, "must be a number"),
        ([1, 2], "must be 'balanced'"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=told) as caught:
            skewed_config(tmp_path, class_weight=bad)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"class_weight: 'maybe' is no label of the target"):
        plan_of(skewed_config(tmp_path, class_weight={"maybe": 2.0}))
    monkeypatch.setattr(LOSSES["hinge"], "takes_weights", False)
    with pytest.raises(InputError, match="loss 'hinge' takes no sample weights"):
        plan_of(skewed_config(tmp_path, class_weight="balanced", loss="hinge"))


def test_the_plan_says_so_and_a_mapping_is_read_back_equal(tmp_path):
    config = skewed_config(tmp_path, class_weight={"yes": 20})
    assert "class weights 1, 20" in plan_of(config).describe()
    assert parse_config(dump_config(config), "again") == config
    numbers = parse_config(dump_config(config), "x", ["class_weight={0: 1, 1: 2.5}"]).class_weight
    assert numbers == {"0": 1.0, "1": 2.5}
    ids = {plan_of(skewed_config(tmp_path, class_weight=asked)).paths[0].id
           for asked in (None, "balanced", {"yes": 20.0}, {"no": 20.0})}  # fmt: skip
    assert len(ids) == 4
    plain = plan_of(skewed_config(tmp_path, class_weight={"yes": 20, "no": 1.0})).paths[0].id
    assert plain == plan_of(config).paths[0].id
