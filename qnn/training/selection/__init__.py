"""Encoder, loss, β and width by cross-validation inside the training part: what `auto` means."""

from qnn.training.selection.choice import Cell, Choice, choose, refuse_where_none_fits
from qnn.training.selection.costs import estimate_seconds
from qnn.training.selection.kinds import AUTO, SECOND_LAYER, Kind, Wanted

__all__ = [
    "AUTO",
    "SECOND_LAYER",
    "Cell",
    "Choice",
    "Kind",
    "Wanted",
    "choose",
    "estimate_seconds",
    "refuse_where_none_fits",
]
