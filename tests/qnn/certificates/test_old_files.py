"""Certificates written before proofs had classes of their own: read, proven, and written alike."""

from pathlib import Path

import numpy as np
import pytest

from qnn.certificates import Certificate, verify
from qnn.certificates.blockwise import verify_blocks
from qnn.certificates.proofs import PROOFS
from qnn.certificates.streaming import verify_stream
from qnn.numerics.blocks import LocalBlocks

FOLDER = Path(__file__).parents[2] / "data" / "certificates"
CUTS = [13, 26]
FILES = sorted(FOLDER.glob("*_*.npz"))
ROWS = np.load(FOLDER / "rows.npz")


def test_there_is_one_of_every_proof_and_activation():
    rowwise = {
        f"{name}_{activation}"
        for name in set(PROOFS) - {"streamed", "blocks"}
        for activation in ("bilinear", "polynomial")
    }
    # Leaves of agreements are of two sign vectors: the bilinear activation's.
    rowwise.remove("agreements_polynomial")
    assert {file.stem for file in FILES} == rowwise | {"diagonal_huber"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_is_proven_and_written_byte_for_byte(file, tmp_path):
    certificate = Certificate.load(file)
    assert certificate.proof.name == file.stem.split("_")[0]
    bound = verify(certificate, ROWS["X"], ROWS["y"])
    assert 0.0 < certificate.lower_bound <= bound <= certificate.lower_bound * (1.0 + 1e-6)
    certificate.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == file.read_bytes()


def test_so_is_a_compressed_one():
    file = FOLDER / "streamed.npz"
    certificate = Certificate.load(file)
    assert certificate.proof.name == "streamed"
    bound = verify_stream(certificate, [(ROWS["X_stream"], ROWS["y_stream"])])
    assert 0.0 < certificate.lower_bound <= bound
    assert certificate.to_bytes() == file.read_bytes()


def test_so_is_one_over_blocks():
    file = FOLDER / "blocks.npz"
    certificate = Certificate.load(file)
    assert certificate.proof.name == "blocks"
    pairs = zip(*(np.split(ROWS[name], CUTS) for name in ("X_stream", "y_stream")), strict=True)
    bound = verify_blocks(certificate, LocalBlocks([[pair] for pair in pairs]))
    assert 0.0 < certificate.lower_bound <= bound
    assert certificate.to_bytes() == file.read_bytes()
