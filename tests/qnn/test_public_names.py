import subprocess
import sys
from pkgutil import iter_modules

import pytest

import qnn


def test_every_public_name_is_found() -> None:
    assert [name for name in qnn.__all__ if getattr(qnn, name).__name__ != name] == []
    with pytest.raises(AttributeError, match="module 'qnn' has no attribute 'nothing'"):
        getattr(qnn, "no" + "thing")


def test_no_module_is_called_like_a_public_name() -> None:
    # Importing such a module would put it in the name's place.
    assert {module.name for module in iter_modules(qnn.__path__)} & set(qnn.__all__) == set()


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = (
        "import sys, qnn.errors, qnn.features.preprocessing\n"
        "print([name for name in ('scipy', 'sklearn', 'numba', 'cvxpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
