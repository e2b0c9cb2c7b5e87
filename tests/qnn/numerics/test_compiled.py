import os
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core import caching

from qnn.numerics.compiled import compiled


def doubled(value):
    return 2.0 * value


def test_a_kernel_is_kept_on_disk():
    kernel = compiled(nogil=True)(doubled)
    assert kernel(1.5) == 3.0
    assert kernel.targetoptions["nogil"]
    assert not isinstance(kernel._cache, caching.NullCache)


def test_where_nothing_can_be_written_it_is_compiled_in_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(caching.CompileResultCacheImpl, "_locator_classes", [])
    kernel = compiled(nogil=True)(doubled)
    assert kernel(1.5) == 3.0
    assert isinstance(kernel._cache, caching.NullCache)


SOLVED = """
import numpy as np, qnn
for n, d in ((30, 4), (60, 6), (200, 20)):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d))
    problem = qnn.Problem(X, np.sign(X[:, 0] * X[:, 1] + 0.3 * rng.normal(size=n)), beta=2.0)
    for tol in (1e-2, 1e-4):
        trained = qnn.train(problem, tol=tol, seed=0)
        print(repr(trained.lower_bound), repr(trained.objective))
"""


@pytest.mark.slow
def test_the_process_that_compiles_computes_what_the_next_ones_do(tmp_path: Path):
    said = [
        subprocess.run(
            [sys.executable, "-c", SOLVED], capture_output=True, text=True, check=True,
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        ).stdout
        for _ in range(2)
    ]  # fmt: skip
    assert any(tmp_path.rglob("*.nbi"))
    assert said[0] == said[1]
    assert said[0].count("\n") == 6
