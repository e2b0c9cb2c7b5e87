"""The paired comparison of kinds of weights: pairs, intervals, Holm's correction, words."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_rel

from pipeline.reports.comparison.orthogonality import (
    orthogonality_table,
    orthogonality_words,
    paired_settings,
)
from tests.pipeline.reports.comparison.test_sets import OURS, made_set, row, table

SEEDS = range(6)


def setting(kind: str, order: int = 1) -> dict[str, Any]:
    return {
        "orthogonality": kind,
        "orthogonality_order": order,
        "orthogonality_iterations": 1,
        "orthogonality_gain": True,
    }


def rows_of(arm: str, kind: str, test: Any, train: Any, **more: Any) -> list[dict[str, Any]]:
    """A network a seed and shard; the second shard's are 0.1 better."""
    reference: dict[str, Any] = {"beta": None, "beta_fraction": None, "width": None}
    own = reference if arm == "float_mlp" else {}
    return [
        row(
            arm,
            None if arm == "float_mlp" else 10.0,
            seed=seed,
            shard=f"fold-0{k}",
            test_accuracy=float(test[seed]) + 0.1 * k,
            train_accuracy=float(train[seed]),
            **{**own, **setting(kind), **more},
        )
        for seed in SEEDS
        for k in (0, 1)
    ]


@pytest.fixture
def figures() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    base = 0.7 + 0.02 * rng.standard_normal(len(SEEDS))
    noise = 0.01 * rng.standard_normal((2, len(SEEDS)))
    return {"none": base, "sn": base + noise[0], "aon": base + 0.05 + 0.1 * noise[1]}


def made(figures: dict[str, np.ndarray], **more: Any) -> Any:
    rows = [row(OURS, 10.0), row("annealing", 11.0)]
    for kind, test in figures.items():
        rows += rows_of("float_mlp", kind, test, 0.9 + 0.0 * test, **more)
    return made_set("toy", "standard", table(rows), None)


def test_differences_are_those_of_a_paired_test_over_seeds(figures: dict[str, np.ndarray]) -> None:
    found = {one.setting.split()[1]: one for one in paired_settings([made(figures)])}
    assert list(found) == ["none", "aon", "sn"]
    raw = {k: float(ttest_rel(figures[k], figures["none"]).pvalue) for k in ("aon", "sn")}
    for kind, p in raw.items():
        one = found[kind]
        assert one.difference is not None
        assert one.gap_difference is not None
        assert one.seeds == len(SEEDS)
        assert one.test == pytest.approx(figures[kind].mean() + 0.05)
        assert one.gap == pytest.approx(0.9 - figures[kind].mean() - 0.05)
        assert one.difference.p_value == pytest.approx(p)
        interval = ttest_rel(figures[kind], figures["none"]).confidence_interval(0.95)
        half = 0.5 * (interval.high - interval.low)
        assert one.difference.half_width == pytest.approx(half)
        assert one.gap_difference.difference == pytest.approx(-one.difference.difference)
    first, second = sorted(raw, key=lambda kind: raw[kind])
    assert found[first].p_holm == pytest.approx(2 * raw[first])
    assert found[second].p_holm == pytest.approx(min(1.0, max(raw[second], 2 * raw[first])))
    assert (found["none"].difference, found["none"].p_holm) == (None, None)


def test_only_seeds_and_cells_that_both_have_are_paired(figures: dict[str, np.ndarray]) -> None:
    rows = [row(OURS, 10.0), *rows_of("straight_through", "none", figures["none"], figures["none"])]
    more = rows_of("straight_through", "sn", figures["sn"], figures["sn"])
    # Seed 5 lies at another width, seed 4 has one shard.
    more = [one | {"width": 9} if one["seed"] == 5 else one for one in more]
    more = [one for one in more if (one["seed"], one["shard"]) != (4, "fold-01")]
    found = paired_settings([made_set("toy", "standard", table(rows + more), None)])
    (sn,) = [one for one in found if one.p_holm is not None]
    assert sn.seeds == 5
    assert sn.difference is not None
    assert sn.difference.difference == pytest.approx((figures["sn"] - figures["none"])[:5].mean())


def test_nothing_to_pair_is_no_table(figures: dict[str, np.ndarray]) -> None:
    for left in (["none"], ["sn", "aon"]):
        rows = paired_settings([made({kind: figures[kind] for kind in left})])
        assert (rows, orthogonality_table(rows), orthogonality_words(rows)) == ([], None, "")
    one_seed = [row(OURS, 10.0)]
    for kind in ("none", "sn"):
        one_seed += rows_of("float_mlp", kind, figures[kind], figures[kind])[:2]
    assert paired_settings([made_set("toy", "standard", table(one_seed), None)]) == []


def test_equal_networks_are_no_difference(figures: dict[str, np.ndarray]) -> None:
    same = {"none": figures["none"], "sn": figures["none"]}
    rows = paired_settings([made(same)])
    assert rows[1].p_holm == 1.0
    assert "no effect is shown" in orthogonality_words(rows)


def test_words_and_table_say_what_is_significant(figures: dict[str, np.ndarray]) -> None:
    rows = paired_settings([made(figures)])
    assert "Significant at 5 % after Holm's correction, 1 of 2: float MLP with" in (
        orthogonality_words(rows)
    )
    written = orthogonality_table(rows)
    assert written is not None
    cells = [[cell["text"] for cell in one["cells"]] for one in written["rows"]]
    titles = [one["title"] for one in written["columns"]]
    assert [one["chosen"] for one in written["rows"]] == [False, True, False]
    at = titles.index("test − none, 95 %")
    assert cells[0][at] == "–"
    assert cells[1][at].startswith("+4.91 ± 0.0")
