"""Work on many neurons in threads: what is compiled or LAPACK's runs beside the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    done: Callable[[int], None] = lambda count: None,
) -> list[Result]:
    """The results in the order of the items, whatever the number of threads; BLAS has one in each.

    As many threads as OMP_NUM_THREADS says, else as the machine has cores. done is told how many
    items are finished.
    """
    threads = min(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1), len(items))
    if threads < 2:
        return _counted(map(work, items), done)
    with ThreadPoolExecutor(threads) as pool, _libraries().limit(limits=1, user_api="blas"):
        return _counted(pool.map(work, items), done)


@cache
def _libraries() -> ThreadpoolController:
    """Those that are loaded; to look for them takes some milliseconds."""
    return ThreadpoolController()


def _counted(results: Iterable[Result], done: Callable[[int], None]) -> list[Result]:
    found = []
    for result in results:
        found.append(result)
        done(len(found))
    return found
