"""What MLflow is told in words: no secrets, nothing too long, nothing that breaks out."""

from pathlib import Path

from pipeline.tracking import text as tracking_text
from tests.pipeline.small import small_config


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


def test_names_from_the_data_cannot_leave_their_code_span() -> None:
    assert tracking_text.code("a`<script>\nb") == "`a'<script> b`"
