"""Training quantized two-layer networks, each with a certificate of how far from optimal it can be.

    problem = qnn.Problem(X, y, beta=30.0)
    trained = qnn.train(problem, seed=0)
    trained.network.predict(X), trained.lower_bound, trained.gap
    qnn.verify(trained.certificate, X, y)
"""

from typing import TYPE_CHECKING

from qnn.activations import Bilinear, Polynomial
from qnn.certificates import Certificate, verify
from qnn.errors import CertificateError, InputError, QnnError
from qnn.network import QuantizedNetwork
from qnn.problem import Problem
from qnn.solvers import Relaxation, solve
from qnn.train import Trained, train

if TYPE_CHECKING:
    from qnn.estimators import QuantizedClassifier, QuantizedRegressor

__all__ = [
    "Bilinear",
    "Certificate",
    "CertificateError",
    "InputError",
    "Polynomial",
    "Problem",
    "QnnError",
    "QuantizedClassifier",
    "QuantizedNetwork",
    "QuantizedRegressor",
    "Relaxation",
    "Trained",
    "solve",
    "train",
    "verify",
]


def __getattr__(name: str) -> object:
    # The estimators bring scikit-learn, which takes seconds to import: only who asks waits.
    if name in ("QuantizedClassifier", "QuantizedRegressor"):
        from qnn import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module 'qnn' has no attribute {name!r}")
