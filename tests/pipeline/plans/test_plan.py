import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.configuration.beta import Beta
from pipeline.configuration.kinds import Kind
from pipeline.configuration.reading import SweepConfig, parse_config
from pipeline.configuration.yaml_text import dump_yaml
from pipeline.datasets.shards import make_layout, make_split
from pipeline.datasets.sources import load_table
from pipeline.plans.estimates import BASE_BYTES, Relaxed, estimate_rounding
from pipeline.plans.plan import Plan, make_path, make_plan
from pipeline.plans.units import PathSpec
from qnn.errors import InputError
from qnn.losses import get_loss
from qnn.networks.activations import get_activation
from qnn.training.relaxation.registry import SOLVERS

HALF = Beta(0.5, "fractions")
ROOT = Path(__file__).parents[3]
RAW: dict[str, Any] = {
    "name": "t",
    "data": {"source": "sklearn:breast_cancer"},
    "shards": {"kind": "kfold", "count": 3},
    "beta": {"fractions": [0.5, 0.1, 0.02]},
    "seeds": [0, 1],
    "widths": [8, 32],
    "rounding": ["krivine", "refined"],
}


def config_of(**changes: Any) -> SweepConfig:
    return parse_config(dump_yaml({**RAW, **changes}), "t.yaml")


def plan_of(**changes: Any) -> Plan:
    config = config_of(**changes)
    table = load_table(config)
    split = make_split(table, config)
    return make_plan(config, table, split, make_layout(table, config, split))


def trial_ids(plan: Plan) -> set[str]:
    return {path.trial_id(trial) for path in plan.paths for trial in path.trials()}


def test_counts_and_unique_ids() -> None:
    plan = plan_of()
    assert (len(plan.paths), plan.problems, plan.trials) == (3, 9, 72)
    assert len({path.id for path in plan.paths}) == 3
    assert len({path.problem_id(beta) for path in plan.paths for beta in path.betas}) == 9
    assert len(trial_ids(plan)) == 72
    assert all(len(trial) == 16 and int(trial, 16) >= 0 for trial in trial_ids(plan))
    assert all(path.networks == len(list(path.trials())) for path in plan.paths)


@settings(deadline=None, max_examples=20)
@given(
    betas=st.permutations([0.5, 0.1, 0.02]),
    seeds=st.permutations([0, 1]),
    widths=st.permutations([8, 32]),
    rounding=st.permutations(["krivine", "refined"]),
)
def test_the_order_of_an_axis_does_not_matter(
    betas: list[float], seeds: list[int], widths: list[int], rounding: list[str]
) -> None:
    plan = plan_of(beta={"fractions": betas}, seeds=seeds, widths=widths, rounding=rounding)
    assert plan.paths == plan_of().paths
    assert [beta.written for beta in plan.paths[0].betas] == [0.5, 0.1, 0.02]


def test_more_values_on_an_axis_keep_the_ids_of_those_before() -> None:
    more = plan_of(seeds=[0, 1, 2], widths=[4, 8, 32], beta={"fractions": [0.5, 0.3, 0.1, 0.02]})
    assert trial_ids(plan_of()) < trial_ids(more)
    assert {path.id for path in more.paths}.isdisjoint(path.id for path in plan_of().paths)


@pytest.mark.parametrize(
    "changes",
    [
        {"test": {"fraction": 0.25}},
        {"test": {"fraction": 0.2, "seed": 1}},
        {"shards": {"kind": "kfold", "count": 3, "seed": 1}},
        {"data": {**RAW["data"], "positive": "benign"}},
        {"data": {**RAW["data"], "exclude": ["mean area"]}},
        {"preprocessing": {"clip": 3.0}},
        {"preprocessing": {"bias": False}},
        {"beta": {"values": [0.5, 0.1, 0.02]}},
        {"certify": "tightened"},
        {"certify_time_limit": 10},
        {"relaxation": {"tol": 1e-3}},
        {"relaxation": {"solver": "admm"}},
        {"relaxation": {"time_limit": 10}},
    ],
)
def test_whatever_changes_a_result_changes_every_id(changes: dict[str, Any]) -> None:
    changed = plan_of(**changes)
    assert trial_ids(changed).isdisjoint(trial_ids(plan_of()))
    assert {path.id for path in changed.paths}.isdisjoint(path.id for path in plan_of().paths)


def test_names_and_places_do_not_change_ids(tmp_path: Path) -> None:
    # The same content under another name, and 30 written for 30.0.
    def plan(name: str, beta: str) -> Plan:
        rows = "".join(f"{k},{k % 2}\n" for k in range(30))
        (tmp_path / name).write_text(f"a,target\n{rows}")
        return plan_of(
            name=Path(name).stem,
            data={"source": str(tmp_path / name)},
            beta={"values": [float(beta) if "." in beta else int(beta)]},
        )

    assert trial_ids(plan("one.csv", "30")) == trial_ids(plan("two.csv", "30.0"))


def test_ids_are_pinned() -> None:
    # A change here orphans every folder of results that people have.
    path = PathSpec(
        dataset="t", shard="fold-00", content="ab", n=10, d=3, kind=Kind(),
        betas=(HALF, Beta(0.1, "fractions")), seeds=(0,), widths=(8,), roundings=("krivine",),
        certify="relaxation", certify_time_limit=None,
        solver="auto", tol=1e-4, time_limit=None,
    )  # fmt: skip
    assert path.id == PINNED["path"]
    assert path.problem_id(HALF) == PINNED["problem"]
    assert path.trial_id(next(path.trials())) == PINNED["trial"]
    assert replace(path, dataset="other").id == path.id


def test_the_final_refit_is_a_path_of_its_own() -> None:
    config = config_of()
    table = load_table(config)
    split = make_split(table, config)
    layout = make_layout(table, config, split)
    whole = make_path(config, table, split, layout, split.shard("all"), config.kinds[0])
    assert (whole.shard, whole.n) == ("all", 455)
    beta = Beta(0.1, "fractions")
    one = whole.narrowed(beta, 32, "refined")
    refined = replace(whole.axes(beta), rounding="refined", width=32, seed=0)
    assert list(one.trials()) == [refined, replace(refined, seed=1)]
    other = whole.narrowed(beta, 32, "refined", seeds=[5])
    assert list(other.trials()) == [replace(refined, seed=5)]
    assert one.trial_id(refined) == whole.trial_id(refined)
    assert one.id != whole.id


def test_specs_are_plain_data() -> None:
    path = plan_of().paths[0]
    content = json.loads(json.dumps(asdict(path)))
    content = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
    betas = tuple(Beta(**beta) for beta in content.pop("betas"))
    again = PathSpec(**content | {"kind": Kind(**content["kind"]), "betas": betas})
    assert again == path
    assert again.id == path.id


def test_the_description_counts_every_axis() -> None:
    assert plan_of(data={"source": str(ROOT / "tests/data/ionosphere.csv")}).describe() == DESCRIBED


def test_weighted_classes_are_chosen_by_balanced_accuracy_unless_told() -> None:
    def line(**changes: Any) -> str:
        return plan_of(**changes).describe().partition("chosen by    ")[2].partition("\n")[0]

    weighted = {"class_weight": "balanced"}
    assert line(**weighted) == (
        "mean validation balanced accuracy, for class_weight is set (metric names another)"
    )
    assert line(**weighted, metric="f1") == "mean validation F1"
    assert line() == "mean validation accuracy"


def test_estimates_grow_with_the_work() -> None:
    def grows(function: Callable[..., float], base: dict[str, float]) -> bool:
        usual = function(**base)
        return all(function(**{**base, key: 2 * base[key]}) > usual for key in base)

    for solver in ("auto", *SOLVERS):
        assert grows(lambda n, d, solver=solver: relaxed(n, d, solver).bytes, {"n": 400, "d": 40})
        assert grows(lambda n, d, solver=solver: relaxed(n, d, solver).seconds, {"n": 400, "d": 40})
    assert grows(estimate_rounding, {"n": 400, "d": 40, "networks": 10, "width": 8.0})
    few, many = plan_of(), plan_of(beta={"fractions": [0.8, 0.5, 0.3, 0.1, 0.05, 0.02]})
    assert many.estimated_seconds > few.estimated_seconds


def relaxed(n: int, d: int, solver: str) -> Relaxed:
    return Relaxed(n, d, get_loss("squared"), get_activation("bilinear"), 1, solver, 1e-4)


def test_what_ray_reserves_is_what_the_solver_says() -> None:
    for name, solver in SOLVERS.items():
        path = plan_of(relaxation={"solver": name}, preprocessing={"bias": True}).paths[0]
        estimate = solver.memory_estimate(path.n, path.d)
        assert path.estimated_bytes == BASE_BYTES + estimate
    lifted = plan_of(activation={"polynomial": {"a": 1.0}}, alphabet=3, rounding=["refined"])
    path = lifted.paths[0]
    assert path.relaxed.size == 3 * path.d + 1
    assert path.estimated_bytes == BASE_BYTES + SOLVERS["admm"].memory_estimate(
        path.n, 3 * path.d + 1
    )


def test_a_solver_that_cannot_take_the_problem_is_refused_before_anything_runs() -> None:
    with pytest.raises(InputError) as caught:
        plan_of(relaxation={"solver": "low-rank"}, loss="hinge")
    assert str(caught.value) == (
        "solver 'low-rank' cannot take hinge loss, bilinear, binary weights: "
        "loss 'hinge' is not smooth enough: choose 'admm', or another loss"
    )


@pytest.mark.parametrize(
    ("n", "d", "megabytes"), [(400, 40, 332), (1000, 60, 1263), (1000, 100, 2203)]
)
def test_memory_of_the_reference_is_near_what_was_measured(n: int, d: int, megabytes: int) -> None:
    assert 0.6 < relaxed(n, d, "cvxpy-scs").bytes / 1e6 / megabytes < 1.6


@pytest.mark.parametrize(
    ("n", "d", "seconds"),
    [(400, 40, 0.02), (1000, 60, 0.06), (1000, 100, 0.13), (2000, 100, 0.18)],
)
def test_time_of_our_solver_is_near_what_was_measured(n: int, d: int, seconds: float) -> None:
    assert 1 / 3 < relaxed(n, d, "admm").seconds / seconds < 3


def test_planning_imports_no_heavy_library() -> None:
    code = (
        "import sys, pipeline.plans.plan, pipeline.configuration.reading\n"
        "heavy = ('ray', 'mlflow', 'cvxpy', 'sklearn', 'scipy', 'pandas', 'matplotlib', 'numba')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


PINNED = {"path": "adecae37118893ba", "problem": "d0a714a33e458290", "trial": "0baa54a8efdafb5d"}
DESCRIBED = """\
sweep t: ionosphere, 351 rows

  shards            3   fold-00, fold-01, fold-02
  β / beta_max      3   0.5, 0.1, 0.02
  seeds             2   0, 1
  widths            2   8, 32
  rounding          2   krivine, refined

  trials       72 networks from 9 SDPs, 3 paths
  problem      squared loss, bilinear, binary weights
  size         n = 187-188 training rows, d = 34; 70 rows for the test
  solver       auto, tol 0.0001, about 201 MB a task
  certify      relaxation
  classes      rows of 'bad' 126, 'good' 225, positive is 'good'
  chosen by    mean validation accuracy
  work         about 2 s of one core (rough)
  note         dropped constant columns: V2"""
