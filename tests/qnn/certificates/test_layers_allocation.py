"""Certificates of how bits are spread over groups: bounds below every choice, nothing tampered."""

import itertools
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from qnn.certificates.layers.allocation import (
    Parts,
    lagrangian_bound,
    table_bound,
    verify_choice,
)
from qnn.errors import CertificateError

Array = np.ndarray


def test_the_lagrangian_bound_is_below_every_choice_and_exact() -> None:
    rng = np.random.default_rng(0)
    cost, size = rng.exponential(size=(5, 3)), rng.integers(1, 9, (5, 3)).astype(float)
    budget = float(size.min(axis=1).sum() + 6)
    feasible = {
        c: cost[range(5), list(c)].sum()
        for c in itertools.product(range(3), repeat=5)
        if size[range(5), list(c)].sum() <= budget
    }
    for multiplier in (0.0, 0.01, 0.1, 1.0, 10.0):
        assert float(lagrangian_bound(cost, size, budget, multiplier)) <= min(feasible.values())
    choice = np.array(min(feasible, key=lambda c: feasible[c]))
    bound = float(lagrangian_bound(cost, size, budget, 0.1)) - 1e-12
    assert verify_choice(cost, size, budget, choice, 0.1, bound) == pytest.approx(
        min(feasible.values())
    )
    for broken in (
        {"bound": min(feasible.values()) + 1e-6},
        {"bound": np.nan},
        {"multiplier": -1.0},
        {"budget": 1.0},
        {"choice": choice + 3},
        {"choice": choice[:-1]},
        {"cost": np.full_like(cost, np.inf)},
        {"size": size[:, :2]},
    ):
        arguments: dict[str, Any] = {
            "cost": cost,
            "size": size,
            "budget": budget,
            "choice": choice,
            "multiplier": 0.1,
            "bound": bound,
        }
        with pytest.raises(CertificateError):
            verify_choice(**{**arguments, **broken})


def parted(seed: int, layers: int = 2) -> tuple[Array, Array, Parts, dict[tuple[int, ...], float]]:
    """Costs and sizes of groups in layers, and every choice's whole size, parts counted."""
    rng = np.random.default_rng(seed)
    cost, size = rng.exponential(size=(5, 3)), rng.integers(1, 9, (5, 3)).astype(float)
    layer = np.sort(np.concatenate([np.arange(layers), rng.integers(0, layers, 5 - layers)]))
    kind = rng.permutation([0, 1, 1])
    parts = Parts(layer, kind, rng.integers(0, 5, (layers, 2)).astype(float))
    sizes = {}
    for c in itertools.product(range(3), repeat=5):
        total = size[range(5), list(c)].sum()
        for k in range(layers):
            used = {int(kind[c[g]]) for g in range(5) if layer[g] == k}
            total += (len(used) - 1) * parts.more[k, 0] + (len(used) > 1) * parts.more[k, 1]
        sizes[c] = float(total)
    return cost, size, parts, sizes


@pytest.mark.parametrize("seed", range(12))
def test_the_table_gives_the_enumerated_optimum_with_parts(seed: int) -> None:
    cost, size, parts, sizes = parted(seed, 1 + seed % 3)
    budget = min(sizes.values()) + float(seed)
    values = {c: cost[range(5), list(c)].sum() for c, s in sizes.items() if s <= budget}
    best = min(values.values())
    exactly = table_bound(cost, size, budget, parts)
    assert exactly <= Fraction(best) * (1 + Fraction(1, 10**15))
    found = float(exactly) * (1.0 - 1e-15)
    assert found == pytest.approx(best, rel=1e-12)
    for multiplier in (0.0, 0.05, 0.3):
        assert float(lagrangian_bound(cost, size, budget, multiplier, parts)) <= best
    choice = np.array(min(values, key=lambda c: values[c]))
    assert parts.of(choice) + size[range(5), choice].sum() == sizes[tuple(choice.tolist())]
    assert verify_choice(cost, size, budget, choice, 0.0, found, parts) == pytest.approx(best)
    with pytest.raises(CertificateError, match="only"):
        verify_choice(cost, size, budget, choice, 0.0, found + 1e-9, parts)
    most = np.array(max(sizes, key=lambda c: sizes[c]))
    with pytest.raises(CertificateError, match="exceeds"):
        verify_choice(cost, size, sizes[tuple(most.tolist())] - 1.0, most, 0.0, 0.0, parts)


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e-5, 1e300])
def test_the_table_never_claims_more_at_any_scale_or_rounding(
    scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(6):
        cost, size, parts, sizes = parted(seed)
        cost = np.rint(8 * cost) * scale / 8 if scale < 1e-300 else cost * scale / 100
        budget = min(sizes.values()) + 3.5
        best = min(
            sum(Fraction(float(cost[g, k])) for g, k in enumerate(c))
            for c, s in sizes.items()
            if s <= budget
        )
        exact = table_bound(cost, size, budget, parts)
        assert exact <= best
        # Fractional sizes, and sizes rounded down to a coarser unit, lie lower.
        assert table_bound(cost, size + 0.25, budget + 1.25, parts) <= best
        with monkeypatch.context() as patched:
            patched.setattr("qnn.certificates.layers.allocation._WORK", 60)
            assert table_bound(cost, size, budget, parts) <= exact


def test_odd_parts_and_numbers_prove_nothing() -> None:
    cost, size, parts, _ = parted(0)
    for broken in (
        replace(parts, layer=parts.layer[:-1]),
        replace(parts, layer=parts.layer + 1),
        replace(parts, layer=parts.layer.astype(float)),
        replace(parts, kind=parts.kind[:-1]),
        replace(parts, kind=parts.kind.astype(float)),
        replace(parts, more=parts.more[:1]),
        replace(parts, more=-1.0 - parts.more),
        replace(parts, more=np.full_like(parts.more, np.nan)),
        replace(parts, more=np.full_like(parts.more, 1e300)),
        replace(parts, more=parts.more[:, :1]),
    ):
        for bound in (table_bound, lambda c, s, b, p: lagrangian_bound(c, s, b, 0.1, p)):
            with pytest.raises(CertificateError):
                bound(cost, size, 40.0, broken)
    for change in ({"cost": -cost}, {"size": -size}, {"size": size * 1e300}, {"budget": 0.0},
                   {"budget": np.nan}, {"cost": np.full_like(cost, np.nan)}):  # fmt: skip
        with pytest.raises(CertificateError):
            table_bound(**{"cost": cost, "size": size, "budget": 40.0, "parts": parts, **change})
