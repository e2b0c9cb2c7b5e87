"""What MLflow is told in words: no secrets, nothing too long, nothing that breaks out."""

from pathlib import Path

import pyarrow as pa
import pytest
from mlflow.utils.validation import _validate_param

from pipeline.results import summary
from pipeline.results.record import RESULTS_SCHEMA
from pipeline.tracking import text as tracking_text
from tests.pipeline.small import small_config
from tests.pipeline.synthetic import results_table


def test_secrets_do_not_reach_mlflow(tmp_path: Path) -> None:
    source = "s3://KEYID:canary@bucket/t.csv?secret=canary"
    config = small_config(tmp_path)
    config = config.model_copy(update={"data": config.data.model_copy(update={"source": source})})
    everything_said = [
        *tracking_text.parameters(config).values(),
        *tracking_text.sweep_tags(config).values(),
        tracking_text.config_text(config),
        tracking_text.code(source),
    ]
    assert not [text for text in everything_said if "canary" in text]


def test_long_parameters_are_cut(tmp_path: Path) -> None:
    config = small_config(tmp_path, seeds=list(range(500)))
    value = tracking_text.parameters(config)["seeds"]
    assert len(value) == tracking_text.LONGEST_PARAMETER
    assert value.endswith("…")


def test_labels_that_are_keys_are_spelt_as_mlflow_takes_them(tmp_path: Path) -> None:
    weights = {"<=50K": 1.0, ">50K": 3.0, "yes": 2.0}
    told = tracking_text.parameters(small_config(tmp_path, class_weight=weights))
    weighted = {key: value for key, value in told.items() if key.startswith("class_weight")}
    assert weighted == {
        "class_weight.__50K": "1.0", "class_weight._50K": "3.0", "class_weight.yes": "2.0",
    }  # fmt: skip
    for key, value in told.items():
        _validate_param(key, value)


def test_names_from_the_data_cannot_leave_their_code_span() -> None:
    assert tracking_text.code("a`<script>\nb") == "`a'<script> b`"


@pytest.mark.parametrize(
    ("metric", "alone"), [("accuracy", "92.5 %"), ("balanced_accuracy", "50.0 %"), ("f1", "–")]
)
def test_one_class_alone_is_told_in_the_metric(metric: str, alone: str) -> None:
    told = {"test_majority_share": 0.925, "test_confusion": [30, 7, 2, 1], "test_rows": 40}
    rows = [{**row, **told} for row in results_table(shards=1, betas=1, seeds=1).to_pylist()]
    shown = summary.champion_of(summary.frame(pa.Table.from_pylist(rows, schema=RESULTS_SCHEMA)))
    assert shown is not None
    page = tracking_text.network_description(shown, summary.METRICS[metric], "champion")
    titles, _, cells = [line.split(" | ") for line in page.splitlines() if line.startswith("|")]
    assert cells[titles.index("one class alone")] == alone
