"""Where a study's behaviours come from: a Parquet file, random sets, a plane's grid."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.datasets.files import CSV_SUFFIXES
from pipeline.datasets.numbers import numbers_of
from pipeline.logs.messages import one_line
from qnn.errors import InputError
from qnn.moments.bell import checked, sample
from qnn.moments.bell.samples import distributions
from qnn.moments.words import Scenario
from qnn.numerics.memory import available_memory

Array = np.ndarray

# Blocks that a process keeps, of at most so many numbers each: 64 MB in all.
_KEPT, _NUMBERS = 64, 125_000


def read_behaviours(source: str | Path, scenario: str) -> Array:
    """All behaviours (N, p) of a Parquet file, checked.

    A row is a behaviour: the coordinates in as many number columns, or one column of lists; or a
    table p(ab|xy) in as many, in the order x, y, a, b, the last fastest.

    Raises InputError: no such file, other columns, something that is no behaviour, or too many.
    """
    parsed = Scenario.parse(scenario)
    table = _table(source)
    values = numbers_of(table, str(source))
    shape = parsed.inputs + parsed.outcomes
    if values.shape[1] == int(np.prod(shape)) != len(parsed.coordinates):
        values = values.reshape(-1, *shape)
    elif values.shape[1] != len(parsed.coordinates):
        raise InputError(
            f"{source}: has {values.shape[1]} numbers a row; scenario {parsed.name} takes "
            f"{len(parsed.coordinates)} coordinates or {int(np.prod(shape))} probabilities"
        )
    try:
        return checked(values, parsed.name)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def _table(source: str | Path) -> pa.Table:
    if str(source).lower().endswith(CSV_SUFFIXES) and Path(source).exists():
        raise InputError(
            f"{source}: CSV is not read here: write its rows as Parquet, in pandas "
            f"read_csv({str(source)!r}).to_parquet({str(Path(source).with_suffix('.parquet'))!r})"
        )
    try:
        file = pq.ParquetFile(source)
        need = 3.0 * sum(
            file.metadata.row_group(k).total_byte_size for k in range(file.num_row_groups)
        )
        if need > available_memory():
            raise InputError(
                f"{source}: needs about {need / 1e9:.1f} GB of memory: cut it into smaller files"
            )
        table = file.read(use_threads=False)
    except FileNotFoundError:
        raise InputError(f"{source}: no such file") from None
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{source}: not a sound Parquet file ({one_line(error)})") from None
    if not len(table):
        raise InputError(f"{source}: has no rows")
    return table


def drawn(name: str, count: int, seed: int, first: int, scenario: str, level: str) -> Array:
    """The behaviours of one block of a random set: the same wherever it is drawn.

    Blocks of moderate size are kept, for each comes again with every number of steps and network,
    and to draw one of the set B takes several times as long as to decide it.
    """
    # Of no other set does the level decide.
    block = name, count, seed, first, scenario, level if name == "B" else "1"
    few = count * len(Scenario.parse(scenario).coordinates) <= _NUMBERS
    return _kept(*block).copy() if few else _drawn(*block)


def _drawn(name: str, count: int, seed: int, first: int, scenario: str, level: str) -> Array:
    rng = np.random.default_rng([seed, first])
    return sample(name, count, rng, scenario, level)


_kept = lru_cache(maxsize=_KEPT)(_drawn)


def axes_of_plane(scenario: Scenario) -> tuple[Array, Array]:
    """Where (1, 0) and (0, 1) of the plane lie, (p,) each; (0, 0) is noise.

    The first has no means and correlators 1, the last -1: the box of Popescu and Rohrlich where
    each party has two inputs. The second is the deterministic behaviour of nothing but ones.
    """
    A, B = scenario.inputs
    box = np.concatenate([np.zeros(A + B), np.ones(A * B)])
    box[-1] = -1.0
    return box, np.ones(A + B + A * B)


def plane_grid(scenario: Scenario, points: int) -> tuple[Array, Array]:
    """Places (K, 2) of a grid over [-1, 1]² that are distributions, and their behaviours (K, p)."""
    line = np.linspace(-1.0, 1.0, points)
    places = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    b = places @ np.stack(axes_of_plane(scenario))
    inside = distributions(scenario, b)
    return places[inside], b[inside]


def content_of(b: Array) -> str:
    """The digest of behaviours' bytes."""
    return sha256(repr(b.shape).encode() + np.ascontiguousarray(b, "<f8").tobytes()).hexdigest()
