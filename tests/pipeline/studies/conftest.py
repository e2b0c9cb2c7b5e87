"""Finished runs of the tiny sweeps, each made once; not to be changed."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.pipeline.studies.cases import finished_run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a study's finished, tracked run; its files lie beside it."""
    return cache(lambda name: finished_run(name, tmp_path_factory.mktemp(name)))
