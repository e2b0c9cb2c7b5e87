"""The trials of a sweep's arms: which there are, and where each stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pipeline.results.record import ORTHOGONALITY, Axes
from qnn.training.arms import ARMS

# An orthogonality as rows have it: kind, order, iterations, gain.
Written = tuple[str, int, int, bool]


def trial_of(
    here: Axes, rounding: str, width: int | None, seed: int, seconds: float | None = None
) -> Axes:
    """Where one network stands."""
    return replace(here, rounding=rounding, width=width, seed=seed, baseline_seconds=seconds)


def reference_trials(
    here: Axes, arm: str, seeds: Sequence[int], seconds: float | None = None
) -> Iterator[Axes]:
    """A reference's trials: it has no β of its own, and one seed where seeds make no difference."""
    without = replace(here, beta=None, beta_fraction=None)
    for seed in seeds if ARMS[arm].seeded else seeds[:1]:
        yield trial_of(without, arm, None, seed, seconds)


def settings_of(arm: str, orthogonality: Sequence[Written]) -> list[dict[str, Any]]:
    """The columns of each orthogonality that an arm is run with; one without any as it is."""
    if not orthogonality or not ARMS[arm].orthogonal:
        return [{}]
    return [dict(zip(ORTHOGONALITY, one, strict=True)) for one in orthogonality]


def orthogonality_of(trial: Axes) -> list[Any]:
    """What an id has of it; nothing where there is none: ids of earlier versions stay."""
    if trial.orthogonality is None:
        return []
    return [["orthogonality", *(getattr(trial, name) for name in ORTHOGONALITY)]]
