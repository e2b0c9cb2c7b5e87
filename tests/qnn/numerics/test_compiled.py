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
