"""Extending a finished sweep: more seeds, widths, β or roundings compute what is new, no more.

Ids of networks and problems follow from what they are, not from the sweep that they belong to, so
what an earlier plan has computed is known by the ids of its rows. What is missing of a planned path
is cut into paths of fewer axes; finished files of earlier plans are kept as they are. The SDP of a
β is solved again where it gets new networks: its certificate stays the one that there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.configuration.beta import column_of
from pipeline.configuration.settings import SweepConfig
from pipeline.plans.study import Step, Tools, Unit, ids_of
from pipeline.plans.units import JoinSpec, PathSpec, Spec
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_unit, results_file
from pipeline.results.record import Axes, NetworkRow, rows_of
from pipeline.results.selection import FINAL_SHARD
from pipeline.studies.training.units import unit_of
from qnn.errors import InputError
from qnn.training.arms import ARMS, QUANTIZED, WIDTHLESS

SEEDED = tuple(name for name, arm in ARMS.items() if arm.seeded)


@dataclass(frozen=True)
class Kept:
    """A finished unit of an earlier plan: it is never run."""

    id: str
    shard: str
    networks: int
    needs: tuple[Unit, ...] = ()
    estimated_seconds: float = 0.0
    estimated_bytes: float = 0.0

    def titles(self, units: Sequence[Kept]) -> list[str]:
        """Each by its id."""
        return [unit.id for unit in units]

    def run(self, data: Any, folder: RunFolder, tools: Tools) -> Iterator[Step]:
        """Nothing is left to do."""
        yield from ()

    def lost_rows(self, error: str) -> list[NetworkRow]:
        """None: they are there."""
        return []


def extended(
    config: SweepConfig, units: Sequence[Spec], folder: RunFolder, complete: set[str]
) -> tuple[Unit, ...] | None:
    """The units of a sweep in a folder that has finished ones of an earlier, smaller plan.

    None where it has none: the plan's own. Raises `InputError` where the folder has networks that
    the plan does not ask for, or baselines that cannot be put together with its own.
    """
    known = set().union(*(ids_of(unit_of(spec)) for spec in units))
    found = {path: _rows(folder, path) for path in sorted(complete - known)}
    found = {path: rows for path, rows in found.items()
             if {row.identity.shard for row in rows} != {FINAL_SHARD}}  # fmt: skip
    if not found:
        return None
    wanted = {
        spec.trial_id(trial) for unit in units for spec in _specs(unit) for trial in spec.trials()
    }
    for path, rows in found.items():
        for row in rows:
            if row.identity.trial not in wanted:
                _refuse(config, folder, path, row)
    done = {row.identity.trial for rows in found.values() for row in rows}
    parts = [part for spec in units for part in _missing(spec, done, spec.id in complete)]
    return (*_kept(found), *map(unit_of, parts))


def done_and_wanted(units: Sequence[Spec], trials: set[str]) -> tuple[int, int]:
    """How many whole networks of a plan are among those trials, and how many there are to be."""
    wanted = [spec.trial_id(trial) for spec in units for trial in spec.trials()]
    return sum(trial in trials for trial in wanted), len(wanted)


def _rows(folder: RunFolder, path: str) -> list[NetworkRow]:
    return rows_of(read_unit(folder, results_file(path)))


def _specs(spec: Spec) -> Iterator[Spec]:
    """A join and its paths, or the path."""
    yield spec
    if isinstance(spec, JoinSpec):
        yield from spec.paths


def _refuse(config: SweepConfig, folder: RunFolder, path: str, row: NetworkRow) -> None:
    """Say why a finished network has no place in the plan."""
    axes = row.axes
    points = [beta.written for beta in config.beta.points]
    level = axes.beta if config.beta.form == "values" else axes.beta_fraction
    gone = {
        "seeds": None if axes.seed in config.seeds else axes.seed,
        "widths": None if axes.width in (None, *config.widths) else axes.width,
        "beta": None if level in (None, *points) else level,
        "rounding": None if axes.rounding in (*config.rounding, *config.baselines)
        else axes.rounding,
    }  # fmt: skip
    for key, value in gone.items():
        if value is not None:
            raise InputError(
                f"{folder.label}: a finished sweep can be extended, not narrowed: {key} no longer "
                f"has {value}, of which there are networks; put it back or give another --out"
            )
    raise InputError(
        f"{folder.label}: has results of other data under the same config (path {path}, "
        f"shard {row.identity.shard}); give another --out"
    )


def _kept(found: dict[str, list[NetworkRow]]) -> list[Unit]:
    """Finished files as units; those of single outputs are what a shard's first join needs."""
    of_outputs: dict[str, list[Kept]] = {}
    whole: list[Kept] = []
    for path, rows in found.items():
        first = rows[0].identity
        unit = Kept(path, first.shard, len(rows))
        if first.output is None:
            whole.append(unit)
        else:
            of_outputs.setdefault(first.shard, []).append(unit)
    return [replace(unit, needs=tuple(of_outputs.pop(unit.shard, ()))) for unit in whole]


def _missing(spec: Spec, done: set[str], complete: bool) -> list[Spec]:
    """What is left of a planned path or join: itself, or parts of it that have no common network.

    Raises `InputError` where its baselines cannot be cut so.
    """
    trials = list(spec.trials())
    lacking = {one for one in trials if complete or spec.trial_id(one) not in done}
    if len(lacking) == len(trials):
        return [spec]
    parts = []
    first = spec.first
    for betas, seeds, widths, roundings in _boxes(lacking, first):
        axes = {"betas": tuple(beta for beta in first.betas if beta.written in betas),
                "seeds": seeds, "widths": widths, "roundings": roundings}  # fmt: skip
        families = ((*QUANTIZED, *WIDTHLESS, *SEEDED), (*QUANTIZED, *WIDTHLESS),
                    (*QUANTIZED, *SEEDED), QUANTIZED, ())  # fmt: skip
        arms = [tuple(arm for arm in first.baselines if arm in some) for some in families]
        choices = [_restricted(spec, axes, some) for some in arms]
        part = next(one for one in choices if set(one.trials()) <= lacking)
        lacking -= set(part.trials())
        parts.append(part)
    if lacking:
        raise InputError(
            "baselines cannot be extended in a finished folder where several axes grow at once: "
            "extend one after the other, or give another --out"
        )
    return parts


def _restricted(spec: Spec, axes: dict[str, Any], baselines: tuple[str, ...]) -> Spec:
    if isinstance(spec, PathSpec):
        return replace(spec, **axes, baselines=baselines)
    paths = tuple(replace(path, **axes, baselines=baselines) for path in spec.paths)
    return replace(spec, paths=paths, references=())


Box = tuple[frozenset[float], tuple[int, ...], tuple[int, ...], tuple[str, ...]]


def _boxes(lacking: set[Axes], path: PathSpec) -> Iterator[Box]:
    """Our own among some trials as products of β, seeds, widths and roundings, without overlap."""
    written = column_of(path.betas[0].form)
    by_beta: dict[float, set[tuple[str, int, int]]] = {}
    for trial in lacking:
        if trial.rounding in path.roundings and None not in (trial.width, trial.seed):
            cell = (trial.rounding, int(trial.width or 0), int(trial.seed or 0))
            by_beta.setdefault(getattr(trial, written), set()).add(cell)
    alike: dict[frozenset[tuple[str, int, int]], set[float]] = {}
    for beta, cells in by_beta.items():
        alike.setdefault(frozenset(cells), set()).add(beta)
    for own, betas in alike.items():
        seeds: dict[tuple[str, int], set[int]] = {}
        for rounding, width, seed in own:
            seeds.setdefault((rounding, width), set()).add(seed)
        widths: dict[tuple[str, frozenset[int]], set[int]] = {}
        for (rounding, width), several in seeds.items():
            widths.setdefault((rounding, frozenset(several)), set()).add(width)
        names: dict[tuple[frozenset[int], frozenset[int]], set[str]] = {}
        for (rounding, some), sizes in widths.items():
            names.setdefault((some, frozenset(sizes)), set()).add(rounding)
        for (some, wide), called in sorted(names.items(), key=lambda one: sorted(one[0][1])):
            axes = tuple(sorted(some)), tuple(sorted(wide)), tuple(sorted(called))
            yield (frozenset(betas), *axes)
