"""The page of all keys is what the configuration is, and editors judge files as the reader does."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from pipeline.commands.cli import app
from pipeline.commands.schema import configuration_page, schema_of
from pipeline.configuration.descriptions import OF_STUDY, SHARED, description
from pipeline.configuration.reading import parse_config
from pipeline.plans.studies import get_study, study_names, study_of_file
from qnn.errors import InputError
from tests.pipeline.small import SWEEP

ROOT = Path(__file__).parents[3]
SWEEPS = sorted((ROOT / "infra").rglob("sweeps/**/*.yaml"))


def test_the_page_is_generated_from_the_configuration():
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == configuration_page(), "run: qnn schema --page --out docs/configuration.md"
    for key in ("data.features", "data.exclude", "data.categorical", "metric", "networks[].source",
                "shards.count` (kfold)", "beta.fractions.start", "tracking.uri"):  # fmt: skip
        assert f"`{key}" in page


def test_beta_is_not_said_to_be_required_where_it_is_chosen():
    short = {"data": {"source": "churn.csv", "target": "churned"}}
    jsonschema.validate(short, schema_of("training"))
    jsonschema.validate(short, schema_of())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**short, "beta": {"fractions": [0.1]}}, schema_of())
    training, rest = configuration_page().split("## Training", 1)[1].split("\n## ", 1)
    assert "| `beta` | keys | chosen |" in training
    # The study of distributed rows has no choice to make.
    assert "| `beta` | keys | required |" in rest


def records(study: str) -> dict[str, Any]:
    tree = get_study(study).config.model_json_schema()
    return {one["title"]: one for one in (tree, *tree.get("$defs", {}).values())
            if "properties" in one}  # fmt: skip


def test_every_key_is_described_and_nothing_else_is():
    known = set()
    for study in study_names():
        for record, tree in records(study).items():
            for field in tree["properties"]:
                assert description(study, record, field), f"{study}: {record}.{field}"
                known.add((study, f"{record}.{field}"))
    for study, words in OF_STUDY.items():
        assert {(study, key) for key in words} <= known
    assert set(SHARED) <= {key for _, key in known}


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: file.stem)
def test_the_schema_takes_every_sweep_that_ships(file):
    study = study_of_file(file).name
    tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    jsonschema.validate(tree, schema_of())
    jsonschema.validate(tree, schema_of(study))


@pytest.mark.parametrize(
    "changes",
    [{"colour": 1}, {"data": {"sauce": "x"}}, {"metric": "acc"}, {"seeds": [-1]}, {"widths": []},
     {"loss": "square"}, {"alphabet": "02"}, {"shards": {"kind": "fold", "count": 2}},
     {"kind": "bell"}, {"test": {"fraction": 1.0}}],
)  # fmt: skip
def test_schema_and_reader_refuse_alike(changes):
    tree = {**SWEEP, **changes}
    jsonschema.validate(SWEEP, schema_of())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tree, schema_of())
    if "kind" not in changes:
        with pytest.raises(InputError):
            parse_config(json.dumps(tree), "sweep.yaml")


def test_the_command_writes_it(tmp_path):
    out = tmp_path / "qnn.schema.json"
    result = CliRunner().invoke(app, ["schema", "--out", str(out)])
    assert result.exit_code == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(out.read_text()))
    assert json.loads(CliRunner().invoke(app, ["schema", "--study", "bell"]).output)["title"] == (
        "BellConfig"
    )
    failed = CliRunner().invoke(app, ["schema", "--study", "none"])
    assert isinstance(failed.exception, InputError)
