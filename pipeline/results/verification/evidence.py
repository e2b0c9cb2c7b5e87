"""What verdicts rest on, read and proven once: training matrices, certificates, their bounds."""

import os
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from pipeline.configuration.kinds import Kind
from pipeline.logs.messages import one_line
from pipeline.results.folder import RunFolder, decode_table
from pipeline.results.matrices import matrices
from pipeline.results.objective import beta_max_of
from pipeline.results.verification.verdict import Failure
from qnn.certificates import Certificate, verify
from qnn.errors import NotProvenAgainError, QnnError
from qnn.features.targets import Label
from qnn.networks.quantized import QuantizedNetwork
from qnn.numerics.archive import unpack_arrays
from qnn.training.problems.vector import rows_of

# A maker of certificates states a little less than what is proven, never this much less.
STATED = 1e-6


class Evidence:
    """The matrices and certificates of a run's folder.

    `data`: the file of the training matrix, None for the one that is named; `fast`: proofs by
    enumeration are skipped, and beta_max is not computed.
    """

    def __init__(self, folder: RunFolder, data: str | None = None, fast: bool = False) -> None:
        self.folder, self.data, self.fast = folder, data, fast
        self.matrices = lru_cache(maxsize=4)(self._matrices)
        self.certificate = lru_cache(maxsize=64)(self._certificate)
        # The networks of several outputs, and the rows of one matrix, ask for each again.
        self.prove = lru_cache(maxsize=None)(self._prove)
        self.beta_max = lru_cache(maxsize=None)(self._beta_max)
        self.classes = lru_cache(maxsize=None)(self._classes)

    def _matrices(self, file: str) -> tuple[np.ndarray, np.ndarray]:
        if not file and self.data is None:
            raise Failure("it names no file of its training matrix: give one with --data")
        try:
            if self.data is not None:
                parts = os.path.abspath(self.data).rpartition("/")
                content = RunFolder.open(parts[0] or "/").read(parts[2])
            else:
                content = self.folder.read(file)
        except FileNotFoundError:
            raise Failure(f"its data {self.data or file} are missing (give --data)") from None
        return matrices(decode_table(content, file))

    def output(self, file: str, output: int, loss: str) -> tuple[np.ndarray, np.ndarray]:
        """X (n, d) and one of the target columns (n,) of a data file.

        To a margin loss rows of target 0 have no part in an output, and are left out.
        """
        X, y = self.matrices(file)
        columns = y if y.ndim == 2 else y[:, None]
        if not 0 <= output < columns.shape[1]:
            raise Failure(f"speaks of output {output}, {file} has {columns.shape[1]}")
        rows = rows_of(columns[:, output], loss)
        return np.ascontiguousarray(X[rows]), np.ascontiguousarray(columns[rows, output])

    def _certificate(self, file: str) -> Certificate:
        arrays = unpack_arrays(self.folder.read(file), file, "certificate")
        return Certificate.from_arrays(arrays, file)

    def _prove(self, file: str) -> float | None:
        """The bound that a certificate proves; None where a long proof was skipped, as asked."""
        certificate = self.certificate(file)
        stated = certificate.lower_bound
        X, y = self.output(certificate.data, certificate.output, certificate.loss)
        try:
            bound = verify(certificate, X, y, self.fast)
        except NotProvenAgainError:
            return None
        if bound - stated > STATED * max(1.0, abs(bound)):
            raise Failure(f"states the bound {stated:.10g}, but {bound:.10g} is proven")
        return bound

    def _beta_max(self, file: str, kind: Kind, weights: bytes | None) -> float | None:
        """That of a data file, all its outputs together; None where it is skipped, as asked.

        weights: those of the rows, as the bytes of float64 numbers.
        """
        if self.fast:
            return None
        counted = None if weights is None else np.frombuffer(weights)
        return beta_max_of(kind, *self.matrices(file), counted)

    def _classes(self, file: str) -> tuple[Label, ...] | None:
        """The classes, in the order of its outputs, that a network's file names."""
        network = QuantizedNetwork.from_bytes(self.folder.read(file), file)
        preprocessing = network.preprocessing
        return None if preprocessing is None else preprocessing.target.classes

    def read_all(self, files: Sequence[str]) -> list[Certificate]:
        """Certificates that a row names; `Failure` says which is missing."""
        try:
            return [self.certificate(file) for file in files]
        except FileNotFoundError:
            gone = next(file for file in files if not self.folder.exists(file))
            raise Failure(f"{gone}: the file is missing") from None

    def prove_all(self, files: Sequence[str]) -> bool:
        """Prove what a row names, `Failure` says which is not; False where one was skipped."""
        return None not in [self._prove_part(file) for file in files]

    def _prove_part(self, file: str) -> float | None:
        try:
            return self.prove(file)
        except (Failure, QnnError) as error:
            raise Failure(f"{file}: {one_line(str(error))}") from error
