"""Checking a run again from its files alone: nothing is solved, nothing is written.

A certificate: its data file has the digest it names, the independent checker proves its bound, and
it states that bound. A network: its objective on the training matrix, its gap, its neurons and its
bytes are those of its row, and it lies above the bound. A network of several outputs: as many
certificates, one for each output, and their sum. Any fault is a line, never a traceback.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pyarrow as pa

from pipeline.logs.messages import one_line
from pipeline.logs.redact import redact
from pipeline.results.folder import (
    CERTIFICATES,
    NETWORKS,
    RESULTS,
    RunFolder,
    decode_table,
)
from pipeline.results.ledger import LOST_SUFFIX
from pipeline.results.matrices import matrices
from pipeline.results.objective import objective_and_loss
from pipeline.results.record import NETWORK, Axes, NetworkRow, as_results, columns_for, rows_of
from qnn.certificates import Certificate, Proven, kind_of, read_certificate, verify
from qnn.errors import InputError, NotProvenAgainError, QnnError
from qnn.losses import get_loss
from qnn.networks.quantized import QuantizedNetwork
from qnn.numerics.archive import read_file, unpack_arrays
from qnn.numerics.gaps import relative_gap, sum_down
from qnn.training.arms import CEILINGS, REFERENCES

# Sums of n products in another order (other BLAS, other machine) differ by far less than this.
RELATIVE = 1e-9
# A maker of certificates states a little less than what is proven, never this much less.
STATED = 1e-6

# Arms whose rows have figures but no quantized network, so no file to check.
UNCERTIFIED = (*CEILINGS, *REFERENCES)


@dataclass(frozen=True)
class Check:
    """The verdict on one file: a line of `qnn verify`.

    `proven` is False where a long proof was skipped, as asked, and all else is right.
    """

    file: str
    ok: bool
    text: str
    proven: bool = True

    @property
    def line(self) -> str:
        """`ok    networks/….npz  objective …`."""
        verdict = "FAIL" if not self.ok else "ok  " if self.proven else "skip"
        return f"{verdict}  {self.file}  {self.text}"


class _Failure(Exception):
    """Why a file is not what it claims to be; one line."""


class _Skipped(Exception):
    """What was not proven again, where everything else is right; one line."""


def verify_paths(
    paths: Sequence[str], data: str | None = None, fast: bool = False
) -> Iterator[Check]:
    """Check run folders (paths or URIs) and single certificate or network files, in this order.

    `data` is the training matrix for single files that do not lie in a run's folder; `fast` skips
    proofs by enumeration, and their verdicts say so. Raises `InputError` where a path does not
    exist; everything else is a verdict.
    """
    for path in paths:
        if path.endswith(".npz"):
            yield _single(path, data, fast)
        else:
            yield from verify_run(path, fast)


def verify_run(location: str, fast: bool = False) -> Iterator[Check]:
    """Check all certificates and networks of a run's folder, and that every row has its files."""
    folder = RunFolder.open(location)
    files = folder.files()
    if not any(file.startswith((f"{RESULTS}/", f"{CERTIFICATES}/")) for file in files):
        raise InputError(
            f"{redact(location)}: no results or certificates in it; give a run's folder or an "
            ".npz file of one"
        )
    run = _Run(folder, fast=fast)
    yield from run.read_rows(files)
    certificates = {file for file in files if file.startswith(f"{CERTIFICATES}/")}
    certificates = {file for file in certificates if file.endswith(".npz")} | set(run.certified)
    networks = {file for file in files if file.startswith(f"{NETWORKS}/")}
    networks = {file for file in networks if file.endswith(".npz")} | set(run.networks)
    for file in sorted(certificates, key=run.order):
        yield _judge(file, run.check_certificate)
    for file in sorted(networks, key=run.order):
        yield _judge(file, run.check_network)


def verify_files(location: str, files: Sequence[str]) -> list[Check]:
    """Check some certificates and networks of a run's folder, named relative to it."""
    folder = RunFolder.open(location)
    run = _Run(folder)
    for _ in run.read_rows(folder.files(RESULTS)):
        pass  # Damaged results are the business of a check of the whole folder.
    return [
        _judge(
            file,
            run.check_certificate if file.startswith(f"{CERTIFICATES}/") else run.check_network,
        )
        for file in files
    ]


def _judge(file: str, check: Callable[[str], str]) -> Check:
    try:
        return Check(file, True, check(file))
    except _Failure as failure:
        return Check(file, False, str(failure))
    except _Skipped as skipped:
        return Check(file, True, str(skipped), proven=False)
    except FileNotFoundError:
        return Check(file, False, "the file is missing")
    except (QnnError, OSError, ValueError) as error:
        return Check(file, False, one_line(str(error).removeprefix(f"{file}: ")))


def _single(path: str, data: str | None, fast: bool = False) -> Check:
    """One file: its data are found two levels up, where its run's folder is, or given."""
    full = path if "://" in path else os.path.abspath(path)
    parts = full.rsplit("/", 2)
    folder = RunFolder.open(parts[0] if len(parts) == 3 and parts[0] else "/")
    file = "/".join(parts[1:])
    if not folder.exists(file):
        raise InputError(f"{redact(path)}: no such file")
    run = _Run(folder, data, fast)
    for _ in run.read_rows(folder.files(RESULTS)):
        pass  # Damaged results are the business of a check of the whole folder.

    def check(name: str) -> str:
        arrays = unpack_arrays(folder.read(name), path, "certificate or network")
        if kind_of(arrays) is None and "nu" not in arrays:
            return run.check_network(name)
        certificate = read_certificate(arrays, name)
        if isinstance(certificate, Certificate):
            return run.check_certificate(name)
        return _check_other(certificate, data, fast)

    verdict = _judge(file, check)
    return replace(verdict, file=path)


def _check_other(certificate: Proven, data: str | None, fast: bool) -> str:
    """What a certificate proves that is not of a training problem; `data` is its evidence."""
    evidence = None
    if certificate.evidence is not None:
        if data is None:
            raise _Failure(f"is about a {certificate.evidence}: give its file with --data")
        evidence = read_file(data, certificate.evidence)
    try:
        return certificate.check(evidence, fast)
    except NotProvenAgainError as skipped:
        raise _Skipped(str(skipped)) from None


class _Run:
    """The rows of a run by the files that they name, and the matrices read last."""

    def __init__(self, folder: RunFolder, data: str | None = None, fast: bool = False) -> None:
        self.folder, self.data, self.fast = folder, data, fast
        self.certified: dict[str, list[NetworkRow]] = defaultdict(list)
        self.networks: dict[str, NetworkRow] = {}
        self.matrices = lru_cache(maxsize=4)(self._matrices)
        self.certificate = lru_cache(maxsize=64)(self._certificate)
        # The networks of several outputs ask for each certificate again.
        self.prove = lru_cache(maxsize=None)(self._prove)

    def read_rows(self, files: Sequence[str]) -> Iterator[Check]:
        """Read the results; yields a verdict for each file of them that is not sound."""
        for file in files:
            if not file.startswith(f"{RESULTS}/") or not file.endswith(".parquet"):
                continue
            try:
                rows = rows_of(as_results(decode_table(self.folder.read(file), file)))
            except (QnnError, OSError, ValueError, pa.ArrowException) as error:
                yield Check(file, False, one_line(str(error).removeprefix(f"{file}: ")))
                continue
            if file.endswith(LOST_SUFFIX):
                continue
            yield from self._take(file, rows)

    def _take(self, file: str, rows: list[NetworkRow]) -> Iterator[Check]:
        for row in rows:
            trial, bounds, network = row.identity.trial, row.bounds, row.fit.network
            if bounds.certificate:
                self.certified[bounds.certificate].append(row)
            for name in bounds.certificates or ():
                # Checked even where the row of its own output is gone.
                self.certified.setdefault(name, [])
            if not row.fit.ok:
                continue
            if row.axes.rounding in UNCERTIFIED:
                if bounds.lower_bound is not None or network or bounds.certificate:
                    yield Check(file, False, f"trial {trial}: no proof speaks of such an arm")
                continue
            if not network or not bounds.files:
                yield Check(file, False, f"trial {trial} names no network or certificate")
            elif network in self.networks:
                yield Check(file, False, f"trial {trial}: its network is another's too")
            else:
                self.networks[network] = row

    def order(self, file: str) -> tuple[str, str]:
        """Sort key that keeps files of one training matrix together."""
        row = self.networks.get(file) or next(iter(self.certified.get(file, [])), None)
        return ("" if row is None else row.identity.data_file, file)

    def _matrices(self, file: str) -> tuple[np.ndarray, np.ndarray]:
        try:
            if self.data is not None:
                parts = os.path.abspath(self.data).rpartition("/")
                content = RunFolder.open(parts[0] or "/").read(parts[2])
            else:
                content = self.folder.read(file)
        except FileNotFoundError:
            raise _Failure(f"its data {self.data or file} are missing (give --data)") from None
        return matrices(decode_table(content, file))

    def output(self, file: str, output: int) -> tuple[np.ndarray, np.ndarray]:
        """X (n, d) and one of the target columns (n,) of a data file."""
        X, y = self.matrices(file)
        columns = y if y.ndim == 2 else y[:, None]
        if not 0 <= output < columns.shape[1]:
            raise _Failure(f"speaks of output {output}, {file} has {columns.shape[1]}")
        return X, np.ascontiguousarray(columns[:, output])

    def _certificate(self, file: str) -> Certificate:
        arrays = unpack_arrays(self.folder.read(file), file, "certificate")
        return Certificate.from_arrays(arrays, file)

    def _prove(self, file: str) -> float | None:
        """The bound that a certificate proves; None where a long proof was skipped, as asked."""
        certificate = self.certificate(file)
        stated = certificate.lower_bound
        X, y = self.output(certificate.data, certificate.output)
        try:
            bound = verify(certificate, X, y, self.fast)
        except NotProvenAgainError:
            return None
        if bound - stated > STATED * max(1.0, abs(bound)):
            raise _Failure(f"states the bound {stated:.10g}, but {bound:.10g} is proven")
        return bound

    def check_certificate(self, file: str) -> str:
        """Return what is proven; raises where it is not."""
        certificate = self.certificate(file)
        stated, bound = certificate.lower_bound, self.prove(file)
        for row in self.certified.get(file, []):
            identity = row.identity
            _same("lower_bound", row.bounds.lower_bound, stated, exact=True)
            _same("beta", row.axes.beta, certificate.beta, exact=True)
            if certificate.output != (identity.output or 0):
                raise _Failure(
                    f"speaks of output {certificate.output}, its row of {identity.output}"
                )
            if certificate.data != identity.data_file:
                raise _Failure(f"speaks of {certificate.data}, its rows of {identity.data_file}")
        if bound is None:
            raise _Skipped("its bound was NOT proven again: its enumeration was skipped")
        return f"bound {bound:.8g}"

    def check_network(self, file: str) -> str:
        """Return the objective; raises where the network is not what its row says."""
        network = QuantizedNetwork.from_bytes(self.folder.read(file), file)
        row = self.networks.get(file)
        if row is None:
            return self._check_rowless(network)
        names, identity, fit = row.bounds.files, row.identity, row.fit
        certificates = [self._read_certificate(name) for name in names]
        place = identity.data_file
        if row.bounds.certificates:
            X, y = self.matrices(place)
            outputs = list(range(y.shape[1] if y.ndim == 2 else 1))
        else:
            X, y = self.output(place, identity.output or 0)
            outputs = [identity.output or 0]
        _check_claims(row, names, certificates, place, outputs)
        # What is said of the gap is proven here, whether or not the certificates are checked too.
        skipped = None in [self._prove_part(name) for name in names]
        bound = sum_down([one.lower_bound for one in certificates])
        beta = certificates[0].beta
        objective, loss = _objective(network, X, y, beta, certificates[0])
        gap = relative_gap(objective, bound)
        _same("upper_bound", fit.upper_bound, objective)
        # At an optimal second layer the sum hardly moves with alpha, its two parts do.
        _same("loss_value", fit.loss_value, loss, scale=abs(objective))
        _same("gap", fit.gap, gap, scale=1.0)
        _same("lower_bound", row.bounds.lower_bound, bound, exact=True)
        _same("neurons", fit.neurons, network.neurons, exact=True)
        _same("bytes", fit.bytes, network.size_in_bytes, exact=True)
        if network.beta != beta or network.loss != row.axes.loss:
            raise _Failure("was made for another beta or loss than its row says")
        _same_axes(row.axes, network)
        for certificate in certificates:
            if not _same_kind(certificate, network):
                raise _Failure("its certificate speaks of networks of another kind")
        if objective < bound * (1 - np.sign(bound) * RELATIVE):
            raise _Failure(f"objective {objective:.10g} below the bound: impossible")
        if skipped:
            raise _Skipped(f"objective {objective:.8g}; its bound was NOT proven again")
        return f"objective {objective:.8g}, gap {100 * (fit.gap or 0.0):.3g} %"

    def _read_certificate(self, name: str) -> Certificate:
        try:
            return self.certificate(name)
        except FileNotFoundError:
            raise _Failure(f"{name}: the file is missing") from None

    def _prove_part(self, certificate: str) -> float | None:
        try:
            return self.prove(certificate)
        except (_Failure, QnnError) as error:
            raise _Failure(f"{certificate}: {one_line(str(error))}") from error

    def _check_rowless(self, network: QuantizedNetwork) -> str:
        if self.data is None:
            return "readable; no row speaks of it (its path is unfinished)"
        if network.beta is None or network.loss is None:
            raise _Failure("names no beta or loss, so it has no objective")
        X, y = self.matrices("")
        objective, _ = _objective(network, X, y, network.beta, None)
        return f"objective {objective:.8g}; no row to compare"


def _objective(
    network: QuantizedNetwork,
    X: np.ndarray,
    y: np.ndarray,
    beta: float,
    certificate: Certificate | None,
) -> tuple[float, float]:
    """Loss plus penalty, and the loss; its parameter stands in the certificate of its problem."""
    if network.alpha.shape[1:] != y.shape[1:]:
        raise _Failure(f"it has {_outputs(network.alpha)}, its training matrix {_outputs(y, '')}")
    parameter = network.loss_parameter if certificate is None else certificate.loss_parameter
    loss = get_loss(network.loss or "squared", parameter)
    return objective_and_loss(network, X, y, beta, loss)


def _outputs(array: np.ndarray, unit: str = " outputs") -> str:
    return f"{array.shape[1]}{unit}" if array.ndim == 2 else "one output"


def _check_claims(
    row: NetworkRow,
    names: list[str],
    certificates: list[Certificate],
    place: str,
    outputs: list[int],
) -> None:
    """One certificate for each of the row's outputs, and each speaks of the row's problem."""
    if len(certificates) != len(outputs):
        raise _Failure(f"its row names {len(names)} certificates for {len(outputs)} outputs")
    for output, name, one in zip(outputs, names, certificates, strict=True):
        if (one.output, one.data) != (output, place):
            raise _Failure(
                f"{name} speaks of output {one.output} of {one.data}, not of {output} of {place}"
            )
        if one.beta != row.axes.beta:
            raise _Failure(f"{name} speaks of beta {one.beta!r}, its row of {row.axes.beta!r}")


def _same_kind(certificate: Certificate, network: QuantizedNetwork) -> bool:
    names = ("activation", "alphabet", "loss", "loss_parameter")
    stated = None if certificate.polynomial is None else tuple(certificate.polynomial)
    return stated == network.polynomial and all(
        getattr(certificate, name) == getattr(network, name) for name in names
    )


def _same_axes(axes: Axes, network: QuantizedNetwork) -> None:
    """What a network says of itself is what its row says."""
    if axes.loss_parameter is None and axes.loss is not None:
        # Rows of earlier versions leave it out where none was given.
        axes = replace(axes, loss_parameter=get_loss(axes.loss).parameter)
    for name in columns_for(NETWORK):
        said, found = getattr(axes, name), getattr(network, name)
        if found != said:
            raise _Failure(f"its {name} is {found!r}, its row says {said!r}")


def _same(
    column: str,
    said: float | None,
    found: float,
    exact: bool = False,
    scale: float | None = None,
) -> None:
    """A number that a row states is the one that its files give."""
    size = abs(found) if scale is None else scale
    if said is None or not (said == found if exact else abs(said - found) <= RELATIVE * size):
        raise _Failure(f"its row says {column} {said!r}, its files say {found!r}")
