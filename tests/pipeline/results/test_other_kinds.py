"""`qnn verify` of a kind of certificate that nothing in the pipeline knows by name."""

import numpy as np
import pytest

from pipeline.results.verification import verify_paths
from qnn.certificates import Certificate
from qnn.numerics.archive import pack_arrays
from tests.qnn.certificates.members import changed_bytes
from tests.qnn.certificates.test_kinds import made_up
from tests.qnn.certificates.test_old_files import FOLDER

__all__ = ["made_up"]


@pytest.fixture
def file(made_up, tmp_path):
    path = tmp_path / "sorted.npz"
    path.write_bytes(pack_arrays(made_up))
    (tmp_path / "list.txt").write_text("abc")
    (tmp_path / "wrong.txt").write_text("acb")
    return path


def check(path, data=None):
    (found,) = verify_paths([str(path)], data=None if data is None else str(data))
    assert found.file == str(path)
    assert "\n" not in found.line
    return found.ok, found.text


def test_it_is_checked_by_its_own_module(file):
    folder = file.parent
    assert check(file, folder / "list.txt") == (True, "3 bytes in order")
    assert check(file, folder / "wrong.txt") == (False, "not in order")
    assert check(file) == (False, "is about a list: give its file with --data")
    ok, text = check(file, folder / "none.txt")
    assert not ok
    assert "none.txt: cannot be read" in text


def test_an_unknown_kind_is_refused(tmp_path):
    path = tmp_path / "c.npz"
    path.write_bytes(pack_arrays({"kind": np.array("later")}))
    ok, text = check(path)
    assert not ok
    assert "a certificate of the kind 'later', which this version of qnn does not have" in text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"kind": "faith"}, "unknown kind of certificate 'faith'"),
        ({"method": "oracle"}, "unknown method of proof 'oracle'"),
        ({"nu": None}, "not a certificate of format 1: it lacks 'nu'"),
        ({"leaves": np.ones((1, 3), dtype=np.int8)}, "leaves do not belong to the method None"),
        ({"diag": None}, "diag does not belong to this activation, or is missing"),
        ({"format": 2}, "certificate format 2 is not 1: use the version that wrote it"),
        ({"d": 3.0}, "a field of the certificate has the wrong type"),
    ],
)
def test_a_training_certificate_that_is_none_says_why(tmp_path, changes, text):
    path = tmp_path / "c.npz"
    certificate = Certificate.load(FOLDER / "diagonal_bilinear.npz")
    path.write_bytes(changed_bytes(certificate, **changes))
    assert check(path) == (False, text)
