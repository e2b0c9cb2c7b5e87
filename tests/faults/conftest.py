"""What several fault tests compare with."""

from pathlib import Path

import pytest

from tests.faults.disturbed import PATIENCE, drive, many_paths


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep of `many_paths` that nobody disturbed."""
    home = tmp_path_factory.mktemp("undisturbed")
    with drive(many_paths(home), home / "run", "inline") as driver:
        assert driver.wait(PATIENCE) == 0
    return home / "run"
