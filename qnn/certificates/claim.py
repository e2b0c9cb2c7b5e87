"""What a certificate of a training problem claims: the problem, and a bound of its optimum."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qnn.certificates.fields import Reader, integer, number, numbers, text
from qnn.errors import CertificateError

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Claim:
    """No network of the problem, of any width, has an objective below ``lower_bound``.

    The problem: loss and ``beta d sum |alpha|`` of networks of the activation and alphabet on d
    columns; ``polynomial``: the three coefficients where the activation is "polynomial", else
    None; ``loss_parameter``: the loss's number, None where it has none. ``data_sha256`` is that of
    the rows [x, y], with weights of [x, y, w]; ``data`` names their file and ``output`` which of
    its targets y is. ``weights`` (n,): what each row counts for in the loss, None for 1.
    """

    lower_bound: float
    beta: float
    d: int
    data_sha256: str
    loss: str = "squared"
    loss_parameter: float | None = None
    activation: str = "bilinear"
    polynomial: Array | None = None
    alphabet: str = "binary"
    output: int = 0
    data: str = ""
    weights: Array | None = None

    #: the members of a file, in its order, but for the two before the last
    fields: ClassVar[Mapping[str, Reader]] = {
        "lower_bound": number,
        "beta": number,
        "d": integer,
        "data_sha256": text,
        "loss": text,
        "loss_parameter": number,
        "activation": text,
        "polynomial": numbers(1),
        "alphabet": text,
        "output": integer,
        "data": text,
        "weights": numbers(1),
    }
    optional: ClassVar[tuple[str, ...]] = ("loss_parameter", "polynomial", "weights")

    @property
    def bilinear(self) -> bool:
        """Whether neurons are products of two; else they are polynomials of one."""
        return self.activation == "bilinear"

    @property
    def template(self) -> tuple[float, float, float] | None:
        """(a, b, c) of a polynomial activation."""
        if self.polynomial is None:
            return None
        a, b, c = (float(value) for value in self.polynomial)
        return a, b, c

    @property
    def size(self) -> int:
        """The order of M: d, or d times the bits of a weight and one for the constant."""
        return self.d if self.bilinear else self.d * len(bit_weights(self.alphabet)) + 1

    def check(self) -> None:
        """Raise CertificateError unless it speaks of a problem that there is."""
        if not (math.isfinite(self.beta) and self.beta > 0):
            raise CertificateError(f"beta must be positive (it is {self.beta})")
        if self.bilinear == (self.polynomial is not None) or (
            not self.bilinear and self.activation != "polynomial"
        ):
            raise CertificateError(f"unknown activation {self.activation!r}")
        bit_weights(self.alphabet)
        if self.polynomial is not None and not (
            self.polynomial.shape == (3,) and np.isfinite(self.polynomial).all()
        ):
            raise CertificateError("a polynomial activation has three finite coefficients")


def bit_weights(alphabet: str) -> list[float]:
    """What each binary vector of the lift counts for."""
    if alphabet == "binary":
        return [1.0]
    if alphabet == "ternary":
        return [0.5, 0.5]
    if alphabet not in ("2", "3", "4", "5", "6", "7"):
        raise CertificateError(f"unknown alphabet {alphabet!r}")
    bits = int(alphabet)
    return [2**k / (2**bits - 1) for k in range(bits)]
