"""The quantized network: two-layer, weights from a small alphabet, one float scalar a neuron."""

import math
import os
import warnings
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from qnn.errors import InputError, shown
from qnn.networks.activations import Activation, Bilinear, Polynomial
from qnn.networks.alphabets import get_alphabet
from qnn.networks.codec import pack_network, unpack_network
from qnn.networks.packing import packed_second_layer
from qnn.networks.polarization import polarized
from qnn.networks.second_layers import SECOND_LAYERS, factored, steps_of
from qnn.numerics.archive import read_bytes, write_file
from qnn.numerics.arrays import floats_of

if TYPE_CHECKING:
    from qnn.features.preprocessing import Preprocessing

ACTIVATIONS = ("bilinear", "polynomial")
# Neurons evaluated at once: bounds the memory of a wide network to n·BLOCK floats a factor.
BLOCK = 4096


@dataclass(frozen=True, eq=False)
class QuantizedNetwork:
    """A network `f(x) = Σ_j α_j (xᵀu_j)(xᵀv_j)` or `f(x) = Σ_j α_j σ(xᵀu_j)`.

    U: (d, m) int8, the first-layer weights as the integer levels of the alphabet.
    V: (d, m) int8 for the bilinear activation, None for the polynomial one.
    alpha: (m,) float64, or (m, C) for C outputs. No neurons (m = 0) is the network that says 0.
    activation: "bilinear" or "polynomial"; polynomial: (a, b, c) of `σ(t) = at² + bt + c`.
    alphabet: the name of one, see `qnn.networks.alphabets.get_alphabet`.
    preprocessing: what turns raw rows into the d columns the network was trained on, or None.
    beta, loss, loss_parameter: the problem that it was trained on, where known; they change no
    prediction.
    second_layer: "float"; "common", all |alpha| are one scalar; or "2" … "8", the bits of a grid:
    alpha is one scalar times whole numbers up to `2^(bits−1) − 1`; one scalar for each output.

    The arrays are copied and made read-only, but for those that are a network's already. Raises
    InputError for shapes that do not fit, weights outside the alphabet and values that are not
    finite.
    """

    U: np.ndarray
    V: np.ndarray | None
    alpha: np.ndarray
    activation: str = "bilinear"
    alphabet: str = "binary"
    preprocessing: "Preprocessing | None" = None
    beta: float | None = None
    loss: str | None = None
    polynomial: tuple[float, float, float] | None = None
    loss_parameter: float | None = None
    second_layer: str = "float"

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise InputError(
                f"network: activation {self.activation!r} is unknown; use one of "
                + ", ".join(ACTIVATIONS)
            )
        object.__setattr__(self, "alphabet", get_alphabet(self.alphabet).name)
        bilinear = self.activation == "bilinear"
        if bilinear != (self.V is not None) or bilinear == (self.polynomial is not None):
            raise InputError(
                f"network: activation {self.activation!r} does not fit the arrays; bilinear needs "
                "U and V, polynomial needs U and the three coefficients"
            )
        alpha = _frozen(np.asarray(self.alpha, dtype=np.float64))
        if alpha.ndim not in (1, 2) or not np.isfinite(alpha).all():
            raise InputError(
                f"network: alpha must be finite and of shape (m,) or (m, C), not {_describe(alpha)}"
            )
        object.__setattr__(self, "alpha", alpha)
        object.__setattr__(self, "U", self._weights("U", self.U))
        if self.V is not None:
            object.__setattr__(self, "V", self._weights("V", self.V))
            if self.V.shape != self.U.shape:
                raise InputError(
                    f"network: U {self.U.shape} and V {self.V.shape} must have the same shape"
                )
        if self.polynomial is not None:
            coefficients = tuple(float(value) for value in self.polynomial)
            if len(coefficients) != 3:
                raise InputError("network: polynomial must be three numbers (a, b, c)")
            Polynomial(*coefficients)
            object.__setattr__(self, "polynomial", coefficients)
        object.__setattr__(self, "second_layer", str(self.second_layer))
        self._check_second_layer()
        if self.preprocessing is not None and alpha.shape[1:] != self.preprocessing.target.shape:
            raise InputError(
                f"network: alpha has shape {alpha.shape}, but the preprocessing codes "
                + _outputs(self.preprocessing.target.shape)
            )
        if self.beta is not None and not (math.isfinite(self.beta) and self.beta > 0):
            raise InputError(f"network: beta must be a positive number, not {shown(self.beta)}")

    def _check_second_layer(self) -> None:
        written = tuple(map(str, SECOND_LAYERS))
        if self.second_layer not in written:
            raise InputError(
                f"network: second_layer {self.second_layer!r} is unknown; use one of "
                + ", ".join(written)
            )
        if self.second_layer == "float" or not self.alpha.size:
            return
        bits = 2 if self.second_layer == "common" else int(self.second_layer)
        for size in np.abs(self.alpha).reshape(len(self.alpha), -1).T:
            if steps_of(size, 2 ** (bits - 1) - 1) is None:
                raise InputError(
                    f"network: alpha does not lie on the grid of second_layer {self.second_layer!r}"
                )

    def _weights(self, name: str, weights: np.ndarray) -> np.ndarray:
        given = np.asarray(weights)
        if given.ndim != 2 or given.shape[1] != len(self.alpha):
            raise InputError(
                f"network: {name} has shape {given.shape} but must be (d, {len(self.alpha)}), one "
                "column for each row of alpha"
            )
        alphabet = get_alphabet(self.alphabet)
        if not alphabet.contains(given):
            raise InputError(
                f"network: {name} has weights outside the {alphabet.name} alphabet "
                f"{{{', '.join(map(str, alphabet.levels))}}}"
            )
        return _frozen(given.astype(np.int8, copy=False))

    @property
    def d(self) -> int:
        """Columns of the matrix that the network reads."""
        return int(self.U.shape[0])

    @property
    def nonlinearity(self) -> Activation:
        """The activation with its coefficients."""
        return Bilinear() if self.polynomial is None else Polynomial(*self.polynomial)

    @property
    def neurons(self) -> int:
        """Width m."""
        return int(self.U.shape[1])

    @property
    def scalars(self) -> int:
        """Distinct float64 numbers the second layer needs.

        One for each entry of alpha (of C outputs: each that is not 0, where a map of those is
        smaller than the zeros); a single one an output where all its `|α|` are equal, because the
        bilinear neuron's sign folds into u (`−(xᵀu)(xᵀv) = (xᵀ(−u))(xᵀv)`). A polynomial neuron has
        no such symmetry, so there its α must be equal, sign included; unless the second layer is on
        a grid, which stores steps beside one scalar an output. No neurons need none.
        """
        return self._packed[0]

    @property
    def _packed(self) -> tuple[int, int]:
        pairs = self.preprocessing is not None and self.preprocessing.target.pairs
        return packed_second_layer(self.alpha, self.second_layer, self.V is not None, pairs)

    @property
    def size_in_bytes(self) -> int:
        """`ceil(bits / 8)` for everything packed plus 8 for each scalar.

        Bits a weight: binary 1, ternary 2, an M-bit alphabet M, for the entries of U, and of V
        where there is one. A second layer on a grid of K bits adds K for each alpha and has one
        scalar; a common one adds a sign for each polynomial neuron, where signs differ. C outputs
        share the weights; what their second layer takes, with one bit of a map for each entry of
        alpha, says `qnn.networks.packing`. The preprocessing is counted apart
        (`preprocessing.size_in_bytes`).
        """
        entries = self.U.size + (self.V.size if self.V is not None else 0)
        scalars, bits = self._packed
        return math.ceil((get_alphabet(self.alphabet).bits * entries + bits) / 8) + 8 * scalars

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Raw `f` on rows as the solver saw them: X (n, d) → (n,), or (n, C) for C outputs.

        No preprocessing is applied here (`scores` does that). Raises InputError for another number
        of columns and for values that are not finite.
        """
        X = floats_of(X, "X")
        if X.ndim != 2 or X.shape[1] != self.d:
            raise InputError(
                f"network: X has shape {X.shape} but the network reads {self.d} columns; give rows "
                "as the solver saw them, or raw rows to `predict`"
            )
        if not np.isfinite(X).all():
            raise InputError("network: X has values that are not finite; impute or drop those rows")
        parts, factor = self.summed
        f = np.zeros((len(X), *parts.shape[1:]))
        for start in range(0, self.neurons, BLOCK):
            block = slice(start, start + BLOCK)
            f += self._hidden(X, block) @ parts[block]
        return f * factor

    def _hidden(self, X: np.ndarray, block: slice) -> np.ndarray:
        """Outputs of these neurons; of bilinear ones on whole levels, which `summed` divides by."""
        if self.V is not None:
            U, V = (weights[:, block].astype(np.float64) for weights in (self.U, self.V))
            return self.nonlinearity.hidden(X, U, V)
        U = get_alphabet(self.alphabet).decode(self.U[:, block])
        return self.nonlinearity.hidden(X, U, None)

    @cached_property
    def summed(self) -> tuple[np.ndarray, np.ndarray]:
        """The second layer as sums take it: parts, of alpha's shape, and a factor for each output.

        See `qnn.networks.second_layers.factored`. A bilinear neuron's output is counted in the
        integer levels of its weights there.
        """
        divisor = get_alphabet(self.alphabet).divisor if self.V is not None else 1
        return factored(self.alpha, self.second_layer, float(divisor**2))

    def scores(self, table: Any, strict: bool = False) -> np.ndarray:
        """`f` on raw rows: through the preprocessing where the network carries one.

        Categories that no training row has are none of those known: they are counted in a warning,
        or with `strict` refused by InputError.
        """
        if self.preprocessing is None:
            return self.decision_function(table)
        _tell_unseen(self.preprocessing.layout.unseen(table), strict)
        return self.decision_function(self.preprocessing.transform(table))

    def class_scores(self, table: Any) -> np.ndarray:
        """`scores`, of classes in pairs as one score a class, (n, C): see `TargetCoding`."""
        scores = self.scores(table)
        target = None if self.preprocessing is None else self.preprocessing.target
        return scores if target is None else target.class_scores(scores)

    def predict(self, table: Any, strict: bool = False) -> np.ndarray:
        """Labels (n,) where the preprocessing has classes, else `f` in units of the targets.

        `table`: raw rows as a data frame or table (pandas, polars, pyarrow), a mapping from names
        to columns, or an array of all columns; without a preprocessing the matrix X. `strict`: as
        for `scores`.
        """
        scores = self.scores(table, strict)
        return scores if self.preprocessing is None else self.preprocessing.decode(scores)

    def to_ternary(self) -> "QuantizedNetwork":
        """The same function with weights {−1, 0, 1} and the activation t², of twice the width.

        Its objective and certificate stay those of the bilinear network (see `polarization.py`).
        Raises InputError for a network that is not bilinear with binary weights.
        """
        if self.V is None or self.alphabet != "binary":
            raise InputError(
                "to_ternary needs a bilinear network with binary weights (got activation "
                f"{self.activation!r}, alphabet {self.alphabet!r})"
            )
        U, alpha = polarized(self.U, self.V, self.alpha)
        return replace(
            self,
            U=U,
            V=None,
            alpha=alpha,
            activation="polynomial",
            polynomial=(1.0, 0.0, 0.0),
            alphabet="ternary",
            second_layer="float",
        )

    def to_bytes(self) -> bytes:
        """The network's npz file as bytes; equal networks give equal bytes."""
        return pack_network({field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "network") -> "QuantizedNetwork":
        """The network in an npz file's bytes; `where` names it in messages.

        Raises InputError, one line, for damaged, foreign or inconsistent content.
        """
        values = unpack_network(data, where)
        try:
            return cls(**values)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the npz file, under a temporary name first: never half a file at `path`."""
        write_file(path, self.to_bytes())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "QuantizedNetwork":
        """Read a file made by `save`; InputError, one line, if it is not one or is damaged."""
        return cls.from_bytes(read_bytes(path, "network"), str(path))


def _tell_unseen(unseen: dict[str, int], strict: bool) -> None:
    if not unseen:
        return
    listed = ", ".join(f"'{name}' in {count} rows" for name, count in unseen.items())
    said = f"categories that were not seen in training: {listed}"
    if strict:
        raise InputError(f"{said}; correct them, or predict without strict")
    warnings.warn(said, UserWarning, stacklevel=4)


def _outputs(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} outputs" if shape else "one output"


def _frozen(array: np.ndarray) -> np.ndarray:
    if array.flags.owndata and array.flags.c_contiguous and not array.flags.writeable:
        # Nobody else can write to it: that of another network, as `replace` hands it on.
        return array
    copy = np.array(array, order="C")
    copy.flags.writeable = False
    return copy


def _describe(array: np.ndarray) -> str:
    return f"shape {array.shape}" + ("" if np.isfinite(array).all() else " with nan or inf")
