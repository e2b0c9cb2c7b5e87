"""The plan of more than two classes: ids, the refit, what is said and what is refused."""

from dataclasses import replace

import pytest

from pipeline.configuration.beta import Beta
from pipeline.configuration.kinds import Kind
from pipeline.plans.plan import plan_of
from pipeline.plans.units import JoinSpec, PathSpec
from qnn.errors import InputError
from tests.pipeline.classes import classes_config

HALF, TENTH = Beta(0.5, "fractions"), Beta(0.1, "fractions")


def path_spec(output: int) -> PathSpec:
    return PathSpec(
        dataset="t", shard="fold-00", content="ab", n=10, d=3, kind=Kind(),
        betas=(HALF, TENTH), seeds=(0,), widths=(8,), roundings=("krivine",),
        certify="relaxation", certify_time_limit=None,
        solver="auto", tol=1e-4, time_limit=None, output=output, outputs=3,
    )  # fmt: skip


def test_ids_are_pinned():
    # A change here orphans every folder of results that people have.
    join = JoinSpec(tuple(map(path_spec, range(3))), ("a", "b", "c"))
    assert [path.id for path in join.paths] == PINNED["paths"]
    assert path_spec(1).problem_id(HALF) == PINNED["problem"]
    assert join.id == PINNED["join"]
    assert join.trial_id(next(join.trials())) == PINNED["trial"]
    assert replace(join, labels=("x", "y", "z")).id == join.id


PINNED = {
    "paths": [
        "6106f270c881db54",
        "7823b5ad31200ca9",
        "8deff79bdc008af8",
    ],
    "problem": "80a1bd19e72b2154",
    "join": "2ba8924d16e312e1",
    "trial": "fb04cab4f3dadb23",
}


def test_a_refit_is_a_join_of_narrow_paths():
    join = JoinSpec(tuple(map(path_spec, range(3))), ("a", "b", "c"), ("rbf_svm",))
    one = join.narrowed(TENTH, 8, "krivine")
    trial = replace(join.first.axes(TENTH), rounding="krivine", width=8, seed=0)
    assert list(one.trials()) == [trial]
    assert isinstance(one, JoinSpec)
    assert one.trial_id(trial) == join.trial_id(trial)
    assert one.id != join.id


def test_the_plan_says_what_will_be_done(tmp_path):
    text = plan_of(classes_config(tmp_path)).describe()
    assert "  outputs           3   one a class: 'a<b', 'b & c', 'c'\n" in text
    assert "  shards            2   fold-00, fold-01\n" in text
    assert "  trials       8 networks of 3 outputs from 12 SDPs, 6 paths\n" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"positive": "c"}},
         "data.positive is for two classes, but the target 'target' has 3 ('a<b', 'b & c', 'c'); "
         "remove it to train one output a class"),
        ({"baselines": ["spectrahedra"]},
         "baseline spectrahedra takes one output, but the target 'target' has 3 classes: remove "
         "it"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_anything_is_computed(tmp_path, changes, message):
    with pytest.raises(InputError) as error:
        plan_of(classes_config(tmp_path, **changes))
    assert str(error.value) == message
