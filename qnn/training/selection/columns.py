"""Which columns a network can do without: the least important go, a few at a time."""

from __future__ import annotations

import numpy as np

from qnn.features.preprocessing import FeatureLayout
from qnn.training.rounding.candidate import Incumbent
from qnn.training.selection.paths import Networks

# The share of the columns that each step keeps.
STAYS = 0.6


def fewer(count: int) -> int:
    """How many of so many columns the next step keeps; 1 of 1."""
    return max(1, int(STAYS * count + 0.5))


def names_read(layout: FeatureLayout) -> tuple[str, ...]:
    """The columns that a layout reads."""
    return tuple(column.name for column in layout.kept)


def most_important(networks: Networks, layout: FeatureLayout, count: int) -> tuple[str, ...]:
    """The names of that many columns that the networks need most, in the layout's order."""
    order = np.argsort(-importances(networks, layout), kind="stable")[:count]
    names = names_read(layout)
    return tuple(names[column] for column in np.sort(order))


def importances(networks: Networks, layout: FeatureLayout) -> np.ndarray:
    """For each of the k columns that are read, how much of the outputs hangs on it: (k,).

    The mean square by which an output moves where the column's features are held at their means,
    over the rows that the networks were trained on, summed over the outputs.
    """
    ends = np.cumsum([len(column.feature_names) for column in layout.kept])
    groups = np.split(np.arange(ends[-1]), ends[:-1])
    return np.sum([_moved(one, groups) for one in networks.outputs], axis=0)


def _moved(incumbent: Incumbent, groups: list[np.ndarray]) -> np.ndarray:
    atoms, X = incumbent.problem.atoms, incumbent.problem.X
    scales, apart = atoms.alphabet.scales, X - X.mean(axis=0)
    moved = []
    for group in groups:
        planes = np.concatenate([group + X.shape[1] * plane for plane in range(len(scales))])
        away = np.hstack([scale * apart[:, group] for scale in scales]) @ incumbent.W[:, planes]
        held = atoms.combine(incumbent.T - away) @ incumbent.alpha
        moved.append(float(np.mean((incumbent.predictions - held) ** 2)))
    return np.array(moved)
