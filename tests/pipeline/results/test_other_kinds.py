"""`qnn verify` of a kind of certificate that nothing in the pipeline knows by name."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.results.matrices import data_table
from pipeline.results.verification import verify_paths
from qnn import solve_stream
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


@pytest.fixture
def streamed(tmp_path):
    """A streamed certificate and the file of its rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5))
    y = np.sign(X[:, 0] * X[:, 1] + 0.3)
    solved = solve_stream([(X[:150], y[:150]), (X[150:], y[150:])], beta=5.0)
    solved.certificate.save(tmp_path / "streamed.npz")
    pq.write_table(data_table(X, y), tmp_path / "rows.parquet", row_group_size=64)
    y[7] = -y[7]
    pq.write_table(data_table(X, y), tmp_path / "other.parquet")
    return tmp_path / "streamed.npz"


def test_a_streamed_certificate_is_checked_with_its_rows(streamed, monkeypatch):
    monkeypatch.setattr("pipeline.results.matrices.BLOCK_ROWS", 41)
    ok, text = check(streamed, streamed.parent / "rows.parquet")
    assert ok
    assert text == f"bound {Certificate.load(streamed).lower_bound:.8g}, row by row"
    for data, said in {
        None: "--data", "other.parquet": "not proven", "none.parquet": "missing",
        "streamed.npz": "not a sound Parquet",
    }.items():  # fmt: skip
        ok, text = check(streamed, None if data is None else streamed.parent / data)
        assert not ok
        assert said in text
