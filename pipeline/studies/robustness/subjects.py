"""The networks that a study asks about: files, a sweep's best, or one of each of its settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.datasets.examples import Network, load_network
from pipeline.plans.study import FINAL_SHARD
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.studies.robustness.config import NetworkConfig
from qnn.errors import InputError
from qnn.training.arms import ALL as BASELINES

Row = dict[str, Any]
_KINDS = ("loss", "activation", "alphabet")


@dataclass(frozen=True)
class Setting:
    """What a network of a sweep was trained with."""

    beta: float
    beta_fraction: float | None
    width: int
    alphabet: str

    @property
    def columns(self) -> dict[str, Any]:
        """As the results have it."""
        return asdict(self)


def networks_of(one: NetworkConfig) -> Iterator[tuple[str, Network, Setting | None]]:
    """The networks of an entry, each with its name. Raises InputError where there are none."""
    if not Path(one.source).is_dir():
        if one.each:
            raise InputError(f"{one.source}: each means a sweep's folder; this is a network's file")
        yield one.name, load_network(one.source), None
        return
    found = read_results(RunFolder.open(one.source)).to_pylist()
    rows = [row for row in found if _whole(row)]
    if not one.each:
        refits = [row for row in rows if row["shard"] == FINAL_SHARD]
        if not refits:
            raise InputError(f"{one.source}: has no refitted network; give a network's file")
        yield one.name, load_network(Path(one.source) / _best(refits)["network"]), None
        return
    yield from _each(one, [row for row in rows if row["shard"] != FINAL_SHARD])


def _each(one: NetworkConfig, rows: list[Row]) -> Iterator[tuple[str, Network, Setting]]:
    """Of the first shard, for each kind of problem, β and width, the lowest training objective."""
    if not rows:
        raise InputError(f"{one.source}: has no networks of a shard")
    first = min(row["shard"] for row in rows)
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row["shard"] == first:
            key = (*(row[name] for name in _KINDS), -row["beta"], row["width"])
            groups.setdefault(key, []).append(row)
    several = [k for k in range(len(_KINDS)) if len({key[k] for key in groups}) > 1]
    for key in sorted(groups):
        best = _best(groups[key])
        parts = [f"b{best['beta']:.4g}", f"w{best['width']}", *(str(key[k]) for k in several)]
        setting = Setting(best["beta"], best["beta_fraction"], best["width"], best["alphabet"])
        network = load_network(Path(one.source) / best["network"])
        yield " ".join([one.name, *parts]), network, setting


def _whole(row: Row) -> bool:
    """Whether a row has a network of ours: no arm's, and not that of one output of several."""
    known = row["network"] is not None and row["upper_bound"] is not None
    return known and row["output"] is None and row["rounding"] not in BASELINES


def _best(rows: list[Row]) -> Row:
    return min(rows, key=lambda row: (row["upper_bound"], row["trial"]))
