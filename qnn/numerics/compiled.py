"""Compiled kernels that work wherever the package is installed."""

from collections.abc import Callable
from typing import Any

import numba


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit` with its code kept on disk, in memory alone where there is no place for it.

    numba keeps it beside the module, in the user's cache folder or in `NUMBA_CACHE_DIR`, and raises
    where none can be written: a read-only installation of a user without a home.

    Kernels that others call are inlined there. Else a copy of each, optimized for its surroundings,
    stands in every caller's object, one name stands for all of them, and which is run depends on
    what was loaded first: results would differ in their last bits between the process that
    compiled and those that found its code on disk.
    """

    def compile_later(kernel: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, forceinline=True, **options)(kernel)
        except RuntimeError:
            return numba.njit(forceinline=True, **options)(kernel)

    return compile_later
