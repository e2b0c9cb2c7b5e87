"""Proofs by enumeration: rerun, or skipped with --fast, which then says so."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.commands.sweep import verify_command
from pipeline.results.verification import verify_paths
from qnn.certificates import Certificate
from qnn.training.fit import train
from qnn.training.problems.problem import Problem


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 5)), rng.choice([-1.0, 1.0], 30)
    columns = {f"x{i}": X[:, i] for i in range(5)} | {"y": y}
    (tmp_path / "data").mkdir()
    (tmp_path / "certificates").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "data/all.parquet")
    certificate = train(Problem(X, y, 0.5), certify="exact").certificate
    assert certificate.kind == "exact"
    path = tmp_path / "certificates/one.npz"
    certificate.stating(data="data/all.parquet").save(path)
    return path


def test_a_proof_by_enumeration_is_rerun(file, capsys):
    (check,) = verify_paths([str(file)])
    assert (check.ok, check.proven) == (True, True)
    assert check.line.startswith(f"ok    {file}  bound ")
    assert verify_command([str(file)], None) == 0
    assert "1 files, all verified" in capsys.readouterr().out


def test_fast_skips_it_and_says_that_it_was_not_proven_again(file, capsys):
    (check,) = verify_paths([str(file)], fast=True)
    assert (check.ok, check.proven) == (True, False)
    # No number that this call has not proven.
    assert check.line == (
        f"skip  {file}  its bound was NOT proven again: its enumeration was skipped"
    )
    assert verify_command([str(file)], None, fast=True) == 0
    assert "1 files, 0 FAILED, 1 NOT proven again (--fast)" in capsys.readouterr().out


@pytest.mark.parametrize("fast", [False, True])
def test_a_false_bound_fails_either_way(file, fast):
    certificate = Certificate.load(file)
    certificate.stating(lower_bound=certificate.lower_bound * 1.01).save(file)
    (check,) = verify_paths([str(file)], fast=fast)
    assert not check.ok
    assert "it states the bound" in check.text


def test_an_infeasible_dual_point_fails_where_it_is_proven_again(file):
    certificate = Certificate.load(file)
    grown = replace(certificate, nu=1.001 * certificate.nu)
    grown.stating(lower_bound=-1.0).save(file)
    (check,) = verify_paths([str(file)])
    assert check.text == "some signs u, v exceed the budget: |u'M(nu)v| > beta * d"
