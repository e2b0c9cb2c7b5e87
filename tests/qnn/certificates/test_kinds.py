"""A kind of certificate is one file: it is found by its name, read, checked and verified."""

import numpy as np
import pytest

import qnn
from qnn import certificates
from qnn.certificates import Certificate, kind_of, read_certificate, verify
from qnn.errors import InputError
from qnn.numerics.archive import unpack_arrays
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.repair import certify

MADE_UP = '''
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from qnn.errors import CertificateError, InputError

@dataclass(frozen=True)
class Sorted:
    """That a file's bytes are in order."""
    kind: ClassVar[str] = "sorting"
    evidence: ClassVar[str | None] = "list"
    length: int

    @classmethod
    def from_arrays(cls, arrays, where):
        if set(arrays) != {"kind", "length"}:
            raise InputError(f"{where}: not a certificate of sorting")
        return cls(int(arrays["length"]))

    def arrays(self):
        return {"kind": np.array(self.kind), "length": np.array(self.length)}

    def check(self, evidence, fast=False):
        return f"{self.verify(evidence):.0f} bytes in order"

    def verify(self, *evidence, fast=False):
        if list(evidence[0]) != sorted(evidence[0]) or len(evidence[0]) != self.length:
            raise CertificateError("not in order")
        return float(self.length)
'''


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    (tmp_path / "sorting.py").write_text(MADE_UP)
    monkeypatch.setattr(certificates, "__path__", [*certificates.__path__, str(tmp_path)])
    return {"kind": np.array("sorting"), "length": np.array(3)}


def test_a_new_kind_is_a_file(made_up):
    certificate = read_certificate(made_up, "there.npz")
    assert certificate.arrays() == made_up
    assert certificate.check(b"abc") == "3 bytes in order"
    assert verify(certificate, b"abc") == qnn.verify(certificate, b"abc") == 3.0
    with pytest.raises(qnn.CertificateError, match="not in order"):
        qnn.verify(certificate, b"acb")
    with pytest.raises(InputError, match=r"^there.npz: not a certificate of sorting"):
        read_certificate({**made_up, "more": np.array(1)}, "there.npz")


@pytest.mark.parametrize("kind", ["sorting", "record", "slack", "checker", "os", "..", "", "kind"])
def test_what_is_no_kind_is_refused_and_not_imported(kind):
    with pytest.raises(InputError, match=r"^a.npz: a certificate of the kind"):
        read_certificate({"kind": np.array(kind)}, "a.npz")


def test_the_training_problems_kinds_are_one_record():
    rng = np.random.default_rng(0)
    problem = Problem(rng.normal(size=(9, 3)), rng.normal(size=9), 0.1)
    certificate = certify(problem, problem.y)
    arrays = unpack_arrays(certificate.to_bytes(), "c.npz", "certificate")
    assert kind_of(arrays) == "relaxation"
    back = read_certificate(arrays, "c.npz")
    assert isinstance(back, Certificate)
    assert verify(back, problem.X, problem.y) >= certificate.lower_bound


@pytest.mark.parametrize("tag", [np.array(1), np.array(["a"]), np.array(b"relaxation"), None])
def test_a_file_without_a_kind_is_no_certificate(tag):
    arrays = {} if tag is None else {"kind": tag}
    assert kind_of(arrays) is None
    with pytest.raises(InputError, match="not a certificate of format 1"):
        read_certificate(arrays, "c.npz")
