"""Training quantized two-layer networks, each with a certificate of how far from optimal it can be.

problem = qnn.Problem(X, y, beta=30.0)
trained = qnn.train(problem, seed=0)
trained.network.predict(X), trained.lower_bound, trained.gap
qnn.verify(trained.certificate, X, y)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qnn.activations import Bilinear, Polynomial
    from qnn.certificates import Certificate, verify
    from qnn.certificates.streaming import verify_stream
    from qnn.errors import CertificateError, InputError, QnnError
    from qnn.estimators import QuantizedClassifier, QuantizedRegressor
    from qnn.network import QuantizedNetwork
    from qnn.outputs import stack, unstack
    from qnn.problem import Problem
    from qnn.solvers import Relaxation, solve
    from qnn.solvers.compressed import solve_stream
    from qnn.training import Trained, train
    from qnn.vector import TrainedOutputs, VectorProblem, train_outputs
    from qnn.widths import WidthCurve, narrowest, width_curve

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
    "TrainedOutputs",
    "VectorProblem",
    "WidthCurve",
    "narrowest",
    "solve",
    "solve_stream",
    "stack",
    "train",
    "train_outputs",
    "unstack",
    "verify",
    "verify_stream",
    "width_curve",
]


# Where each public name lives. They are imported when first asked for: scipy and scikit-learn take
# seconds, and who imports qnn.errors or plans a sweep needs neither. For the same reason no module
# of this package may be called like a public name: importing it would take the name's place.
_HOMES = {
    "Bilinear": "qnn.activations",
    "Certificate": "qnn.certificates",
    "CertificateError": "qnn.errors",
    "InputError": "qnn.errors",
    "Polynomial": "qnn.activations",
    "Problem": "qnn.problem",
    "QnnError": "qnn.errors",
    "QuantizedClassifier": "qnn.estimators",
    "QuantizedNetwork": "qnn.network",
    "QuantizedRegressor": "qnn.estimators",
    "Relaxation": "qnn.solvers",
    "Trained": "qnn.training",
    "TrainedOutputs": "qnn.vector",
    "VectorProblem": "qnn.vector",
    "WidthCurve": "qnn.widths",
    "narrowest": "qnn.widths",
    "solve": "qnn.solvers",
    "solve_stream": "qnn.solvers.compressed",
    "stack": "qnn.outputs",
    "train": "qnn.training",
    "train_outputs": "qnn.vector",
    "unstack": "qnn.outputs",
    "verify": "qnn.certificates",
    "verify_stream": "qnn.certificates.streaming",
    "width_curve": "qnn.widths",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'qnn' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
