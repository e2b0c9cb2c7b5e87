"""Sweeps of classes in pairs: planned, trained on the pair's rows alone, joined and verified."""

import io
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.configuration.reading import dump_config, parse_config
from pipeline.plans.plan import plan_of
from pipeline.plans.studies import study_at
from pipeline.reports.certificate import render_certificate
from pipeline.results.folder import CONFIG_FILE, RunFolder
from pipeline.results.ledger import read_results
from pipeline.results.matrices import matrices
from pipeline.results.record import rows_of as network_rows
from pipeline.sweeps.driver import SweepOptions, run_sweep
from qnn.errors import InputError
from qnn.networks.quantized import QuantizedNetwork
from tests.pipeline.classes import LABELS, classes_config

PAIRS = {"multi_class": "one_vs_one", "loss": "logistic", "beta": {"fractions": [0.05]},
         "widths": [4], "baselines": ["logistic_regression", "random_signs"],
         "baseline_seconds": 0.1}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("pairs")
    outcome = run_sweep(classes_config(home, **PAIRS), str(home / "run"), SweepOptions(inline=True))
    assert outcome.exit_code == 0
    return home / "run"


@pytest.fixture
def run(made: Path, tmp_path: Path) -> RunFolder:
    shutil.copytree(made, tmp_path / "run")
    return RunFolder.open(tmp_path / "run")


def wrong(run: RunFolder) -> list[str]:
    checks = study_at(run.location).verify(run.location)
    return [f"{check.file}: {check.text}" for check in checks if not check.ok]


def test_all_is_proven_again_and_measured_again_from_the_source(run: RunFolder) -> None:
    checks = list(study_at(run.location).verify(run.location))
    assert not [check for check in checks if not check.ok]
    (told,) = [check.text for check in checks if check.file == CONFIG_FILE]
    assert "not checked" not in told
    assert "networks" in told


def test_a_network_of_three_pairs_tells_three_classes(run: RunFolder) -> None:
    whole = []
    for file in run.files("networks"):
        network = QuantizedNetwork.from_bytes(run.read(file), file)
        assert network.preprocessing is not None
        target = network.preprocessing.target
        if network.alpha.ndim == 2:
            assert target.pairs
            assert target.classes == LABELS
            whole.append(network)
        else:
            assert len(target.classes or ()) == 2
            assert set(target.classes or ()) < set(LABELS)
    assert whole


def test_rows_of_a_third_class_are_told_from_data_that_was_changed(run: RunFolder) -> None:
    (file, *_) = run.files("data")
    table = pq.read_table(io.BytesIO(run.read(file)))
    _, y = matrices(table)
    assert set(np.unique(y)) == {-1.0, 0.0, 1.0}
    assert (np.count_nonzero(y, axis=1) == 2).all()
    # A row that was left out of a pair is put into it: its certificate is not of these rows.
    row = int(np.flatnonzero(y[:, 0] == 0.0)[0])
    column = table["y0"].to_numpy().copy()
    column[row] = 1.0
    run.write_table(file, table.set_column(table.schema.get_field_index("y0"), "y0", [column]))
    assert any("certificates/" in line for line in wrong(run))


def test_the_plan_has_a_path_for_each_pair(tmp_path: Path) -> None:
    plan = plan_of(classes_config(tmp_path, **PAIRS))
    text = plan.describe()
    assert "one a pair: 'a<b / b & c', 'a<b / c', 'b & c / c'" in text
    rest = plan_of(classes_config(tmp_path, **{**PAIRS, "multi_class": "one_vs_rest"}))
    ids = [path.id for path in (*plan.paths, *rest.paths)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "squared"}, "needs a loss of classes"),
        ({"task": "regression", "loss": "huber"}, "pairs classes"),
        ({"multi_class": "ovo"}, "multi_class"),
    ],
)
def test_what_does_not_go_with_pairs_is_refused(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        classes_config(tmp_path, **{**PAIRS, "baselines": [], **changes})


def test_more_pairs_than_outputs_can_be_are_refused(tmp_path: Path) -> None:
    rows = [f"{k % 7}.5,{k % 5},{k % 15}x" for k in range(150)]
    (tmp_path / "many.csv").write_text("\n".join(["a,b,target", *rows]) + "\n")
    config = classes_config(tmp_path, **{**PAIRS, "baselines": []})
    text = dump_config(config).replace("classes.csv", "many.csv")
    with pytest.raises(InputError, match="105 outputs of 15 classes"):
        plan_of(parse_config(text, "many.yaml"))


def test_the_report_and_a_certificates_page_speak_of_pairs(run: RunFolder) -> None:
    text = run.read("report.html").decode()
    assert "Each pair of classes is a problem of its own" in text
    assert "against the rest" not in text
    rows = network_rows(read_results(run))
    part = next(row for row in rows if row.identity.output == 1 and row.fit.network)
    assert part.bounds.certificate is not None
    page = render_certificate(
        part, run.read(part.bounds.certificate), run.read(str(part.fit.network))
    )
    assert "output, two classes" in page
