"""The trusted kernel can be read alone, and a new proof is a file that nothing else knows of."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

import qnn.certificates
from qnn.certificates import proofs, verify
from qnn.certificates.claim import Claim
from qnn.certificates.record import Certificate
from qnn.errors import CertificateError, InputError, NotACertificateError
from qnn.losses import get_loss
from qnn.networks.activations import Polynomial
from qnn.training.problems.problem import Problem
from tests.qnn.bruteforce import exact_optimum
from tests.qnn.certificates.members import changed
from tests.qnn.certificates.test_old_files import FILES, ROWS

FOLDER = Path(qnn.certificates.__file__).parent
ALLOWED = ("qnn.certificates", "qnn.numerics", "qnn.losses", "qnn.errors")


def imported(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add(str(node.module))
    return {name for name in found if name.split(".")[0] in ("qnn", "pipeline")}


@pytest.mark.parametrize("file", sorted(FOLDER.rglob("*.py")), ids=lambda file: file.stem)
def test_it_imports_numerics_losses_and_errors_alone(file):
    """Wherever in the file, typing's imports too."""
    for name in imported(file):
        assert any(name == room or name.startswith(f"{room}.") for room in ALLOWED), name


def test_the_readme_states_its_size():
    files = [*FOLDER.glob("*.py"), *(FOLDER / "proofs").rglob("*.py")]
    lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)
    stated = re.search(r"are some ([\d,]+) lines", Path("README.md").read_text(encoding="utf-8"))
    assert stated is not None
    assert abs(int(stated[1].replace(",", "")) - lines) <= 100


MADE_UP = '''
from qnn.certificates.fields import number
from qnn.certificates.proofs.base import Proof
from qnn.errors import CertificateError

class AllZero(Proof):
    """M is 0 up to its errors, so its signs' products are within them."""
    name = "all_zero"
    kind = "all_zero"
    fields = {"most": number}

    def __init__(self, most):
        self.most = most

    @classmethod
    def read(cls, members):
        if "most" not in members:
            raise CertificateError("its number is missing")
        return cls(members["most"])

    def members(self):
        return {"most": self.most, "kind": self.kind}

    def fits(self, claim):
        if not self.most < claim.beta * claim.d / 2:
            raise CertificateError("its number is too large")

    def prove(self, M, radius, claim, margin):
        if not abs(M).sum() + margin * radius.sum() <= self.most:
            raise CertificateError("M is not 0")
'''


@pytest.fixture
def all_zero(tmp_path, monkeypatch):
    (tmp_path / "all_zero.py").write_text(MADE_UP)
    monkeypatch.setattr(proofs, "__path__", [*proofs.__path__, str(tmp_path)])
    proofs._classes.cache_clear()
    yield proofs.PROOFS["all_zero"]
    proofs._classes.cache_clear()


def test_a_new_proof_is_a_file(all_zero, tmp_path):
    X, y = np.eye(3), np.ones(3)
    claim = Claim(-1.0, 1.0, 3, Problem(X, y, 1.0).data_sha256)
    certificate = Certificate(claim, 1e-6 * y, all_zero(1.0))
    certificate.save(tmp_path / "c.npz")
    back = Certificate.load(tmp_path / "c.npz")
    assert (type(back.proof), back.kind, back.method) == (all_zero, "all_zero", None)
    assert 0.0 < verify(back, X, y) < 1e-5
    with pytest.raises(CertificateError, match="M is not 0"):
        verify(changed(certificate, nu=y), X, y)
    with pytest.raises(CertificateError, match="its number is too large"):
        verify(changed(certificate, most=9.0), X, y)
    with pytest.raises(NotACertificateError, match="changed: its number is missing"):
        changed(certificate, most=None)
    with pytest.raises(NotACertificateError, match="most does not belong"):
        changed(certificate, kind="exact", method="enumeration")


def test_what_is_no_certificate_is_bad_input_and_proves_nothing():
    error = NotACertificateError("x")
    assert isinstance(error, InputError)
    assert isinstance(error, CertificateError)


def problem_of(certificate: Certificate) -> Problem:
    activation = "bilinear"
    if certificate.polynomial is not None:
        activation = Polynomial(*certificate.polynomial.tolist())
    loss = get_loss(certificate.loss, certificate.loss_parameter)
    return Problem(ROWS["X"], ROWS["y"], certificate.beta, loss, activation, certificate.alphabet)


ATTACKS = {
    "nothing": lambda a: 0 * a,
    "the negative": np.negative,
    "huge": lambda a: (1e300 * a).astype(a.dtype),
    "tiny": lambda a: (5e-324 * a).astype(a.dtype),
    "a little more": lambda a: (1.001 * a).astype(a.dtype),
    "half": lambda a: (0.5 * a).astype(a.dtype),
    "nan": lambda a: (np.nan * a).astype(a.dtype),
    "inf": lambda a: (np.inf * np.ones(a.shape)).astype(a.dtype),
    "one nan": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 0, np.nan, a),
    "one less": lambda a: a[:-1],
    "one more": lambda a: np.concatenate([a, a[:1]]),
    "none": lambda a: a[:0],
    "turned": lambda a: a[::-1],
    "transposed": lambda a: np.ascontiguousarray(a.T),
    "another axis": lambda a: a[None],
    "a number": lambda a: a.ravel()[0],
    "float32": lambda a: a.astype(np.float32),
    "float16": lambda a: a.astype(np.float16),
    "int64": lambda a: np.nan_to_num(a).astype(np.int64),
    "complex": lambda a: a.astype(complex),
    "text": lambda a: a.astype(str),
    "bytes": lambda a: a.astype("S"),
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "left out": lambda a: None,
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_change_of_point_or_proof_proves_more_than_the_truth(file):
    certificate = Certificate.load(file)
    optimum = exact_optimum(problem_of(certificate))
    proof = certificate.proof
    refused = accepted = 0
    for name in ("nu", *(set(proof.fields) & set(certificate.arrays()))):
        for attack in ATTACKS.values():
            with np.errstate(all="ignore"):
                odd = attack(certificate.arrays()[name])
            try:
                other = changed(certificate, **{name: odd}, lower_bound=-1e300)
                bound = verify(other, ROWS["X"], ROWS["y"])
            except CertificateError:
                refused += 1
            else:
                accepted += 1
                assert bound <= optimum * (1.0 + 1e-7)
    assert refused > 10
    assert accepted
