"""The numpy checker of docs/formats.md: every kind of certificate, and none that is changed."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from qnn.certificates import Certificate
from qnn.certificates.proofs.cuts import CutsProof
from qnn.certificates.proofs.diagonal import DiagonalProof
from qnn.losses import get_loss
from qnn.networks.activations import Activation, Bilinear, Polynomial
from qnn.training.fit import train
from qnn.training.pricing import exact
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.choice import solve
from qnn.training.relaxation.tightening import branch, tighten
from tests.test_docs import blocks

RELU = Polynomial(0.0937, 0.5, 0.4688)
SQUARE = Polynomial(1.0, 0.0, 0.0)


@dataclass(frozen=True)
class Case:
    kind: str
    activation: Activation
    loss: str = "squared"
    alphabet: str | int = "binary"
    leaves: bool = False
    weighted: bool = False
    agreements: bool = False

    @property
    def name(self) -> str:
        how = "leaves" if self.leaves else self.kind
        how = "agreements" if self.agreements else how
        how = f"weighted-{how}" if self.weighted else how
        return f"{how}-{self.activation.name}-{self.loss}-{self.alphabet}"


CASES = [
    *(Case("relaxation", Bilinear(), loss)
      for loss in ("squared", "logistic", "hinge", "squared_hinge", "huber", "absolute")),
    Case("relaxation", RELU),
    Case("relaxation", RELU, alphabet="ternary"),
    Case("relaxation", RELU, alphabet=2),
    Case("tightened", Bilinear()),
    Case("tightened", Bilinear(), agreements=True),
    Case("tightened", RELU),
    Case("tightened", SQUARE, alphabet=2),
    Case("exact", Bilinear()),
    Case("exact", Bilinear(), "logistic"),
    Case("exact", RELU),
    Case("exact", RELU, alphabet=2),
    Case("exact", Bilinear(), leaves=True),
    Case("exact", RELU, leaves=True),
    Case("exact", SQUARE, leaves=True),
    *(Case("relaxation", Bilinear(), loss, weighted=True)
      for loss in ("squared", "logistic", "hinge", "squared_hinge", "huber", "absolute")),
    Case("tightened", RELU, weighted=True),
    Case("exact", Bilinear(), "logistic", weighted=True),
]  # fmt: skip

# What is written over the fields, and what the checker then says.
CHANGES: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "a bound above the dual value": (
        lambda c: {"lower_bound": c["lower_bound"] + 1e-6 * abs(c["lower_bound"])},
        "below the bound",
    ),
    "a larger dual point": (
        lambda c: {"nu": 1.01 * c["nu"], "lower_bound": -1e9},
        "budget|semidefinite|outside",
    ),
    "smaller weights": (lambda c: {"weights": 0.5 * c["weights"]}, "data differ"),
    "a smaller budget": (lambda c: {"beta": 0.999 * c["beta"]}, "budget"),
    "other data": (lambda c: {"data_sha256": c["data_sha256"].item()[::-1]}, "data differ"),
    "a smaller diagonal": (
        lambda c: {name: a - 1e-3 * np.abs(a).max() for name, a in c.items() if name[:4] == "diag"},
        "semidefinite",
    ),
    "an inequality that is not true": (
        lambda c: {"cuts": np.vstack([2 * c["cuts"][:1], c["cuts"][1:]])},
        "not true",
    ),
    "a negative multiplier": (
        lambda c: {
            name: np.append(-c[name][:1], c[name][1:]) for name in c if name.endswith("multipliers")
        },
        "not true",
    ),
    "larger multipliers": (
        lambda c: {name: 1.1 * c[name] for name in c if name.endswith("multipliers")},
        "semidefinite",
    ),
    "a leaf left out": (
        lambda c: {"leaves": c["leaves"][1:]},
        "left out",
    ),
    "a leaf's number lowered": (
        lambda c: {"leaf_diagonals": np.float32(0.99) * c["leaf_diagonals"]},
        "semidefinite",
    ),
}
NEEDS = {
    "smaller weights": ("weights",),
    "a smaller diagonal": ("diag", "diag_positive", "diagonals"),
    "an inequality that is not true": ("cuts",),
    "a negative multiplier": ("cuts",),
    "larger multipliers": ("cuts",),
    "a leaf left out": ("leaves",),
    "a leaf's number lowered": ("leaf_diagonals",),
}


@pytest.fixture(scope="module")
def proven() -> Callable[..., float]:
    _, code = blocks("docs/formats.md", "python")
    assert "qnn" not in code.replace("`qnn verify`", "")
    names: dict[str, Any] = {}
    exec(code, names)
    found: Callable[..., float] = names["proven"]
    return found


def certified(case: Case) -> tuple[Certificate, Problem]:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(40, 5 if case.alphabet == "binary" else 3))
    y = np.sign(X[:, 0] * X[:, 1] + X[:, 2] + 0.3 * rng.normal(size=len(X)))
    loss = get_loss(case.loss, 0.5 if case.loss == "huber" else None)
    weights = rng.uniform(0.3, 4.0, len(X)) if case.weighted else None
    largest = Problem(X, y, 1.0, loss, case.activation, case.alphabet, weights)
    problem = largest.with_beta(0.1 * largest.beta_max)
    if case.agreements:
        tightened = tighten(solve(problem, tol=1e-4))
        assert tightened.state is not None
        best = branch(tightened.state, tightened.certificate, np.inf, most_leaves=3)
        return best.certificate, problem
    return train(problem, certify=case.kind).certificate, problem


def file_of(arrays: dict[str, Any]) -> io.BytesIO:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    stream.seek(0)
    return stream


def outcome(proven: Callable[..., float], file: io.BytesIO, X: np.ndarray, y: np.ndarray) -> str:
    try:
        return f"accepted: {proven(file, X, y)}"
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_kind_is_proven_and_no_changed_one(
    proven: Callable[..., float], case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case.leaves:
        monkeypatch.setattr(exact, "ENUMERATED", 1)
        monkeypatch.setattr(exact, "ENUMERATED_FORMS", 1)
    certificate, problem = certified(case)
    assert certificate.kind == case.kind
    arrays, X, y = certificate.arrays(), problem.X, problem.y
    assert ("leaves" in arrays) == (case.leaves or case.agreements)
    assert len(arrays.get("leaves", "ab")) > 1
    assert proven(file_of(arrays), X, y) == certificate.lower_bound > 0.0
    with pytest.raises(ValueError, match="the data differ"):
        proven(file_of(arrays), X + 1e-9, y)
    for name, (change, message) in CHANGES.items():
        if name not in NEEDS or any(field in arrays for field in NEEDS[name]):
            said = outcome(proven, file_of({**arrays, **change(arrays)}), X, y)
            assert re.search(message, said), name
    if case.loss != "squared":
        outside = {**arrays, "nu": -1e3 * arrays["nu"], "lower_bound": np.array(-1e9)}
        assert "outside the domain" in outcome(proven, file_of(outside), X, y)


@pytest.mark.parametrize("activation", [Bilinear(), RELU])
def test_a_tightened_certificate_may_have_no_inequality(
    proven: Callable[..., float], activation: Activation
) -> None:
    certificate, problem = certified(Case("relaxation", activation))
    width = 2 * problem.d if activation == Bilinear() else problem.lift.size
    assert isinstance(certificate.proof, DiagonalProof)
    none = np.zeros((0, width), dtype=np.int8), np.zeros(0)
    empty = replace(certificate, proof=CutsProof(certificate.proof.diagonals, *none))
    assert proven(file_of(empty.arrays()), problem.X, problem.y) == certificate.lower_bound
