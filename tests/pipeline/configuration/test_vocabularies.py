"""What a key may hold is what its registry has, a member that was added a moment ago included."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.configuration.reading import parse_config
from pipeline.configuration.yaml_text import dump_yaml
from qnn import QuantizedClassifier
from qnn.errors import InputError
from qnn.features.scalings import SCALINGS
from qnn.losses import LOSSES
from qnn.networks.activations import ACTIVATIONS
from qnn.networks.alphabets import ALPHABETS
from qnn.networks.second_layers import SECOND_LAYERS
from qnn.training.arms import ARMS
from qnn.training.problems.levels import LEVELS
from qnn.training.relaxation import SOLVERS
from qnn.training.rounding import METHODS

ROOT = Path(__file__).parents[3]
RAW: dict[str, Any] = {
    "name": "t",
    "data": {"source": "t.csv"},
    "shards": {"kind": "kfold", "count": 3},
    "beta": {"fractions": [0.5]},
    "rounding": ["refined"],
}
TINY = (np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 0, 1, 1])
# A name in the config, as the path of its key and as a change of RAW.
PLACES: list[tuple[str, Any, Any]] = [
    ("loss", list(LOSSES), lambda name: {"loss": name}),
    ("activation", list(ACTIVATIONS), lambda name: {"activation": name}),
    ("alphabet", list(ALPHABETS), lambda name: {"alphabet": name}),
    ("second_layer", list(SECOND_LAYERS), lambda name: {"second_layer": name}),
    ("preprocessing.scaling", list(SCALINGS), lambda name: {"preprocessing": {"scaling": name}}),
    ("relaxation.solver", ["auto", *SOLVERS], lambda name: {"relaxation": {"solver": name}}),
    ("certify", list(LEVELS), lambda name: {"certify": name}),
    ("rounding[0]", list(METHODS), lambda name: {"rounding": [name]}),
    ("baselines[0]", list(ARMS), lambda name: {"baselines": [name]}),
]
MEMBERS = """
from dataclasses import replace

from qnn.features.scalings import SCALINGS
from qnn.networks.activations import ACTIVATIONS
from qnn.networks.alphabets import ALPHABETS
from qnn.networks.second_layers import SECOND_LAYERS
from qnn.training.arms import ARMS
from qnn.training.problems.levels import LEVELS
from qnn.training.relaxation.registry import SOLVERS
from qnn.training.rounding.registry import METHODS

for registry, like in (
    (SCALINGS, "none"),
    (ACTIVATIONS, "bilinear"),
    (ALPHABETS, "binary"),
    (SECOND_LAYERS, "common"),
    (ARMS, "straight_through"),
    (LEVELS, "relaxation"),
    (METHODS, "refined"),
):
    registry["made-up"] = registry[like]
SOLVERS["made-up"] = replace(SOLVERS["admm"], name="made-up", memory_estimate=lambda n, D: 7e9)
"""
LOSS = """
from qnn.losses.squared import Squared


class MadeUp(Squared):
    name = "made_up"
"""
ASKED = """
import sys

import made_up_members
from pipeline.configuration.reading import parse_config
from pipeline.plans.plan import plan_of

config = parse_config(sys.stdin.read(), "x.yaml")
print(config.loss, config.activation, config.alphabet, config.second_layer, config.certify)
print(config.preprocessing.scaling, config.relaxation.solver, *config.rounding, *config.baselines)
print(plan_of(config).describe())
try:
    parse_config("{rounding: [luck], loss: luck}", "y.yaml")
except Exception as error:
    print(error)
heavy = ("ray", "mlflow", "cvxpy", "sklearn", "scipy", "pandas", "matplotlib", "numba")
print([name for name in heavy if name in sys.modules])

from pipeline.commands.schema import configuration_page

_, training, *_ = configuration_page().split("\\n## ")
rows = [row for row in training.splitlines() if "`made-up`" in row or "`made_up`" in row]
print(*sorted(row.split("`")[1] for row in rows))
"""


def read(**changes: Any) -> Any:
    return parse_config(dump_yaml({**RAW, **changes}), "t.yaml")


@pytest.mark.parametrize(("key", "names", "change"), PLACES, ids=[place[0] for place in PLACES])
def test_every_member_can_be_asked_for_and_nothing_else(key: str, names: Any, change: Any) -> None:
    assert len(names) == len(set(names)) > 0
    refused = []
    for name in names:
        try:
            read(**change(name))
        except InputError as error:
            # Krivine's and some arms do not take every kind: that is said by what follows.
            refused.append(str(error))
    assert not any("must be" in line for line in refused)
    listed = ", ".join(map(repr, names[:-1])) + f" or {names[-1]!r}" if names[1:] else repr(*names)
    for other in ("luck", True, 2.5, None, [[]]):
        with pytest.raises(InputError) as caught:
            read(**change(other))
        if other == "luck":
            assert str(caught.value) == f't.yaml: {key}: must be {listed} (got "luck")'


def test_low_rank_can_be_asked_for() -> None:
    assert read(relaxation={"solver": "low-rank"}).relaxation.solver == "low-rank"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout with a loss more, and beside it a file that adds to the other registries."""
    tree = tmp_path_factory.mktemp("tree")
    (package := tree / "qnn").mkdir()
    for path in (ROOT / "qnn").iterdir():
        if path.name == "losses":
            shutil.copytree(path, package / "losses")
        else:
            (package / path.name).symlink_to(path)
    (tree / "pipeline").symlink_to(ROOT / "pipeline")
    (package / "losses" / "made_up.py").write_text(LOSS, encoding="utf-8")
    (tree / "made_up_members.py").write_text(MEMBERS, encoding="utf-8")
    return tree


def test_made_up_members_are_found_planned_and_said(tree: Path) -> None:
    config = dump_yaml(
        {
            **RAW,
            "data": {"source": str(ROOT / "tests/data/ionosphere.csv")},
            "loss": "made_up",
            "activation": "made-up",
            "alphabet": "made-up",
            "second_layer": "made-up",
            "certify": "made-up",
            "preprocessing": {"scaling": "made-up"},
            "relaxation": {"solver": "made-up"},
            "rounding": ["made-up"],
            "baselines": ["made-up"],
        }
    )
    done = subprocess.run(
        [sys.executable, "-c", ASKED],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        input=config,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    first, second, *plan, refused, heavy, listed = done.stdout.splitlines()
    assert first == "made_up made-up made-up made-up made-up"
    assert second == "made-up made-up made-up made-up"
    assert any("solver       made-up, tol 0.0001, about 7.2 GB a task" in line for line in plan)
    assert "'graduated' or 'made-up' (got \"luck\")" in refused
    assert "'logistic', 'made_up', 'squared'" in refused
    assert heavy == "[]"
    assert listed.split() == sorted(key.removesuffix("[0]") for key, _, _ in PLACES)


def test_one_bit_is_binary_as_in_the_estimators() -> None:
    config = parse_config(dump_yaml({**RAW, "alphabet": 1}), "t.yaml")
    assert config == parse_config(dump_yaml({**RAW, "alphabet": "binary"}), "t.yaml")
    assert QuantizedClassifier(alphabet=1).fit(*TINY).network_.alphabet == "binary"
    for wrong in (True, 0, 8, 1.5, "1 bit"):
        with pytest.raises(InputError, match="alphabet"):
            parse_config(dump_yaml({**RAW, "alphabet": wrong}), "t.yaml")
        with pytest.raises(InputError, match="alphabet"):
            QuantizedClassifier(alphabet=wrong).fit(*TINY)
    with pytest.raises(InputError, match="'binary' occurs twice"):
        parse_config(dump_yaml({**RAW, "alphabet": [1, "binary"]}), "t.yaml")
