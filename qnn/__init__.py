"""Training quantized two-layer networks, each with a certificate of how far from optimal it can be.

problem = qnn.Problem(X, y, beta=30.0)
trained = qnn.train(problem, seed=0)
trained.network.predict(X), trained.lower_bound, trained.gap
qnn.verify(trained.certificate, X, y)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qnn.certificates import Certificate, verify
    from qnn.certificates.blockwise import verify_blocks
    from qnn.certificates.streaming import verify_stream
    from qnn.errors import CertificateError, InputError, QnnError
    from qnn.networks.activations import Bilinear, Polynomial
    from qnn.networks.quantized import QuantizedNetwork
    from qnn.networks.stacks import stack, unstack
    from qnn.numerics.blocks import LocalBlocks
    from qnn.training.estimators import QuantizedClassifier, QuantizedRegressor
    from qnn.training.fit import Trained, train
    from qnn.training.outputs import TrainedOutputs, train_outputs
    from qnn.training.problems.problem import Problem
    from qnn.training.problems.vector import VectorProblem
    from qnn.training.relaxation import Relaxation, solve
    from qnn.training.relaxation.blocks.solve import solve_blocks
    from qnn.training.relaxation.streaming.solve import solve_stream
    from qnn.training.widths import WidthCurve, narrowest, width_curve

__all__ = [
    "Bilinear",
    "Certificate",
    "CertificateError",
    "InputError",
    "LocalBlocks",
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
    "solve_blocks",
    "solve_stream",
    "stack",
    "train",
    "train_outputs",
    "unstack",
    "verify",
    "verify_blocks",
    "verify_stream",
    "width_curve",
]


# Where each public name lives. They are imported when first asked for: scipy and scikit-learn take
# seconds, and who imports qnn.errors or plans a sweep needs neither. For the same reason no module
# of this package may be called like a public name: importing it would take the name's place.
_HOMES = {
    "Bilinear": "qnn.networks.activations",
    "Certificate": "qnn.certificates",
    "CertificateError": "qnn.errors",
    "InputError": "qnn.errors",
    "LocalBlocks": "qnn.numerics.blocks",
    "Polynomial": "qnn.networks.activations",
    "Problem": "qnn.training.problems.problem",
    "QnnError": "qnn.errors",
    "QuantizedClassifier": "qnn.training.estimators",
    "QuantizedNetwork": "qnn.networks.quantized",
    "QuantizedRegressor": "qnn.training.estimators",
    "Relaxation": "qnn.training.relaxation",
    "Trained": "qnn.training.fit",
    "TrainedOutputs": "qnn.training.outputs",
    "VectorProblem": "qnn.training.outputs",
    "WidthCurve": "qnn.training.widths",
    "narrowest": "qnn.training.widths",
    "solve": "qnn.training.relaxation",
    "solve_blocks": "qnn.training.relaxation.blocks.solve",
    "solve_stream": "qnn.training.relaxation.streaming.solve",
    "stack": "qnn.networks.stacks",
    "train": "qnn.training.fit",
    "train_outputs": "qnn.training.outputs",
    "unstack": "qnn.networks.stacks",
    "verify": "qnn.certificates",
    "verify_blocks": "qnn.certificates.blockwise",
    "verify_stream": "qnn.certificates.streaming",
    "width_curve": "qnn.training.widths",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'qnn' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
