"""The arms that a user would try instead of the relaxation, one a file.

`QUANTIZED` arms make a network with the problem's own weights: `arm(problem, width, seconds, rng)
-> QuantizedNetwork`. `CEILINGS` have float weights: `arm(problem, seconds) -> FloatNetwork`.
`REFERENCES` are scikit-learn's classifiers: `arm(X, labels, seed) -> a fitted estimator`. Every
lower bound lies below the objective of every QUANTIZED arm, and says nothing about the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from qnn.errors import InputError

QUANTIZED = ("straight_through", "rounded_floats", "random_signs", "annealing")
CEILINGS = ("spectrahedra",)
REFERENCES = ("logistic_regression", "rbf_svm", "gradient_boosting")
ALL = (*QUANTIZED, *CEILINGS, *REFERENCES)


def get_arm(name: str) -> Any:
    """The arm of this name, a function; InputError for another name."""
    if name not in ALL:
        raise InputError(f"baseline {name!r} is not known: choose one of {', '.join(ALL)}")
    # Only now: the arms need the solvers' libraries, their names do not.
    room = "references." if name in REFERENCES else ""
    return getattr(import_module(f"{__name__}.{room}{name}"), name)
